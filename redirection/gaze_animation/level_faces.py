"""Portraits: squares cut out of pictures so that a face's eyes are level and lie at the same place; and the way back.

GazeAnimation (Zhang et al. 2020, arXiv 2008.03834) learns on portraits of 256 px. Eyes in its set are on the mean 98 px
apart, at height 93; so are they in ours. Its boxes round the eyes have 60 x 40 px (50 x 30 in its text), whatever the
face. Here they follow the distance of the eyes. Places are in pixels, the first pixel spans 0..1; of two eyes that at
the image's left comes first.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from eg3d.faces.squares import Squares, cut
from redirection.eye_patches import SOFT, blended
from redirection.gaze_animation.lid_fade import fade_round_lids

SIDE = 256  # px of the published portraits; positions in lists count in them, whatever size a picture has
BOX = (60 / 98, 40 / 98)  # width and height of a box over the distance of the eyes
LARGEST_BOX = 0.45  # of the picture's side: eyes that are far apart get no box that holds half of the face
SHRINK = 2.0  # a photo is made smaller first if a portrait's pixel would span more of its pixels
LEAST_EYES = 8  # px between the eyes in a photo


@dataclass(frozen=True)
class Frame:
    """Where the eyes lie in a square, as fractions of its side: their distance, and the height of their middle."""

    distance: float
    height: float


PORTRAIT = Frame(98 / SIDE, 93 / SIDE)
EG3D = Frame(0.272, 0.37)  # as crops of FFHQ in EG3D have it, on which gaze networks were trained


def boxes_of(eyes: np.ndarray, size: tuple[float, float] | None = None, side: float = SIDE) -> np.ndarray:
    """Eyes [..., 2, 2] in a portrait of `side` px -> boxes [..., 2, 4]: left, top, right, bottom.

    size: width and height in px, as published; None: `BOX` times the distance of the eyes. A box may pass the border.
    """
    eyes = np.asarray(eyes, np.float64)
    if size is None:
        apart = np.linalg.norm(eyes[..., 1, :] - eyes[..., 0, :], axis=-1)[..., None, None]
        half = np.minimum(apart * np.array(BOX), LARGEST_BOX * side) / 2
    else:
        half = np.broadcast_to(np.array(size, np.float64) / 2, (*eyes.shape[:-2], 1, 2))
    return np.concatenate([eyes - half, eyes + half], axis=-1)


def mirrored(images: torch.Tensor, eyes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [B, C, H, W] and their eyes [B, 2, 2] in px, both mirrored; the eye at the image's left stays first.

    Published training mirrors X and its eyes, but Y without its eyes, and swaps no eyes.
    """
    return images.flip(3), torch.stack([images.shape[3] - eyes[..., 0], eyes[..., 1]], dim=-1).flip(-2)


@dataclass(frozen=True)
class Placed:
    """Where a portrait lies in a picture: its centre [2] and side in px, and how far it is turned (rad, clockwise)."""

    x: float
    y: float
    side: float
    angle: float

    @classmethod
    def of_eyes(cls, eyes: np.ndarray, frame: Frame = PORTRAIT, scale: float = 1.0, shift=(0.0, 0.0)) -> "Placed":
        """Of eyes [2, 2]. scale: makes the face smaller in the portrait; shift: of the face, fractions of the side.

        ValueError, the reason, for eyes that are none.
        """
        eyes = np.asarray(eyes, np.float64)
        if not np.isfinite(eyes).all():
            raise ValueError("the eyes' places are not finite")
        along = eyes[1] - eyes[0]
        apart = float(np.linalg.norm(along))
        if apart < LEAST_EYES:
            raise ValueError(f"the eyes are {apart:.1f} px apart, least {LEAST_EYES}")
        angle, side = float(np.arctan2(along[1], along[0])), apart / frame.distance * scale
        c, s = np.cos(angle), np.sin(angle)
        down = np.array([-shift[0], 0.5 - frame.height - shift[1]]) * side
        centre = eyes.mean(axis=0) + np.array([[c, -s], [s, c]]) @ down
        return cls(float(centre[0]), float(centre[1]), side, angle)

    def to_portrait(self, points: np.ndarray, size: float) -> np.ndarray:
        """Points [..., 2] of the picture -> in a portrait of `size` px."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return ((np.asarray(points) - (self.x, self.y)) @ np.array([[c, -s], [s, c]]) / self.side + 0.5) * size

    def to_picture(self, points: np.ndarray, size: float) -> np.ndarray:
        """The way back."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return (np.asarray(points) / size - 0.5) * self.side @ np.array([[c, s], [-s, c]]) + (self.x, self.y)

    def cut(self, picture: np.ndarray, size: int) -> np.ndarray:
        """uint8 [H, W, 3] -> the portrait uint8 [size, size, 3]; black outside the picture."""
        shrink = max(1.0, self.side / size / SHRINK)
        small = picture
        if shrink > 1:
            sides = [max(1, round(length / shrink)) for length in picture.shape[1::-1]]
            small = np.asarray(Image.fromarray(picture).resize(sides, Image.Resampling.BOX))
        factor = small.shape[1] / picture.shape[1], small.shape[0] / picture.shape[0]
        square = Squares(
            torch.tensor([[self.x * factor[0], self.y * factor[1]]], dtype=torch.float32),
            torch.tensor([self.side * (factor[0] + factor[1]) / 2], dtype=torch.float32),
            torch.tensor([self.angle], dtype=torch.float32),
        )
        image = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        return ((cut(image, square, size)[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()

    def share_outside(self, boxes: np.ndarray, size: float, picture: np.ndarray) -> float:
        """The part of the boxes [2, 4] of a portrait of `size` px that lies outside the picture."""
        ticks = (np.arange(16) + 0.5) / 16
        grid = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
        places = self.to_picture(boxes[:, None, :2] + grid * (boxes[:, None, 2:] - boxes[:, None, :2]), size)
        return float(1 - ((places >= 0) & (places <= picture.shape[1::-1])).all(axis=-1).mean())

    def paste(
        self,
        picture: np.ndarray,
        before: np.ndarray,
        after: np.ndarray,
        boxes: np.ndarray,
        lids: np.ndarray | None = None,
    ) -> np.ndarray:
        """The picture with what changed from `before` to `after`, uint8 [S, S, 3], inside boxes [2, 4] of them.

        The change fades out toward the edge of each box, inside it, and round the lids [2, 6, 2] in them, where these
        are known. Outside the boxes the picture keeps every bit.
        """
        out, size = picture.copy(), after.shape[0]
        pair = torch.from_numpy(np.stack([before, after])).permute(0, 3, 1, 2).float() / 255
        if size > self.side:  # without this, rows of a fine portrait would be left out
            pair = F.interpolate(pair, [int(np.ceil(self.side))] * 2, mode="bilinear", antialias=True)
        for number, box in enumerate(np.asarray(boxes, np.float64)):
            corners = self.to_picture(box[[[0, 1], [2, 1], [2, 3], [0, 3]]], size)
            x0, y0 = np.floor(corners.min(axis=0)).astype(int).clip(0)
            x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int), picture.shape[1::-1])
            if x1 <= x0 or y1 <= y0:
                continue
            pixels = np.stack(np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5), axis=-1)
            places = self.to_portrait(pixels, size)
            grid = torch.from_numpy(places / size * 2 - 1).float()[None].expand(2, -1, -1, -1)
            was, new = F.grid_sample(pair, grid, align_corners=False, padding_mode="border")
            inside = np.minimum(places - box[:2], box[2:] - places) / (box[2:] - box[:2])
            edge = torch.from_numpy(inside.min(axis=-1) / SOFT).clamp(0, 1).float()
            weight = edge.square() * (3 - 2 * edge)
            if lids is not None:
                weight = weight * torch.from_numpy(fade_round_lids(places, lids[number])).float()
            own = torch.from_numpy(out[y0:y1, x0:x1].copy()).permute(2, 0, 1).float() / 255
            mixed = (blended(own, was, new, weight) * 255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
            out[y0:y1, x0:x1] = mixed
        return out
