"""Names that say all about an eye patch: person, head yaw P, vertical gaze V, horizontal gaze H, and which eye.

As in patches of the Columbia Gaze set: `0010_2m_-30P_10V_5H_L.jpg`, in the folder `N30P`; the photo that it is cut from
is `0010_2m_-30P_10V_5H.jpg`. Angles are in degrees, as the photo shows them. A patch of a right eye is mirrored, so
what it shows itself is the opposite head yaw and the opposite horizontal gaze (`PatchName.shown`).
"""

import re
from dataclasses import dataclass, replace

_NUMBER = r"-?\d+(?:\.\d+)?"
_NAME = re.compile(rf"(\d{{4,8}})_2m_({_NUMBER})P_({_NUMBER})V_({_NUMBER})H(?:_([LR]))?(?:\.[A-Za-z]+)?")
MOST_DEG = 90.0
ENDING = ".png"


@dataclass(frozen=True)
class PatchName:
    """eye: L or R; empty: the photo."""

    person: int
    P: float
    V: float
    H: float
    eye: str = ""

    @classmethod
    def parse(cls, name: str) -> "PatchName":
        """ValueError, the reason, for a name that is none."""
        if not (found := _NAME.fullmatch(name)):
            raise ValueError(f"'{name:.60}' is no name like 0010_2m_-30P_10V_5H_L.jpg")
        angles = [float(text) for text in found.groups()[1:4]]
        if max(map(abs, angles)) > MOST_DEG:
            raise ValueError(f"'{name:.60}' has an angle beyond {MOST_DEG:g} degrees")
        return cls(int(found[1]), *angles, found[5] or "")

    def __str__(self) -> str:
        ending = f"_{self.eye}" if self.eye else ""
        return f"{self.person:04d}_2m_{_short(self.P)}P_{_short(self.V)}V_{_short(self.H)}H{ending}"

    @property
    def angles(self) -> dict[str, float]:
        return {"P": self.P, "V": self.V, "H": self.H}

    @property
    def shown(self) -> tuple[float, float, float]:
        """P, V, H of the patch itself."""
        sign = -1 if self.eye == "R" else 1
        return sign * self.P, self.V, sign * self.H

    @property
    def folder(self) -> str:
        """`N15P`, `0P`, `P15P`."""
        return f"{'N' if self.P < 0 else 'P' if self.P > 0 else ''}{_short(abs(self.P))}P"

    def of_eye(self, eye: str) -> "PatchName":
        return replace(self, eye=eye)


def _short(angle: float) -> str:
    """7.5 -> `7.5`, 15.0 -> `15`."""
    return f"{angle + 0.0:g}"
