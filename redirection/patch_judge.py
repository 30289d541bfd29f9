"""The judge of eye patches: reads head yaw and gaze in degrees, whose eye it is, and features for Frechet distances.

It only measures and is in no loss. It learns from people that the redirectors may know too, and is used on others; its
own error there belongs beside every number that it gives (`judge_fitting`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from eg3d.metrics.network_file import load_configured, save_network
from eg3d.metrics.world_features import Block
from groundwork.files import WORLD_WEIGHTS
from groundwork.plain import check_types
from redirection.patch_sets import signed

KIND = "patch judge"
JUDGES = {"embedded": WORLD_WEIGHTS / "people_patch_judge.safetensors"}
SCALE_DEG = 10.0  # of the numbers that the network gives
CHUNK = 256
OF_R_AND_L = (-1.0, 1.0)  # signs of yaw: patches of right eyes are mirrored


@dataclass(frozen=True)
class JudgeArchitecture:
    """side: pixels the network looks at. widths: channels of the stem and the blocks. identity: of an embedding."""

    side: int = 64
    widths: tuple[int, ...] = (16, 32, 48, 64)
    hidden: int = 48
    identity: int = 64

    def __post_init__(self):
        check_types(self)
        numbers = (self.side, *self.widths, self.hidden, self.identity)
        if not all(8 <= number <= 1024 for number in numbers) or len(self.widths) != 4 or self.side % 16:
            raise ValueError(f"a {KIND} with sizes {numbers}: four widths and all from 8 to 1024, the side 16 times n")

    def build(self) -> "PatchJudge":
        return PatchJudge(self)


class Reading(NamedTuple):
    """angles [N, 3]: P, V, H in degrees; identity [N, D]: unit vectors; features [N, F]; quality [N, 2]: how blurred
    and how noisy a patch is, 0 to 1, which is asked in training alone.
    """

    angles: torch.Tensor
    identity: torch.Tensor
    features: torch.Tensor
    quality: torch.Tensor


class PatchJudge(nn.Module):
    """Patches [N, 3, S, S] of any size, in [-1, 1] -> Reading. A residual network; angles see where things are."""

    def __init__(self, architecture: JudgeArchitecture):
        super().__init__()
        self.architecture, widths = architecture, architecture.widths
        self.stem = nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(widths, widths[1:], strict=False)))
        places = (architecture.side // 16) ** 2
        self.hidden = nn.Linear(widths[-1] * places, architecture.hidden)
        self.angles = nn.Linear(architecture.hidden, 3)
        self.identity = nn.Linear(widths[-1], architecture.identity)
        self.quality = nn.Linear(widths[-1], 2)

    def forward(self, x: torch.Tensor) -> Reading:
        side = self.architecture.side
        if x.shape[-2:] != (side, side):
            x = F.interpolate(x, (side, side), mode="bilinear", align_corners=False, antialias=True)
        maps = self.blocks(F.relu(self.bn(self.stem(x))))
        features = maps.mean(dim=(2, 3))
        angles = SCALE_DEG * self.angles(F.relu(self.hidden(maps.flatten(1))))
        return Reading(angles, F.normalize(self.identity(features)), features, self.quality(features))


@torch.no_grad()
def read(judge: PatchJudge, patches: torch.Tensor, device="cpu") -> Reading:
    """What the judge sees in uint8 [N, 3, S, S]; on the CPU."""
    parts = [judge(signed(part).to(device)) for part in patches.split(CHUNK)]
    return Reading(*(torch.cat(values).cpu() for values in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Judge:
    """A judge with its name, the SHA-256 of its file, and the facts of how it was made and what it reaches."""

    network: PatchJudge
    name: str
    sha256: str
    facts: dict

    @classmethod
    def load(cls, spec: str, device="cpu") -> "Judge":
        """`embedded`, or a file of train_judge.py. Errors: ValueError, one line."""
        path = JUDGES.get(spec) or Path(spec)
        network, stored = load_configured(path, KIND, JudgeArchitecture)
        return cls(network.to(device), spec, stored.sha256, stored.facts)

    def read(self, patches: torch.Tensor) -> Reading:
        return read(self.network, patches, next(self.network.parameters()).device)

    def gaze(self, patches: torch.Tensor, *_of_face) -> np.ndarray:
        """As `face_reading.GazeReader`: the mean of both eyes; where they lie in the face is not asked."""
        angles = self.read(patches.flatten(0, 1)).angles.double().unflatten(0, (-1, 2))
        yaw = (angles[..., 2] * torch.tensor(OF_R_AND_L)).mean(dim=1)
        return torch.stack([yaw, angles[..., 1].mean(dim=1)], dim=1).numpy()


def save_judge(path: Path, network: PatchJudge, facts: dict) -> None:
    """Writes weights (matrices as float16), architecture and facts, atomically."""
    save_network(path, KIND, network, facts)
