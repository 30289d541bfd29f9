"""What is known of a pair of eyes in a few numbers: Er, their gaze; Gr, whose they are; and the auto-encoder of Gr.

Zhang et al. 2020, section 3: GAM and PAM. Names of the modules are those of the published TensorFlow variables.
"""

import torch
import torch.nn.functional as F
from torch import nn

from redirection.gaze_animation.painted_layers import conv4, conv7, flat, norm, start, unflat
from redirection.gaze_animation.row_spectral import SpectralDeconv


class GazeEncoder(nn.Module):
    """Er: both eye crops [B, 6, s, s] -> [B, 2]. The numbers have no unit; training alone says what they mean."""

    def __init__(self, side: int, widths: tuple[int, ...], numbers: int):
        super().__init__()
        self.depth = len(widths)
        for i, (before, after) in enumerate(zip((6, *widths), widths, strict=False), 1):
            self.add_module(f"e_c{i}", conv7(before, after) if i == 1 else conv4(before, after))
            self.add_module(f"e_in{i}", norm(after))
        self.e_ful1 = nn.Linear((side >> self.depth - 1) ** 2 * widths[-1], numbers)
        start(self)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        for i in range(1, self.depth + 1):
            crops = getattr(self, f"e_in{i}")(getattr(self, f"e_c{i}")(crops)).relu()
        return self.e_ful1(flat(crops))


class ContentEncoder(nn.Module):
    """Gr: one eye crop [B, 3, s, s] -> code [B, n] that does not tell the gaze; called Ec in the paper's figure."""

    def __init__(self, side: int, widths: tuple[int, ...], numbers: int):
        super().__init__()
        self.depth = len(widths) - 1
        self.conv, self.IN = conv7(3, widths[0]), norm(widths[0])
        for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
            self.add_module(f"conv{i}", conv4(before, after))
            self.add_module(f"IN{i}", norm(after))
        self.FC1 = nn.Linear((side >> self.depth) ** 2 * widths[-1], numbers)
        start(self)

    def forward(self, crop: torch.Tensor) -> torch.Tensor:
        return self.code_and_maps(crop)[0]

    def code_and_maps(self, crop: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The code, and the maps whose side is s/2, s/4, ..."""
        x, maps = F.leaky_relu(self.IN(self.conv(crop)), 0.2), []
        for i in range(self.depth):
            maps.append(x := F.leaky_relu(getattr(self, f"IN{i}")(getattr(self, f"conv{i}")(x)), 0.2))
        return self.FC1(flat(x)), maps


class EyeDecoder(nn.Module):
    """Code [B, n] and maps of `ContentEncoder` -> eye crop [B, 3, s, s] in [-1, 1]. Only pre-training needs it.

    From the paper's older variant, the only one whose decoder is known: U-Net skips, and spectral norm
    (`row_spectral.FORMS`) on what enlarges.
    """

    def __init__(self, side: int, widths: tuple[int, ...], numbers: int, spectral: str):
        super().__init__()
        self.depth = len(widths) - 1
        self.side = side >> self.depth
        self.FC1 = nn.Linear(numbers, self.side**2 * widths[-1])
        before = widths[-1]
        for i, after in enumerate(widths[:0:-1]):
            self.add_module(f"deconv{i}", SpectralDeconv(before + after, after, spectral))
            self.add_module(f"IN{i}", norm(before := after))
        self.output_conv = conv7(before, 3)
        start(self)

    def forward(self, code: torch.Tensor, maps: list[torch.Tensor]) -> torch.Tensor:
        x = unflat(F.leaky_relu(self.FC1(code), 0.2), self.side)
        for i, skip in enumerate(maps[::-1]):
            x = getattr(self, f"IN{i}")(getattr(self, f"deconv{i}")(torch.cat([x, skip], 1))).relu()
        return torch.tanh(self.output_conv(x))
