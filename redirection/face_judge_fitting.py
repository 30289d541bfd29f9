"""Training of the judge of faces, or of the gaze reader (`face_judge`), and its own error on people it never saw."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from eg3d.world.training.fitting import FitConfig, fit
from l2cs.augmented_crops import gaussian_blur
from redirection.face_judge import UNIT_PX, FaceArchitecture, FaceJudge, gaze_of, known_of, places
from redirection.face_scores import off
from redirection.judge_fitting import MOST_BLUR, MOST_NOISE, SPOILT, TURNS
from redirection.judged_people import OWN_POINTS, Seen
from redirection.patch_judge import SCALE_DEG
from redirection.patch_sets import signed

PEOPLE, UNSEEN_SPLIT, UNSEEN = 4500, "test", 100
CONFIG = FitConfig(name="face-judge", epochs=20, batch_size=32, weight_decay=1e-3)
BESIDE_PX, ZOOM = 1.5, 0.05  # augmentation: patches are cut a little beside


@dataclass(frozen=True)
class Purpose:
    """What a network of faces is for. split: whose people it learns from. tremble_px: standard deviation of points in
    training; those of photos are less exact than a world's."""

    split: str
    tremble_px: float


PURPOSES = {"judge": Purpose("gaze-judge", 0.3), "reader": Purpose("eye-reader", 2.0)}


def beside(x: torch.Tensor, squares: torch.Tensor, draws: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches [B, 2, 3, S, S] as if cut a little beside and larger or smaller; the squares say so."""
    shift = (torch.rand(*x.shape[:2], 2, generator=draws) * 2 - 1) * BESIDE_PX
    zoom = 1 + (torch.rand(x.shape[:2], generator=draws) * 2 - 1) * ZOOM
    theta = torch.zeros(2 * len(x), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / zoom.flatten()
    theta[:, :, 2] = shift.flatten(0, 1) * 2 / x.shape[-1]
    flat = x.flatten(0, 1)
    grid = F.affine_grid(theta, list(flat.shape), align_corners=False)
    flat = F.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    middles = squares[..., :2] + shift * squares[..., 2:] / x.shape[-1]
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
        sigma = (torch.rand(len(rows), generator=draws) * MOST_BLUR * x.shape[-1]).repeat_interleave(2)
        soft = gaussian_blur(x[rows].flatten(0, 1), sigma, radius=4).unflatten(0, (-1, 2))
        noise = torch.randn(soft.shape, generator=draws) * torch.rand(len(rows), 1, 1, 1, 1, generator=draws)
        x[rows] = soft + MOST_NOISE * noise
    return x.clamp(-1, 1)


def train_face_judge(
    people: Seen, folder: Path, device="cpu", config: FitConfig = CONFIG, purpose: Purpose = PURPOSES["judge"]
) -> FaceJudge:
    """The network, trained in `folder` on these people, or gone on with there, in bfloat16; draws are of the CPU."""
    patches, truth = torch.from_numpy(people.patches), torch.from_numpy(people.gaze).float()
    points, squares = places(people.points, people.squares)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        judge = FaceArchitecture().build().to(memory_format=torch.channels_last)
    known = known_of(points, squares).flatten(0, 1)
    judge.mean.copy_(known.mean(dim=0))
    judge.deviation.copy_(known.std(dim=0) + 0.05)  # what hardly differs is not enlarged
    judge.to(device)

    def loss(rows: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        x, cut = beside(signed(patches[rows]), squares[rows], draws)
        trembling = points[rows] + purpose.tremble_px / UNIT_PX * torch.randn(points[rows].shape, generator=draws)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            said = judge(spoilt(x, draws).to(device), trembling.to(device), cut.to(device))
        return F.smooth_l1_loss(said / SCALE_DEG, truth[rows].to(device) / SCALE_DEG, beta=TURNS)

    fit(judge, loss, len(patches), config, folder)
    return judge.eval().requires_grad_(False)


def errors(judge: FaceJudge, people: Seen) -> dict[str, float]:
    """The judge's own error on people, degrees."""
    read = gaze_of(judge, torch.from_numpy(people.patches), people.points, people.squares)
    yaw, pitch = np.abs(read - people.gaze).mean(axis=0)
    found = {"gaze_error_deg": off(read, people.gaze).mean(), "yaw_error_deg": yaw, "pitch_error_deg": pitch}
    return {"people": len(people)} | {name: round(float(value), 4) for name, value in found.items()}


def facts_of(config: FitConfig, purpose: Purpose, people: int, git_commit: str | None, measured: dict) -> dict:
    """For the header of the file."""
    its = {"world": "people", "people": people, "own_points": OWN_POINTS, "git_commit": git_commit}
    return {**asdict(config), **asdict(purpose), **its, "unseen": {"split": UNSEEN_SPLIT, **measured}}
