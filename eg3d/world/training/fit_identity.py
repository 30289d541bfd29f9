"""The embedded identity network: a small IResNet, trained with ArcFace's margin on people that no generator saw."""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from eg3d.metrics.align import align
from eg3d.metrics.iresnet import Architecture, IResNet
from eg3d.world.training.fitting import FitConfig, fit
from eg3d.world.views_of_persons import People
from l2cs.augmented_crops import Augmentation, augment

ARCHITECTURE = Architecture((1, 1, 1, 1), (16, 32, 64, 128), input_size=56, embedding=128, stem_stride=2)
CONFIG = FitConfig(name="identity", epochs=7)
MARGIN, SCALE = 0.3, 24.0  # of the angle in rad, and of the logits
POINT_JITTER = 0.012  # of the side: what a landmark predictor, or mean points, miss by
# A generator's pictures are softer than renders. Colours change little: they belong to a person here.
AUGMENTATION = Augmentation(mirror=False, shift_px=0, zoom=0, noise=0.04, brightness=0.05, contrast=0.1, tint=0.03)


class MarginClassifier(nn.Module):
    """Embeddings [N, D] and persons [N] -> loss of ArcFace, eq. 3: softmax over s cos(angle + m [own class])."""

    def __init__(self, classes: int, embedding: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, embedding))

    def forward(self, embeddings: torch.Tensor, person: torch.Tensor) -> torch.Tensor:
        cosine = F.normalize(embeddings) @ F.normalize(self.weight).T
        own = cosine.gather(1, person[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
        # Beyond pi - m the cosine would rise again; there the margin is taken off the cosine, as insightface does.
        moved = torch.where(
            own > math.cos(math.pi - MARGIN), (own.acos() + MARGIN).cos(), own - MARGIN * math.sin(MARGIN)
        )
        return F.cross_entropy(SCALE * cosine.scatter(1, person[:, None], moved), person)


def train(people: People, folder: Path, architecture: Architecture = ARCHITECTURE) -> IResNet:
    """The network, trained (or continued) in `folder`."""
    images = torch.from_numpy(people.images).permute(0, 3, 1, 2)
    points, person = torch.from_numpy(people.points), torch.from_numpy(people.person)
    with torch.random.fork_rng():
        torch.manual_seed(CONFIG.seed)
        network = IResNet(architecture)
        classifier = MarginClassifier(int(person.max()) + 1, architecture.embedding)
    side = images.shape[-1]

    def loss_of(chosen: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        batch = images[chosen].float() / 127.5 - 1
        batch, _ = augment(batch, torch.zeros(len(batch), 2), AUGMENTATION, draws)
        jitter = POINT_JITTER * torch.randn(points[chosen].shape, generator=draws)
        crops = align(batch, side * (points[chosen] + jitter), architecture.input_size)
        mirrored = torch.rand(len(crops), generator=draws) < 0.5
        crops = torch.where(mirrored[:, None, None, None], crops.flip(3), crops)
        return classifier(network(crops.to(memory_format=torch.channels_last)), person[chosen])

    fit(
        nn.ModuleList([network, classifier]).to(memory_format=torch.channels_last), loss_of, len(images), CONFIG, folder
    )
    return network


@torch.no_grad()
def verification(network: IResNet, people: People) -> dict[str, float]:
    """How well similarities tell pairs of one person from pairs of two, over all pairs of pictures."""
    images = torch.from_numpy(people.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    points = torch.from_numpy(people.points) * images.shape[-1]
    size = network.architecture.input_size
    parts = [network(align(i, p, size)) for i, p in zip(images.split(256), points.split(256), strict=True)]
    embeddings = F.normalize(torch.cat(parts)).numpy()
    upper = np.triu_indices(len(images), k=1)
    similarity = (embeddings @ embeddings.T)[upper]
    same = (people.person[:, None] == people.person)[upper]
    return {
        "verification_auc": area_under_curve(similarity[same], similarity[~same]),
        "similarity_same_person": float(similarity[same].mean()),
        "similarity_other_person": float(similarity[~same].mean()),
        "pairs_same_person": int(same.sum()),
        "pairs_other_person": int((~same).sum()),
    }


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a positive exceeds a negative; ties count half (Mann-Whitney)."""
    negative = np.sort(negative)
    below, up_to = np.searchsorted(negative, positive, "left"), np.searchsorted(negative, positive, "right")
    return float((below + up_to).mean() / 2 / len(negative))
