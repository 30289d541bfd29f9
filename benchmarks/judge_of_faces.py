"""A judge that sees both eyes of a face together, and knows where the other points of the face lie."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from judged_people import PATCH, Seen
from torch import nn

from eg3d.metrics.world_features import Block
from eg3d.world.training.fitting import FitConfig, fit
from l2cs.augmented_crops import gaussian_blur
from redirection.eye_patches import LIDS, EyeSquare
from redirection.judge_fitting import MOST_BLUR, MOST_NOISE, SPOILT, TURNS
from redirection.patch_judge import SCALE_DEG
from redirection.patch_sets import signed

STILL = [point for point in range(68) if not 36 <= point < 48]  # points that stay where they are when eyes turn
MIDDLE = [17, 26, 27, 28, 29, 30, 31, 35]  # what places count from
MIRRORED = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38,
            37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]  # fmt: skip
UNIT_PX = 10.0  # of a portrait of 256 px
OTHER_WAY = torch.tensor([-1.0, 1.0, 1.0])
BESIDE_PX, ZOOM, TREMBLE_PX = 1.5, 0.05, 0.3  # augmentation: patches are cut a little beside, points are not exact
WIDTHS, HIDDEN = (16, 32, 48, 64), 64


def places(points: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Points [N, 68, 2] of portraits -> the still ones [N, 2, 112] and x, y, side of the squares of the eyes [N, 2, 3],
    as each eye sees them: for R all is mirrored."""
    squares = [[EyeSquare.of_lids(face[LIDS[eye]], eye) for eye in "RL"] for face in points]
    places = torch.tensor([[(one.x, one.y, one.side) for one in pair] for pair in squares]).float()
    points = torch.from_numpy(np.asarray(points)).float()
    middle = points[:, MIDDLE].mean(dim=1, keepdim=True)
    shown = (points - middle) / UNIT_PX
    there = torch.stack([shown[:, MIRRORED] * OTHER_WAY[:2], shown], dim=1)[:, :, STILL].flatten(2)
    places[..., :2] -= middle
    places[:, 0] *= OTHER_WAY
    return there, places / UNIT_PX


class FaceJudge(nn.Module):
    """Patches [B, 2, 3, S, S] in [-1, 1], points and squares as `places` gives them -> yaw, pitch in degrees [B, 2].

    Each eye says a gaze, in its own mirror; a mirrored face is read as looking the other way.
    """

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(WIDTHS[0])
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(WIDTHS, WIDTHS[1:], strict=False)))
        self.eye = nn.Linear(WIDTHS[-1] * (PATCH // 16) ** 2, HIDDEN)
        known = 2 * 3 + 2 * len(STILL)
        self.register_buffer("mean", torch.zeros(known))
        self.register_buffer("deviation", torch.ones(known))
        self.face = nn.Sequential(nn.Linear(known, 96), nn.GELU(), nn.Linear(96, HIDDEN))
        self.both = nn.Sequential(
            nn.Linear(3 * HIDDEN + known, 128), nn.GELU(), nn.Linear(128, 96), nn.GELU(), nn.Linear(96, 2)
        )
        self.straight = nn.Linear(known, 2)

    def forward(self, patches: torch.Tensor, points: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
        x = patches.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        maps = self.blocks(F.relu(self.bn(self.stem(x)))).flatten(1)
        eyes = F.relu(self.eye(maps)).unflatten(0, (-1, 2))
        known = (known_of(points, squares) - self.mean) / self.deviation
        said = self.both(torch.cat([eyes, eyes.flip(1), self.face(known), known], dim=2)) + self.straight(known)
        said = SCALE_DEG * said.float()
        return torch.stack([(said[:, 1, 0] - said[:, 0, 0]) / 2, said[..., 1].mean(dim=1)], dim=1)


def known_of(points: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """[B, 2, ...]: own square, the other one, points."""
    return torch.cat([squares, squares.flip(1) * OTHER_WAY, points], dim=2)


def beside(x: torch.Tensor, squares: torch.Tensor, draws: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches [B, 2, 3, S, S] as if cut a little beside and larger or smaller; the squares say so."""
    shift = (torch.rand(*x.shape[:2], 2, generator=draws) * 2 - 1) * BESIDE_PX
    zoom = 1 + (torch.rand(x.shape[:2], generator=draws) * 2 - 1) * ZOOM
    theta = torch.zeros(2 * len(x), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / zoom.flatten()
    theta[:, :, 2] = shift.flatten(0, 1) * 2 / PATCH
    flat = x.flatten(0, 1)
    grid = F.affine_grid(theta, list(flat.shape), align_corners=False)
    flat = F.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    middles = squares[..., :2] + shift * squares[..., 2:] / PATCH
    return flat.view_as(x), torch.cat([middles, squares[..., 2:] / zoom[..., None]], dim=2)


def spoilt(x: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
    """Both eyes of a face paler or darker alike; some blurred and noisy, since painted eyes are."""
    n = len(x)

    def uniform(*shape) -> torch.Tensor:
        return torch.rand(n, *shape, generator=draws) * 2 - 1

    gain, lift = (1 + 0.15 * uniform(1)) * (1 + 0.05 * uniform(3)), 0.1 * uniform(1) + 0.05 * uniform(3)
    x = x * gain[:, None, :, None, None] + lift[:, None, :, None, None]
    rows = (torch.rand(n, generator=draws) < SPOILT).nonzero()[:, 0]
    if len(rows):
        sigma = (torch.rand(len(rows), generator=draws) * MOST_BLUR * PATCH).repeat_interleave(2)
        soft = gaussian_blur(x[rows].flatten(0, 1), sigma, radius=4).unflatten(0, (-1, 2))
        noise = torch.randn(soft.shape, generator=draws) * torch.rand(len(rows), 1, 1, 1, 1, generator=draws)
        x[rows] = soft + MOST_NOISE * noise
    return x.clamp(-1, 1)


def trained(people: Seen, config: FitConfig, folder: Path) -> FaceJudge:
    """The judge, trained in `folder` on these people, or gone on with there."""
    patches, truth = torch.from_numpy(people.patches), torch.from_numpy(people.gaze).float()
    points, squares = places(people.points)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        judge = FaceJudge().to(memory_format=torch.channels_last)
    known = known_of(points, squares).flatten(0, 1)
    judge.mean.copy_(known.mean(dim=0))
    judge.deviation.copy_(known.std(dim=0) + 0.05)  # what hardly differs is not enlarged

    def loss(rows: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        x, cut = beside(signed(patches[rows]), squares[rows], draws)
        trembling = points[rows] + TREMBLE_PX / UNIT_PX * torch.randn(points[rows].shape, generator=draws)
        with torch.autocast("cpu", torch.bfloat16):
            said = judge(spoilt(x, draws), trembling, cut)
        return F.smooth_l1_loss(said / SCALE_DEG, truth[rows] / SCALE_DEG, beta=TURNS)

    fit(judge, loss, len(patches), config, folder)
    return judge.eval().requires_grad_(False)


def said(judge: FaceJudge, patches: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[N, 2]: yaw, pitch of patches uint8 [N, 2, 3, S, S], cut by points [N, 68, 2]."""
    parts = zip(torch.from_numpy(patches).split(128), *(one.split(128) for one in places(points)), strict=True)
    return torch.cat([judge(signed(x), there, cut) for x, there, cut in parts]).double().numpy()
