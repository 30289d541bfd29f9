"""GazeAnimation as a whole: correction (Gx), animation (Gy, Er) and content (Gr), and their configuration.

Zhang et al. 2020, section 3. Faces are [B, 3, S, S] in [-1, 1]; boxes of eyes [B, 2, 4] as of `eye_boxes`.
"""

from dataclasses import dataclass

import torch
from torch import nn

from groundwork.plain import check_types, check_within
from redirection.gaze_animation.eye_boxes import CROP_PART, both_eyes, eye_crops, mask_of
from redirection.gaze_animation.eye_codes import ContentEncoder, EyeDecoder, GazeEncoder
from redirection.gaze_animation.face_critic import FaceCritic
from redirection.gaze_animation.face_painter import FacePainter

GAZE_NUMBERS = 2  # of Er's code
# What entries are called in the published checkpoints (`redirection.tensorflow_names`); scope: the network's name.
LEAVES = {
    nn.Conv2d: {"weight": "w", "bias": "biases"},
    nn.ConvTranspose2d: {"weight": "w", "bias": "biases"},
    nn.Linear: {"weight": "Matrix"},
    nn.Module: {"weight": "scale", "bias": "offset"},
}
NETWORKS = ("Gr", "Gx", "Gy", "encode")


@dataclass(frozen=True, kw_only=True)
class AnimatorConfig:
    """All that is needed to build the networks. The defaults are the published ones.

    size: side of a face, pixels. ngf: channels of the first layer of Gx, Gy and Gr; nef: of Er; ndf: half of those of
    Dx and Dy. n_layers_*: layers that halve the side, of Gx and Gy, Er, Gr, Dx and Dy.
    widest: no layer of Gx and Gy has more than ngf times so many channels.
    own, content: numbers of the code that a painter makes of a blanked face, and of one eye's content.
    neutral_content: Gy always gets the content of the corrected face. Content tells the gaze a little, so Gy can else
    do without the gaze code, and eyes do not move with it. Not in the paper.
    """

    size: int = 256
    ngf: int = 16
    nef: int = 32
    ndf: int = 16
    n_layers_g: int = 5
    n_layers_e: int = 3
    n_layers_r: int = 3
    n_layers_d: int = 5
    widest: int = 16
    own: int = 256
    content: int = 256
    hidden: int = 1024
    neutral_content: bool = False

    def __post_init__(self):
        check_types(self)
        for name in ("ngf", "nef", "ndf", "n_layers_g", "n_layers_e", "n_layers_r", "n_layers_d", "widest", "own",
                     "content", "hidden"):  # fmt: skip
            check_within(name, getattr(self, name), 1)
        if self.size < 32 or self.size > 1024 or self.size & self.size - 1:
            raise ValueError(f"size={self.size} must be a power of 2 from 32 to 1024")
        layers = {"n_layers_g": self.size, "n_layers_d": self.size, "n_layers_e": self.side, "n_layers_r": self.side}
        for name, side in layers.items():
            check_within(name, getattr(self, name), 1, side.bit_length() - 1)

    def build(self) -> "GazeAnimator":
        return GazeAnimator(self)

    @property
    def side(self) -> int:
        """Of an eye crop, pixels."""
        return self.size // CROP_PART

    @property
    def painter_widths(self) -> tuple[int, ...]:
        return _doubled(self.ngf, self.n_layers_g, self.widest)

    @property
    def content_widths(self) -> tuple[int, ...]:
        return _doubled(self.ngf, self.n_layers_r, self.widest)


def _doubled(base: int, times: int, most: int) -> tuple[int, ...]:
    """base, 2 base, 4 base, ... no more than most times base."""
    return tuple(base * min(2**i, most) for i in range(times + 1))


class GazeAnimator(nn.Module):
    """The networks that are used after training, by their published names; Er is `encode`."""

    def __init__(self, config: AnimatorConfig):
        super().__init__()
        self.config = self.architecture = config
        content = 2 * config.content
        self.Gr = ContentEncoder(config.side, config.content_widths, config.content)
        self.Gx = FacePainter(config.size, config.painter_widths, config.own, content)
        self.Gy = FacePainter(config.size, config.painter_widths, config.own, GAZE_NUMBERS + content)
        self.encode = GazeEncoder(config.side, _doubled(config.nef, config.n_layers_e, 4), GAZE_NUMBERS)

    def content(self, faces: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """C: what both eyes are like, apart from their gaze, [B, 2 n]."""
        return self.Gr(both_eyes(eye_crops(faces, boxes))).view(len(faces), -1)

    def gaze(self, faces: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        """R: code of the gaze, [B, 2]."""
        return self.encode(eye_crops(faces, boxes))

    def correct(self, faces: torch.Tensor, boxes: torch.Tensor, content: torch.Tensor | None = None) -> torch.Tensor:
        """Gx: the faces looking at the camera. content: of the faces, if it is known."""
        blanked, mask = blank(faces, boxes)
        return self.Gx(blanked, mask, self.content(faces, boxes) if content is None else content)

    def paint(self, faces: torch.Tensor, boxes: torch.Tensor, gaze: torch.Tensor, content: torch.Tensor):
        """Gy: the faces with eyes of these codes, gaze [B, 2] and content [B, 2 n]."""
        blanked, mask = blank(faces, boxes)
        return self.Gy(blanked, mask, torch.cat([gaze, content], 1))

    def ends(self, faces: torch.Tensor, boxes: torch.Tensor) -> tuple["EyePair", "EyePair"]:
        """Codes of the faces as they are (alpha 0), and of their corrections (alpha 1)."""
        corrected = self.correct(faces, boxes)
        seen = corrected if self.config.neutral_content else faces
        there = EyePair(self.gaze(faces, boxes), self.content(seen, boxes))
        return there, EyePair(self.gaze(corrected, boxes), self.content(corrected, boxes))

    def frame(
        self, faces: torch.Tensor, boxes: torch.Tensor, alpha: float, ends: tuple["EyePair", "EyePair"] | None = None
    ) -> torch.Tensor:
        """A frame of the animation: alpha 0 shows the gaze that is there, 1 the camera; more and less go beyond.

        ends: what `ends` says, if it is known.
        """
        there, camera = self.ends(faces, boxes) if ends is None else ends
        gaze = alpha * camera.gaze + (1 - alpha) * there.gaze
        return self.paint(faces, boxes, gaze, alpha * camera.content + (1 - alpha) * there.content)


@dataclass(frozen=True)
class EyePair:
    """Codes of the eyes of faces: gaze [B, 2], content [B, 2 n]."""

    gaze: torch.Tensor
    content: torch.Tensor


def blank(faces: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Faces whose boxes are 0, which is mid grey, and the mask [B, 1, S, S]."""
    mask = mask_of(boxes, faces.shape[-1])
    return faces * (1 - mask), mask


def make_critic(config: AnimatorConfig, spectral: str | None = None) -> FaceCritic:
    """Dx or Dy."""
    face = _doubled(config.ndf, config.n_layers_d, 16)[1:]
    return FaceCritic(config.size, face, _doubled(config.ndf, config.n_layers_d, 32)[1:], config.hidden, spectral)


def make_eye_decoder(config: AnimatorConfig, spectral: str) -> EyeDecoder:
    """What pre-training paints an eye with, from Gr's code and maps."""
    return EyeDecoder(config.side, config.content_widths, config.content, spectral)
