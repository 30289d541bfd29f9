"""The build of a person's head and what it does with its face, as weights of MakeHuman's targets."""

from dataclasses import dataclass, replace

import numpy as np

from eg3d.world.human.makehuman import twin_of

ANCESTRIES = ("african", "asian", "caucasian")
YOUNG, OLD = 25.0, 85.0  # years of MakeHuman's two adult ages

# Axes of the shape: "folder/stem", its ends, and how far a person goes either way. Names end in "-" + end.
_ENDS = {
    "decr incr": (
        "head/head-fat head/head-scale-depth head/head-scale-horiz head/head-scale-vert head/head-back-scale-depth "
        "nose/nose-flaring nose/nose-greek nose/nose-hump nose/nose-nostrils-width nose/nose-point-width "
        "nose/nose-scale-depth nose/nose-scale-horiz nose/nose-scale-vert nose/nose-septumangle nose/nose-volume "
        "nose/nose-width1 nose/nose-width2 nose/nose-width3 "
        "mouth/mouth-cupidsbow mouth/mouth-cupidsbow-width mouth/mouth-lowerlip-height mouth/mouth-lowerlip-volume "
        "mouth/mouth-lowerlip-width mouth/mouth-philtrum-volume mouth/mouth-scale-depth mouth/mouth-scale-horiz "
        "mouth/mouth-scale-vert mouth/mouth-upperlip-height mouth/mouth-upperlip-volume mouth/mouth-upperlip-width "
        "chin/chin-bones chin/chin-cleft chin/chin-height chin/chin-jaw-drop chin/chin-prognathism "
        "chin/chin-prominent chin/chin-width forehead/forehead-nubian forehead/forehead-scale-vert "
        "forehead/forehead-temple neck/neck-double neck/neck-scale-depth neck/neck-scale-horiz"
    ),
    "down up": (
        "nose/nose-base nose/nose-nostrils-angle nose/nose-point nose/nose-trans mouth/mouth-angles "
        "mouth/mouth-trans mouth/mouth-lowerlip-middle mouth/mouth-upperlip-middle eyebrows/eyebrows-angle "
        "eyebrows/eyebrows-trans"
    ),
    "backward forward": "nose/nose-trans mouth/mouth-trans forehead/forehead-trans eyebrows/eyebrows-trans",
    "concave convex": "nose/nose-curve",
    "compress uncompress": "nose/nose-compression",
    "in out": "mouth/mouth-dimples mouth/mouth-laugh-lines",
}
_BOTH_SIDES = {  # the same, of the left side; the right side follows it
    "decr incr": (
        "cheek/l-cheek-bones cheek/l-cheek-inner cheek/l-cheek-volume ears/l-ear-flap ears/l-ear-lobe ears/l-ear-scale "
        "ears/l-ear-scale-depth ears/l-ear-scale-vert ears/l-ear-wing"
    ),
    "down up": "cheek/l-cheek-trans ears/l-ear-trans",
    "backward forward": "ears/l-ear-rot ears/l-ear-trans",
}
_EYES = {
    "decr incr": (
        "eyes/l-eye-bag eyes/l-eye-bag-height eyes/l-eye-height1 eyes/l-eye-height2 eyes/l-eye-height3 eyes/l-eye-scale"
    ),
    "down up": "eyes/l-eye-corner1 eyes/l-eye-corner2 eyes/l-eye-eyefold eyes/l-eye-eyefold-angle eyes/l-eye-trans",
    "in out": "eyes/l-eye-bag eyes/l-eye-epicanthus eyes/l-eye-push1 eyes/l-eye-push2 eyes/l-eye-trans",
    "concave convex": "eyes/l-eye-eyefold",
}
_OUTLINES = ("diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular")
_ASYMMETRIES = tuple(
    f"asym/asym-{kind}-{n}-l"
    for kind, count in (("brown", 2), ("cheek", 2), ("ear", 4), ("eye", 8), ("jaw", 3), ("mouth", 2), ("nose", 4))
    for n in range(1, count + 1)
)
LOCAL, EYE = 0.45, 0.45  # largest weights
LOCAL_SHARE, EYE_COUNT = 0.45, 6
STERN = {"eyebrows/eyebrows-angle-down": 0.25}  # what of a weight is taken where all of it would make a face look angry
INNER_BROWS = 0.5  # most by which the inner ends of a neutral face's brows are raised

Weights = tuple[tuple[str, float], ...]


def _axes(table: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """(target of the negative end, target of the positive end) of each axis."""
    return tuple(
        tuple(f"{stem}-{end}" for end in ends.split()) for ends, stems in table.items() for stem in stems.split()
    )


_MIDDLE, _PAIRED, _OF_EYES = _axes(_ENDS), _axes(_BOTH_SIDES), _axes(_EYES)


@dataclass(frozen=True)
class Shape:
    """Shape of one head. weights: of local targets, by name; both sides of a paired one are named."""

    ancestry: tuple[float, float, float]  # shares of ANCESTRIES
    male: float  # 0 a woman .. 1 a man
    age: float  # years
    weights: Weights

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Shape":
        ancestry = rng.dirichlet((0.4, 0.4, 0.4))
        male, age = float(rng.beta(0.4, 0.4)), float(rng.uniform(18, 75))
        weights: dict[str, float] = {}
        for axis in _MIDDLE + _PAIRED:
            amount, drawn = rng.uniform(-LOCAL, LOCAL), rng.uniform()
            if drawn < LOCAL_SHARE:
                name = axis[amount > 0]
                weights[name] = abs(amount) * STERN.get(name, 1.0)
        for place in rng.choice(len(_OF_EYES), EYE_COUNT, replace=False):
            amount = rng.uniform(-EYE, EYE)
            weights[_OF_EYES[place][amount > 0]] = abs(amount)
        outline = _OUTLINES[rng.integers(len(_OUTLINES))]
        weights[f"head/head-{outline}"] = rng.uniform(0, LOCAL)
        weights |= {twin_of(name): weight for name, weight in weights.items()}
        for name in _ASYMMETRIES:
            side, amount, drawn = rng.uniform(), rng.uniform(0, 0.25), rng.uniform()
            if drawn < 0.25:
                weights[name if side < 0.5 else twin_of(name)] = amount
        weights["faceunits/browInnerUp"] = rng.uniform(0, INNER_BROWS)
        return cls(
            tuple(float(share) for share in ancestry),
            male,
            age,
            tuple(sorted((name, float(weight)) for name, weight in weights.items())),
        )

    def mirrored(self) -> "Shape":
        """The head in a mirror."""
        return replace(self, weights=tuple(sorted((twin_of(name), weight) for name, weight in self.weights)))

    @property
    def targets(self) -> dict[str, float]:
        """The weights of all targets, those of ancestry, sex and age too."""
        old = float(np.clip((self.age - YOUNG) / (OLD - YOUNG), 0, 1))
        whole = {
            f"macrodetails/{name}-{sex}-{age}": share * of_sex * of_age
            for name, share in zip(ANCESTRIES, self.ancestry, strict=True)
            for sex, of_sex in (("female", 1 - self.male), ("male", self.male))
            for age, of_age in (("young", 1 - old), ("old", old))
        }
        return whole | dict(self.weights)


@dataclass(frozen=True)
class Expression:
    """What a face does in one picture; all zero is neutral. 1 is as far as a face goes."""

    smile: float = 0.0
    lean: float = 0.0  # -1..1: how much more the mouth's left (+) or right corner smiles
    jaw: float = 0.0  # open
    pucker: float = 0.0
    brows: float = 0.0  # -1 lowered .. 1 raised
    squint: float = 0.0
    blink: float = 0.0  # 1: closed

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Expression":
        """An expression as portraits have it: most smile a little, hardly any eye is closed."""
        smile = float(np.clip(rng.normal(0.22, 0.33), 0, 0.9))
        jaw = rng.uniform(0.05, 0.3) if rng.uniform() < (0.65 if smile > 0.35 else 0.12) else 0.0
        return cls(
            smile=smile,
            lean=rng.uniform(-0.3, 0.3),
            jaw=float(jaw),
            pucker=float(rng.uniform(0, 0.35)) if rng.uniform() < 0.1 else 0.0,
            brows=float(np.clip(rng.normal(0.08, 0.25), -0.35, 0.8)),
            squint=float(np.clip(rng.normal(0.25 * smile, 0.15), 0, 0.6)),
            blink=float(rng.uniform(0, 0.2)) if rng.uniform() < 0.15 else 0.0,
        )

    def mirrored(self) -> "Expression":
        return replace(self, lean=-self.lean)

    @property
    def targets(self) -> dict[str, float]:
        """Weights of MakeHuman's face units; those of lids and jaw depend on the face, see `head_shape.py`."""
        raised, lowered = max(self.brows, 0.0), max(-self.brows, 0.0)
        weights = {"mouthPucker": self.pucker, "browInnerUp": raised}
        for side, sign in (("Left", 1), ("Right", -1)):
            smile = self.smile * (1 + sign * self.lean)
            weights |= {
                f"mouthSmile{side}": smile,
                f"cheekSquint{side}": 0.5 * smile,
                f"browOuterUp{side}": 0.7 * raised,
                f"browDown{side}": lowered,
            }
        return {f"faceunits/{name}": weight for name, weight in weights.items() if weight}
