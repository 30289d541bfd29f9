"""Training of the judge of eye patches (`patch_judge`), and its own error on people it never saw."""

from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from eg3d.checkpoints.stored import digest
from eg3d.world.training.fit_identity import MarginClassifier
from eg3d.world.training.fitting import FitConfig, fit
from l2cs.augmented_crops import Augmentation, augment, gaussian_blur
from redirection.gaze_errors import binned, bins_of, gaze_error
from redirection.patch_judge import SCALE_DEG, JudgeArchitecture, PatchJudge, read
from redirection.patch_sets import PatchSet, signed

ARCHITECTURE = JudgeArchitecture()
CONFIG = FitConfig(name="patch-judge", epochs=12)
# Redirected patches are softer, and paler or darker, than true ones. A mirrored one would be another eye.
AUGMENTATION = Augmentation(
    mirror=False, shift_px=1.0, zoom=0.03, blur_sigma_px=0, noise=0, brightness=0.1, contrast=0.15, tint=0.05
)
SPOILT = 0.6  # of the patches are blurred and noisy
MOST_BLUR, MOST_NOISE = 1.5 / 64, 0.15  # sigma as a share of the side; standard deviation, of [-1, 1]
TURNS = 0.2  # of SCALE_DEG, where the loss of an angle turns from squared to linear
IDENTITY_WEIGHT, QUALITY_WEIGHT = 0.05, 1.0
YAW_EDGES, GAZE_EDGES = (0, 7.5, 22.5, 90), (0, 5, 10, 15, 20, 30)


class Questions(nn.Module):
    """The judge and what its training asks beside angles: who of the people in training it is, how blurred, how noisy.

    So its features notice what a Frechet distance is to notice.
    """

    def __init__(self, architecture: JudgeArchitecture, people: int):
        super().__init__()
        self.judge = PatchJudge(architecture).to(memory_format=torch.channels_last)
        self.classifier = MarginClassifier(people, architecture.identity)

    def loss(self, patches: PatchSet, person: torch.Tensor, chosen: torch.Tensor, draws: torch.Generator):
        """Of the rows `chosen` [B]. All draws come from a generator of the CPU, so every device sees the same."""
        n, device = len(chosen), self.classifier.weight.device
        images, _ = augment(signed(patches.images[chosen]).to(device), torch.zeros(n, 2), AUGMENTATION, draws)
        spoilt = (torch.rand(n, generator=draws) < SPOILT).float()
        quality = (spoilt[:, None] * torch.rand(n, 2, generator=draws)).to(device)
        images = gaussian_blur(images, quality[:, 0] * MOST_BLUR * images.shape[-1], radius=4)
        noise = torch.randn(images.shape, generator=draws).to(device)
        images = images + MOST_NOISE * quality[:, 1, None, None, None] * noise
        reading = self.judge(images.contiguous(memory_format=torch.channels_last))
        angles = patches.angles[chosen].to(device)
        off = F.smooth_l1_loss(reading.angles / SCALE_DEG, angles / SCALE_DEG, beta=TURNS)
        who = self.classifier(reading.identity, person[chosen].to(device))
        return off + IDENTITY_WEIGHT * who + QUALITY_WEIGHT * F.mse_loss(reading.quality, quality)


def train_judge(
    patches: PatchSet, folder: Path, device="cpu", config: FitConfig = CONFIG, architecture=ARCHITECTURE
) -> PatchJudge:
    """The judge, trained in `folder` on a set of patches, or gone on with there."""
    _, person = patches.person.unique(return_inverse=True)
    if person.max() < 1:
        raise ValueError("one person alone is in the patches for training; give a set of several people")
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        questions = Questions(architecture, int(person.max()) + 1).to(device)
    seen = digest({"images": patches.images, "angles": patches.angles, "person": patches.person})

    def loss(rows, draws):
        return questions.loss(patches, person, rows, draws)

    fit(questions, loss, len(patches), config, folder, seen)
    return questions.judge.eval().requires_grad_(False)


def errors(judge: PatchJudge, patches: PatchSet) -> dict:
    """The judge's own error on a set: degrees, per bin of head yaw and of gaze; how well it tells people apart."""
    reading = read(judge, patches.images, next(judge.parameters()).device)
    off = gaze_error(reading.angles, patches.angles)
    each = (reading.angles - patches.angles).abs()
    away = gaze_error(torch.zeros_like(patches.angles), patches.angles)
    return {
        "patches": len(patches),
        "gaze_error_deg": off.mean().item(),
        **{f"{name}_error_deg": each[:, k].mean().item() for k, name in enumerate("PVH")},
        "by_head_yaw": binned(off, bins_of(patches.angles[:, 0].abs(), YAW_EDGES)),
        "by_gaze": binned(off, bins_of(away, GAZE_EDGES)),
        **same_person(reading.identity, patches),
    }


def same_person(identity: torch.Tensor, patches: PatchSet) -> dict:
    """Over pairs of patches: area under the curve, and the 5 % quantile of pairs of one person and eye."""
    rows = torch.arange(0, len(patches), max(1, len(patches) // 1500))
    whose = patches.person[rows] * 2 + patches.eye[rows]
    upper = torch.ones(len(rows), len(rows)).triu(1).bool()
    similarity = identity[rows] @ identity[rows].T
    same = similarity[(whose[:, None] == whose) & upper]
    other = similarity[(patches.person[rows, None] != patches.person[rows]) & upper].sort().values
    if not len(same) or not len(other):
        return {}
    return {
        "verification_auc": (torch.searchsorted(other, same) / len(other)).mean().item(),
        "same_person_5_percent": same.quantile(0.05).item(),
    }


def facts_of(config: FitConfig, patches: PatchSet, measured: dict) -> dict:
    """For the header of the judge's file."""
    return {**asdict(config), "patches": len(patches), "people": len(patches.person.unique()), "unseen": measured}
