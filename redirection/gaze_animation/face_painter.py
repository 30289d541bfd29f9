"""Gx and Gy: a U-Net that paints both eyes of a face whose eyes are blanked (Zhang et al. 2020, section 3).

Names of the modules are those of the published TensorFlow variables.
"""

import torch
import torch.nn.functional as F
from torch import nn

from redirection.gaze_animation.painted_layers import conv4, conv7, deconv4, flat, norm, start, unflat


class FacePainter(nn.Module):
    """Blanked face [B, 3, S, S] in [-1, 1], mask [B, 1, S, S], codes [B, extra] -> face [B, 3, S, S].

    Outside the mask the face is what came in, exactly. widths: channels of the first layer and of each that halves the
    side. own: numbers of the code that the painter itself makes of the blanked face. extra: numbers of the codes that
    are given (gaze, then content).
    """

    def __init__(self, size: int, widths: tuple[int, ...], own: int, extra: int):
        super().__init__()
        self.depth, self.side = len(widths) - 1, size >> len(widths) - 1
        self.conv, self.IN = conv7(6, widths[0]), norm(widths[0])
        for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
            self.add_module(f"conv{i}", conv4(before, after))
            self.add_module(f"IN{i}", norm(after))
        self.FC1 = nn.Linear(self.side**2 * widths[-1], own)
        self.FC2 = nn.Linear(own + extra, self.side**2 * widths[-1])
        for i, (before, after) in enumerate(zip(widths[::-1], widths[-2::-1], strict=False)):
            self.add_module(f"deconv{i}", deconv4(2 * before, after))
            self.add_module(f"IN_{i}", norm(after))
        self.output_conv = conv7(widths[0], 3)
        start(self)

    def forward(self, blanked: torch.Tensor, mask: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        x = torch.cat([blanked, mask.expand(-1, 3, -1, -1)], 1)
        x, skips = F.leaky_relu(self.IN(self.conv(x)), 0.2), []
        for i in range(self.depth):
            skips.append(x := F.leaky_relu(self._layer(f"conv{i}", f"IN{i}", x), 0.2))
        x = unflat(F.leaky_relu(self.FC2(torch.cat([self.FC1(flat(x)), codes], 1)), 0.2), self.side)
        for i in range(self.depth):
            x = self._layer(f"deconv{i}", f"IN_{i}", torch.cat([x, skips.pop()], 1)).relu()
        return blanked + torch.tanh(self.output_conv(x)) * mask

    def _layer(self, conv: str, norm: str, x: torch.Tensor) -> torch.Tensor:
        return getattr(self, norm)(getattr(self, conv)(x))
