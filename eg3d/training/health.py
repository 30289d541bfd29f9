"""Signs that a run goes wrong although its losses are finite. They only warn; a person decides."""

DEPTH, REAL, FAKE = "Fakes/depth_spread", "Loss/signs/real", "Loss/signs/fake"
FLAT = 0.2  # of the largest spread of depth so far
SURE = 0.98  # mean sign of the discriminator's logits: 99 of 100 pictures told right
ENOUGH = 100  # pictures to judge by


class Health:
    """Compares each line of statistics with those before; warns of a thing once, and again only after it has passed."""

    def __init__(self, lines: list[dict] = ()):
        self._deepest, self._said = 0.0, set()
        for line in lines:
            self.warnings(line)

    def warnings(self, line: dict) -> list[str]:
        """New warnings, each with its number and what it may mean."""
        value = {
            name: line[name]["mean"]
            for name in (DEPTH, REAL, FAKE)
            if name in line and line[name]["num"] >= ENOUGH and line[name]["mean"] is not None
        }
        found = {}
        if DEPTH in value:
            self._deepest = max(self._deepest, value[DEPTH])
            if value[DEPTH] < FLAT * self._deepest:
                found["depth"] = (
                    f"the depth within a picture spreads by {value[DEPTH]:.3g} only, after {self._deepest:.3g} before: "
                    "shapes are collapsing to a sheet; look at the pictures, try an earlier snapshot and a lower --glr"
                )
        if value.get(REAL, 0) > SURE and value.get(FAKE, 0) < -SURE:
            found["discriminator"] = (
                "the discriminator tells nearly every picture right, so the generator learns little from it; "
                "try a higher --gamma, or more data"
            )
        new = [text for kind, text in found.items() if kind not in self._said]
        self._said = set(found)
        return new
