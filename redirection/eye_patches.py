"""The square round an eye: cut out of a picture of a face, and pasted back into it.

As Gaze Redirection patches of Columbia were made (He et al. 2019; InterpGaze): the smallest circle round the six points
of the lids has radius R, the patch is the square of side 3.4 R round its centre, and patches of right eyes are mirrored
so that all look alike. L and R are the person's own. Pixels count from the outer edge of the first one.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

SIDE_OVER_RADIUS = 3.4
LIDS = {"R": slice(36, 42), "L": slice(42, 48)}  # of the usual 68 points; R lies at the image's left
LEAST_SIDE = 8  # px of the picture that a patch has
SOFT = 0.15  # part of a box's side, at each edge, over which what is pasted fades out
ROUND_LIDS = (1.0, 1.5)  # radii of the circle round the lids between which a pasted patch fades out
SAME = 2 / 255  # a change below this is none; above three times this the picture's own detail gives way


def enclosing_circle(points: np.ndarray) -> tuple[np.ndarray, float]:
    """The smallest circle round points [N, 2]: centre [2], radius. It touches two or three of them."""
    points = np.asarray(points, np.float64)
    best = points.mean(axis=0), np.inf
    for chosen in [*combinations(points, 2), *combinations(points, 3)]:
        centre = (chosen[0] + chosen[1]) / 2 if len(chosen) == 2 else _centre_of_three(*chosen)
        if centre is None:
            continue
        radius = float(np.linalg.norm(chosen[0] - centre))
        if radius < best[1] and (np.linalg.norm(points - centre, axis=1) <= radius * (1 + 1e-9) + 1e-9).all():
            best = centre, radius
    return best


def _centre_of_three(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray | None:
    sides = 2 * np.stack([b - a, c - a])
    if abs(np.linalg.det(sides)) < 1e-9:  # on one line
        return None
    return np.linalg.solve(sides, [b @ b - a @ a, c @ c - a @ a])


@dataclass(frozen=True)
class EyeSquare:
    """Where a patch lies in a picture, px; mirrored: whether its columns run the other way."""

    x: float  # of the centre
    y: float
    side: float
    mirrored: bool

    @classmethod
    def of_lids(cls, points: np.ndarray, eye: str) -> "EyeSquare":
        """Of six points [6, 2] of an eye, "L" or "R". ValueError, the reason, for points that are none."""
        if not np.isfinite(points).all():
            raise ValueError("the points of the lids are not finite")
        centre, radius = enclosing_circle(points)
        side = SIDE_OVER_RADIUS * radius
        if side < LEAST_SIDE:
            raise ValueError(f"the eye is too small: its patch has {side:.1f} px of the picture, least {LEAST_SIDE}")
        return cls(float(centre[0]), float(centre[1]), side, eye == "R")

    @classmethod
    def of_face(cls, points: np.ndarray, eye: str) -> "EyeSquare":
        """Of the usual 68 points [68, 2] of a face."""
        return cls.of_lids(points[LIDS[eye]], eye)

    @property
    def corner(self) -> tuple[float, float]:
        """Left, top."""
        return self.x - self.side / 2, self.y - self.side / 2

    def cut(self, picture: np.ndarray, size: int) -> np.ndarray:
        """uint8 [H, W, 3] -> patch uint8 [size, size, 3]; what lies outside repeats the edge.

        ValueError, the reason, if the centre lies outside.
        """
        height, width = picture.shape[:2]
        if not (0 <= self.x <= width and 0 <= self.y <= height):
            raise ValueError("the eye lies outside the picture")
        left, top = self.corner
        border = max(0, int(np.ceil(max(-left, -top, left + self.side - width, top + self.side - height))))
        if border:
            picture = np.pad(picture, ((border, border), (border, border), (0, 0)), mode="edge")
        box = (left + border, top + border, left + border + self.side, top + border + self.side)
        # Edges of the box may be outside by the last bit of a float, which Pillow refuses.
        box = tuple(min(max(v, 0.0), float(most)) for v, most in zip(box, picture.shape[1::-1] * 2, strict=True))
        patch = np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC, box))
        return np.ascontiguousarray(patch[:, ::-1]) if self.mirrored else patch

    def paste(self, picture: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """The picture with the change from patch `before` to patch `after`, uint8 [S, S, 3] both, at this place.

        Where nothing changes the picture keeps every bit. Where much does, its own detail, finer than the patch, gives
        way. The change fades out round the lids (`ROUND_LIDS`), inside the square, so there is no seam.
        """
        height, width = picture.shape[:2]
        left, top = self.corner
        x0, y0 = max(0, int(np.floor(left))), max(0, int(np.floor(top)))
        x1 = min(width, int(np.ceil(left + self.side)))
        y1 = min(height, int(np.ceil(top + self.side)))
        pair = torch.from_numpy(np.stack([before, after])).permute(0, 3, 1, 2).float() / 255
        pair = pair.flip(3) if self.mirrored else pair
        if pair.shape[-1] > self.side:  # without this, rows of a fine patch would be left out
            pair = F.interpolate(pair, [int(np.ceil(self.side))] * 2, mode="bilinear", antialias=True)
        u = (torch.arange(x0, x1) + 0.5 - left) / self.side
        v = (torch.arange(y0, y1) + 0.5 - top) / self.side
        grid = torch.stack(torch.meshgrid(u, v, indexing="xy"), -1)[None].float() * 2 - 1
        was, new = F.grid_sample(pair, grid.expand(2, -1, -1, -1), align_corners=False, padding_mode="border")
        radii = torch.hypot(u[None, :] - 0.5, v[:, None] - 0.5) * SIDE_OVER_RADIUS
        inside = ((ROUND_LIDS[1] - radii) / (ROUND_LIDS[1] - ROUND_LIDS[0])).clamp(0, 1)
        weight = inside.square() * (3 - 2 * inside)
        own = torch.from_numpy(picture[y0:y1, x0:x1].copy()).permute(2, 0, 1).float() / 255
        mixed = blended(own, was, new, weight)
        out = picture.copy()
        out[y0:y1, x0:x1] = (mixed * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        return out


def blended(own: torch.Tensor, was: torch.Tensor, new: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A picture `own` with the change from `was` to `new`, all [3, H, W] in 0..1, as far as `weight` [H, W] says.

    Where much changes, the picture's own detail, which `was` lacks, gives way.
    """
    change = new - was
    gives_way = ((change.abs().amax(0) - SAME) / (2 * SAME)).clamp(0, 1)
    return own + weight * (change + gives_way * (was - own))
