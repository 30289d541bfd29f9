"""DeepWarp (Ganin et al. 2016): eyes moved by a flow, made coarsely and then finely.

Names of the modules are those of the variables of the TensorFlow re-implementation whose numbers this agrees with
(`redirection.tensorflow_names`, scope "deepwarp"). Its lightness correction was off; here it can be on.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from groundwork.plain import check_types, check_within

HEIGHT, WIDTH = 41, 51  # of the published patches
EMBEDDED = 16  # channels of the angle


@dataclass(frozen=True, kw_only=True)
class WarpConfig:
    """The published ones. height, width: of the box round an eye, pixels.

    lightness: whether pixels can also become brighter (`_Lightness`). unit_deg: degrees that count as 1.
    """

    height: int = HEIGHT
    width: int = WIDTH
    lightness: bool = False
    unit_deg: float = 90.0

    def __post_init__(self):
        check_types(self)
        check_within("width", self.width, 8, 1024)
        check_within("height", self.height, 8, self.width)
        check_within("unit_deg", self.unit_deg, 1, 360)

    def build(self) -> "GazeWarp":
        return GazeWarp(self)


class Warped(NamedTuple):
    """Patches [B, 3, h, w], moved by the coarse flow alone and by the whole one; the whole flow [B, 2, h, w] (x, y)."""

    coarse: torch.Tensor
    output: torch.Tensor
    flow: torch.Tensor


def _layer(before: int, after: int, kernel: int) -> nn.Sequential:
    parts = OrderedDict(
        conv2d=nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False),
        bn=nn.BatchNorm2d(after, eps=1e-3, momentum=0.1),
        relu=nn.ReLU(),
    )
    return nn.Sequential(parts)


class _Angle(nn.Module):
    """Difference of the angles [B, 2] -> [B, 16]."""

    def __init__(self):
        super().__init__()
        self.dense1, self.dense2 = nn.Linear(2, EMBEDDED), nn.Linear(EMBEDDED, EMBEDDED)

    def forward(self, difference: torch.Tensor) -> torch.Tensor:
        return self.dense2(self.dense1(difference).relu()).relu()


class _CoarseWarp(nn.Module):
    """Flow [B, 2, h, w] in [-1, 1], made at half the size and enlarged by nearest neighbours; what it is made of."""

    def __init__(self):
        super().__init__()
        self.layer_1, self.layer_2 = _layer(3 + EMBEDDED, 16, 5), _layer(16, 32, 3)
        self.layer_3, self.layer_4 = _layer(32, 32, 3), _layer(32, 32, 3)
        self.layer_5 = nn.Conv2d(32, 2, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        half = F.avg_pool2d(self.layer_2(self.layer_1(x)), 2)
        seen = self.layer_4(self.layer_3(half))
        flow = torch.tanh(self.layer_5(seen))
        return tuple(F.interpolate(maps, x.shape[-2:], mode="nearest") for maps in (flow, seen))


class _FineWarp(nn.Module):
    """What is added to the coarse flow, and what it is made of."""

    def __init__(self):
        super().__init__()
        self.layer_1, self.layer_2 = _layer(3 + 3 + 2 + EMBEDDED, 16, 5), _layer(16, 32, 3)
        self.layer_3, self.layer_4, self.layer_5 = (_layer(32, 32, 3) for _ in range(3))
        self.res_flow = nn.Conv2d(32, 2, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for layer in (self.layer_1, self.layer_2, self.layer_3, self.layer_4, self.layer_5):
            x = layer(x)
        return torch.tanh(self.res_flow(x)), x


class _Lightness(nn.Module):
    """How much of each pixel becomes white [B, 1, h, w], from what both warps saw: a flow cannot bring back the white
    of an eye that the source hides (DeepWarp, lightness correction). At the start it is a fiftieth.
    """

    def __init__(self):
        super().__init__()
        self.layer_1, self.layer_2 = nn.Conv2d(64, 8, 1), nn.Conv2d(8, 8, 1)
        self.layer_3 = nn.Conv2d(8, 1, 1)
        if not self.layer_3.bias.is_meta:
            nn.init.constant_(self.layer_3.bias, -4.0)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layer_3(self.layer_2(self.layer_1(seen).relu()).relu()))


class GazeWarp(nn.Module):
    """patch [B, 3, h, w] in [0, 1], source angle - wanted angle [B, 2] -> `Warped`."""

    def __init__(self, config: WarpConfig | None = None):
        super().__init__()
        self.architecture = config or WarpConfig()
        self.angle_embedding, self.coarse_warp, self.fine_warp = _Angle(), _CoarseWarp(), _FineWarp()
        self.lightness = _Lightness() if self.architecture.lightness else None

    def forward(self, x: torch.Tensor, difference: torch.Tensor) -> Warped:
        angle = self.angle_embedding(difference)[:, :, None, None].expand(-1, -1, *x.shape[-2:])
        flow, seen = self.coarse_warp(torch.cat([x, angle], 1))
        coarse = sample(x, flow)
        more, seen_finely = self.fine_warp(torch.cat([x, coarse, flow, angle], 1))
        flow = flow + more
        output = sample(x, flow)
        if self.lightness is not None:
            white = self.lightness(torch.cat([seen, seen_finely], 1))
            output = output * (1 - white) + white
        return Warped(coarse, output, flow)


def sample(x: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Each pixel takes the colour at its place + flow, bilinearly; a flow of 2 spans the centres of the outer pixels.

    A place outside the picture, or on its last row or column or beyond, counts as none: the pixel keeps its own colour.
    """
    height, width = x.shape[-2:]
    rows, columns = (torch.arange(n, dtype=x.dtype, device=x.device) for n in (height, width))
    to = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)])  # x, y of each pixel
    sizes = to.new_tensor([width - 1, height - 1]).view(2, 1, 1)
    place = to + flow * sizes / 2
    inside = ((place >= 0) & (place < sizes)).all(1, keepdim=True)
    grid = (place / sizes * 2 - 1).permute(0, 2, 3, 1)
    return torch.where(inside, F.grid_sample(x, grid, align_corners=True, padding_mode="border"), x)


def warp_losses(warped: Warped, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Squares summed over a patch, mean over the batch: of the coarse result, of the final one, and both together."""
    coarse, output = ((drawn - target).square().sum((1, 2, 3)).mean() for drawn in (warped.coarse, warped.output))
    return {"coarse_loss": coarse, "output_loss": output, "loss": coarse + output}
