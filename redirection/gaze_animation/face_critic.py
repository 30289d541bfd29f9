"""Dx and Dy: a discriminator that looks at a whole face and at both its eyes (Zhang et al. 2020, section 3).

Names of the modules are those of the published TensorFlow variables: d2 sees the face, d1 the eyes.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from redirection.gaze_animation.eye_boxes import CROP_PART, eye_crops
from redirection.gaze_animation.painted_layers import conv4, flat, start
from redirection.gaze_animation.row_spectral import SpectralConv, SpectralLinear


class _Branch(nn.Module):
    """[B, before, S, S] -> [B, numbers]: convolutions that halve the side, then one layer of all."""

    def __init__(self, size: int, before: int, widths: tuple[int, ...], numbers: int, conv: Callable, fc: Callable):
        super().__init__()
        self.depth = len(widths)
        for i, after in enumerate(widths):
            self.add_module(f"d{i}", conv(before, before := after))
            size //= 2
        self.fp = fc(size**2 * before, numbers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(self.depth):
            x = F.leaky_relu(getattr(self, f"d{i}")(x), 0.2)
        return self.fp(flat(x))


class FaceCritic(nn.Module):
    """Face [B, 3, S, S] in [-1, 1], boxes of its eyes [B, 2, 4] -> logit [B, 1].

    face, eyes: channels of the layers of the two branches; the code of a face has as many numbers as its last layer has
    channels, and so has that of the eyes. hidden: numbers of the layer that sees both codes. spectral: None, or one of
    `row_spectral.FORMS`.
    """

    def __init__(self, size: int, face: tuple[int, ...], eyes: tuple[int, ...], hidden: int, spectral: str | None):
        super().__init__()

        def conv(before: int, after: int) -> nn.Module:
            return conv4(before, after) if spectral is None else SpectralConv(before, after, spectral)

        def fc(before: int, after: int) -> nn.Module:
            return nn.Linear(before, after) if spectral is None else SpectralLinear(before, after, spectral)

        self.d2 = _Branch(size, 3, face, face[-1], conv, fc)
        self.d1 = _Branch(size // CROP_PART, 6, eyes, eyes[-1], conv, fc)
        self.fc1, self.fc2 = fc(face[-1] + eyes[-1], hidden), fc(hidden, 1)
        start(self)

    def forward(self, face: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        codes = torch.cat([self.d2(face), self.d1(eye_crops(face, boxes))], 1)
        return self.fc2(self.fc1(codes).relu())
