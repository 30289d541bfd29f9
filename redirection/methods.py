"""What every gaze redirector is to the scripts that measure or draw: a name, a size, and `redirect`.

Each method implements it in its own folder; `open_redirector` finds the one that a text names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from redirection.deepwarp.warp_redirector import open_deepwarp
from redirection.he2019.angle_redirector import open_he2019
from redirection.interpgaze.redirecting import open_interpgaze
from redirection.patch_sets import PatchSet

NOTHING, EMBEDDED = "nothing", "embedded"


class Redirector(Protocol):
    """name: for tables. size: side of the patches it takes and gives, pixels.

    Angles are P, V, H in degrees as the patch itself shows them: right eyes are mirrored, and P and H of their photo
    have their signs flipped, as in `PatchSet.angles`.
    """

    name: str
    size: int

    def redirect(self, patches: torch.Tensor, shown: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """uint8 [B, 3, S, S] that show `shown` [B, 3] -> the same eyes at `wanted` [B, 3], uint8 [B, 3, S, S].

        A method that cannot move the head leaves P as it is. Equal angles give what the method makes of an eye that
        stays, which is the patch itself only for some.
        """
        ...


@dataclass(frozen=True)
class Nothing:
    """Leaves the patch as it is: how far off the eyes are without any method."""

    size: int
    name: str = NOTHING

    def redirect(self, patches: torch.Tensor, shown: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return patches


# method -> (weights or None: the embedded ones, device, patches to take references from or None) -> Redirector
Opener = Callable[[Path | None, torch.device, PatchSet | None], Redirector]
METHODS: dict[str, Opener] = {"interpgaze": open_interpgaze, "he2019": open_he2019, "deepwarp": open_deepwarp}
BEST = "interpgaze"  # what the name `embedded` means
NAMES = (NOTHING, EMBEDDED, *METHODS)


def open_redirector(spec: str, device, size: int, references: PatchSet | None = None) -> Redirector:
    """The redirector of a text: `nothing`, `embedded`, a method's name for its embedded weights, or METHOD:PATH.

    Args:    size: of `nothing`; references: patches of others, for methods that take the wanted look from one
    Errors:  ValueError, one line, for a text that names none, or weights that do not fit
    """
    if spec == NOTHING:
        return Nothing(size)
    method, colon, path = spec.partition(":")
    method = BEST if spec == EMBEDDED else method
    if method not in METHODS or (colon and not path):
        raise ValueError(f"'{spec}': names no redirector; give {', '.join(NAMES)}, or METHOD:PATH of weights")
    return METHODS[method](Path(path).expanduser() if colon else None, device, references)
