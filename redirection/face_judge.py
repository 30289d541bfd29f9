"""The judge of whole faces: reads the gaze off both eyes together, and knows where the face's other points lie.

As the judge of patches it only measures: it is in no loss and in no aim. It learned from far more people
(`face_judge_fitting`), so it errs less. Patches must be cut by lids of another gaze than theirs: lids follow the gaze.
The gaze reader, which aims, is another such network (`eye_reader`).
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import nn

from eg3d.metrics.network_file import HEADER_KEY, load_configured, save_network
from eg3d.metrics.world_features import Block
from groundwork.files import WORLD_WEIGHTS
from groundwork.plain import check_types
from groundwork.strict_json import parse_json
from redirection.eye_patches import EyeSquare
from redirection.patch_judge import JUDGES, SCALE_DEG, Judge, Reading
from redirection.patch_sets import signed

KIND = "face judge"
FACE_JUDGES = {"embedded-faces": WORLD_WEIGHTS / "people_face_judge.safetensors"}
STILL = [point for point in range(68) if not 36 <= point < 48]  # points that stay where they are when eyes turn
MIDDLE = [17, 26, 27, 28, 29, 30, 31, 35]  # what places count from
MIRRORED = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38,
            37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]  # fmt: skip
KNOWN = 2 * 3 + 2 * len(STILL)  # numbers that each eye knows: both squares, points
FACE_PX, UNIT_PX = 256, 10.0  # side of the portraits that places are of; places count in these pixels
OTHER_WAY = torch.tensor([-1.0, 1.0, 1.0])
CHUNK = 128


@dataclass(frozen=True)
class FaceArchitecture:
    """side: pixels of the patches. widths: channels of the stem and the blocks. hidden: numbers of each eye."""

    side: int = 64
    widths: tuple[int, ...] = (16, 32, 48, 64)
    hidden: int = 64

    def __post_init__(self):
        check_types(self)
        numbers = (self.side, *self.widths, self.hidden)
        if not all(8 <= number <= 1024 for number in numbers) or len(self.widths) != 4 or self.side % 16:
            raise ValueError(f"a {KIND} with sizes {numbers}: four widths and all from 8 to 1024, the side 16 times n")

    def build(self) -> "FaceJudge":
        return FaceJudge(self)


def places(
    points: np.ndarray, squares: Sequence[Sequence[EyeSquare]], size: float = FACE_PX
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points [N, 68, 2] of portraits of `size` px, squares of eyes R and L -> the still points [N, 2, 112] and x, y,
    side of the squares [N, 2, 3], as each eye sees them: for R all is mirrored."""
    cut = torch.tensor([[(one.x, one.y, one.side) for one in pair] for pair in squares]).float()
    points = torch.from_numpy(np.asarray(points)).float()
    middle = points[:, MIDDLE].mean(dim=1, keepdim=True)
    shown = (points - middle) / UNIT_PX
    there = torch.stack([shown[:, MIRRORED] * OTHER_WAY[:2], shown], dim=1)[:, :, STILL].flatten(2)
    cut[..., :2] -= middle
    cut[:, 0] *= OTHER_WAY
    return there * FACE_PX / size, cut / UNIT_PX * FACE_PX / size


def known_of(points: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """[B, 2, KNOWN]: own square, the other one, points."""
    return torch.cat([squares, squares.flip(1) * OTHER_WAY.to(squares), points], dim=2)


class FaceJudge(nn.Module):
    """Patches [B, 2, 3, S, S] in [-1, 1], points and squares as `places` gives them -> yaw, pitch in degrees [B, 2].

    Each eye says a gaze, in its own mirror; a mirrored face is read as looking the other way.
    """

    def __init__(self, architecture: FaceArchitecture):
        super().__init__()
        self.architecture, widths, hidden = architecture, architecture.widths, architecture.hidden
        self.stem = nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(widths, widths[1:], strict=False)))
        self.eye = nn.Linear(widths[-1] * (architecture.side // 16) ** 2, hidden)
        self.register_buffer("mean", torch.zeros(KNOWN))
        self.register_buffer("deviation", torch.ones(KNOWN))
        self.face = nn.Sequential(nn.Linear(KNOWN, 96), nn.GELU(), nn.Linear(96, hidden))
        self.both = nn.Sequential(
            nn.Linear(3 * hidden + KNOWN, 128), nn.GELU(), nn.Linear(128, 96), nn.GELU(), nn.Linear(96, 2)
        )
        self.straight = nn.Linear(KNOWN, 2)

    def forward(self, patches: torch.Tensor, points: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
        x = patches.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        maps = self.blocks(F.relu(self.bn(self.stem(x)))).flatten(1)
        eyes = F.relu(self.eye(maps)).unflatten(0, (-1, 2))
        known = (known_of(points, squares) - self.mean) / self.deviation
        said = self.both(torch.cat([eyes, eyes.flip(1), self.face(known), known], dim=2)) + self.straight(known)
        said = SCALE_DEG * said.float()
        return torch.stack([(said[:, 1, 0] - said[:, 0, 0]) / 2, said[..., 1].mean(dim=1)], dim=1)


@torch.no_grad()
def gaze_of(
    judge: FaceJudge, patches: torch.Tensor, points: np.ndarray, squares: Sequence[Sequence[EyeSquare]], size=FACE_PX
) -> np.ndarray:
    """[N, 2]: yaw, pitch in degrees of faces, patches uint8 [N, 2, 3, S, S], R mirrored; the rest as of `places`."""
    device = judge.mean.device
    parts = zip(patches.split(CHUNK), *(one.split(CHUNK) for one in places(points, squares, size)), strict=True)
    said = [judge(signed(x).to(device), there.to(device), cut.to(device)) for x, there, cut in parts]
    return torch.cat(said).double().cpu().numpy()


@dataclass(frozen=True)
class FaceGazeReader:
    """A network of faces with its name, the SHA-256 of its file, and its facts."""

    network: FaceJudge
    name: str
    sha256: str
    facts: dict

    @classmethod
    def load(cls, spec: str, device="cpu") -> "FaceGazeReader":
        """`embedded-faces`, or a file of train_face_judge.py. Errors: ValueError, one line."""
        network, stored = load_configured(FACE_JUDGES.get(spec) or Path(spec), KIND, FaceArchitecture)
        return cls(network.to(device), spec, stored.sha256, stored.facts)

    def gaze(
        self, patches: torch.Tensor, points: np.ndarray, squares: Sequence[Sequence[EyeSquare]], size: float
    ) -> np.ndarray:
        """As `gaze_of`."""
        return gaze_of(self.network, patches, points, squares, size)

    @functools.cached_property
    def patches(self) -> Judge:
        """Identity and features are of no face: they stay those of the judge of patches."""
        return Judge.load("embedded", self.network.mean.device)

    def read(self, patches: torch.Tensor) -> Reading:
        return self.patches.read(patches)


def open_judge(spec: str, device="cpu") -> FaceGazeReader | Judge:
    """A judge by its name, or a file of either kind. Errors: ValueError, one line."""
    return (FaceGazeReader if spec in FACE_JUDGES or _is_of_faces(spec) else Judge).load(spec, device)


def _is_of_faces(spec: str) -> bool:
    if spec in JUDGES:
        return False
    try:
        with safe_open(spec, "pt") as opened:
            return parse_json(opened.metadata()[HEADER_KEY])["kind"] == KIND
    except (SafetensorError, OSError, ValueError, TypeError, LookupError):
        return False  # whoever opens it says what is wrong


def save_face_judge(path: Path, network: FaceJudge, facts: dict) -> None:
    """Writes weights (matrices as float16), architecture and facts, atomically."""
    save_network(path, KIND, network, facts)
