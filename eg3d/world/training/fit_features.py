"""Training of the embedded feature network (`metrics.world_features`): to say from a picture what made it.

Targets are every number of the rendered head (shape, colours, light), its camera and gaze, its hair style, and how much
the picture was blurred and how noisy it was made. So the features notice people, poses and picture quality. Its people
(split "features") appear nowhere else.
"""

import dataclasses
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from eg3d.metrics.network_file import VERSION, load_network, save_network
from eg3d.metrics.world_features import FEATURES_FILE, KIND, Architecture, FeatureNetwork
from eg3d.world.cartoon.heads import HAIR_STYLES, WORLD_VERSION, Identity
from eg3d.world.rendered_sets import samples
from eg3d.world.training.fitting import FitConfig, fit
from groundwork.files import CACHE, atomic_file, is_own, private
from l2cs.augmented_crops import gaussian_blur

SPLIT = "features"
CONFIG = FitConfig(name="features", epochs=8)
IMAGES, HELD_OUT = 8000, 500  # the last ones are only measured on
MOST_BLUR_PX, MOST_NOISE = 2.0, 0.2  # standard deviations; noise in units of [-1, 1]
QUALITY_SCALE = 4.0  # makes blur and noise, of 0 .. 1, spread about as much as the standardised numbers
NOT_NUMBERS = ("name", "hair_style")

Heads = dict[str, torch.Tensor]  # images uint8 [N, 3, 64, 64], numbers [N, K], styles [N]


def numbers_of(identity: Identity, label: np.ndarray, gaze_head: np.ndarray) -> np.ndarray:
    """What made a picture, as one vector: numbers of the head, place of the camera, direction of the eyes."""
    head = [np.atleast_1d(getattr(identity, f.name)) for f in dataclasses.fields(identity) if f.name not in NOT_NUMBERS]
    return np.concatenate([*head, label[[3, 7, 11]], gaze_head]).astype(np.float32)


def rendered_heads(count: int = IMAGES + HELD_OUT, seed: int = CONFIG.seed) -> Heads:
    """Face pictures and what made them; rendered once into the cache."""
    path = private(CACHE) / f"features-v{WORLD_VERSION}-seed{seed}-{count}.npz"
    if not is_own(path):
        images, numbers, styles = [], [], []
        for sample in samples("faces", SPLIT, count, seed, progress=True):
            identity = Identity.draw(SPLIT, sample.identity)
            images.append(sample.rendered.rgb.transpose(2, 0, 1))
            numbers.append(numbers_of(identity, sample.label, sample.gaze_head))
            styles.append(HAIR_STYLES.index(identity.hair_style))
        with atomic_file(path) as file:
            np.savez(file, images=np.stack(images), numbers=np.stack(numbers), styles=np.array(styles))
    with np.load(path, allow_pickle=False) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def spoil(x: torch.Tensor, blur_px: torch.Tensor, noise: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
    """x [N, 3, H, W] in [-1, 1], each blurred and made noisy by its own amount [N]; rounded to bytes again."""
    x = gaussian_blur(x, blur_px, radius=round(3 * MOST_BLUR_PX))
    x = x + noise[:, None, None, None] * torch.randn(x.shape, generator=draws)
    return ((x * 128 + 128).round().clamp(0, 255) - 128) / 128


class Questions(nn.Module):
    """The network, and what is asked of its features while it is trained: K + 2 numbers and a hair style."""

    def __init__(self, numbers: int):
        super().__init__()
        self.network = FeatureNetwork(Architecture()).to(memory_format=torch.channels_last)  # a third faster on CPUs
        width = self.network.architecture.widths[-1]
        self.numbers, self.style = nn.Linear(width, numbers + 2), nn.Linear(width, len(HAIR_STYLES))

    def loss(self, heads: Heads, chosen: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        """Squared error of the numbers, and cross-entropy of the style; half of the pictures are spoilt."""
        n = len(chosen)
        spoilt = (torch.rand(n, generator=draws) < 0.5).float()
        quality = spoilt[:, None] * torch.rand(n, 2, generator=draws)
        blur, noise = quality[:, 0] * MOST_BLUR_PX, quality[:, 1] * MOST_NOISE
        images = spoil((heads["images"][chosen].float() - 128) / 128, blur, noise, draws)
        features = self.network.features(images)
        wanted = torch.cat([heads["numbers"][chosen], QUALITY_SCALE * quality], dim=1)
        styles = F.cross_entropy(self.style(features), heads["styles"][chosen])
        return F.mse_loss(self.numbers(features), wanted) + 0.2 * styles

    @torch.no_grad()
    def measure(self, heads: Heads) -> dict[str, float]:
        """On heads never seen: share of the numbers' variance explained, and of hair styles named rightly."""
        features = torch.cat([self.network(part) for part in heads["images"].split(100)])
        error = (self.numbers(features)[:, :-2] - heads["numbers"]).square().mean(0)
        right = self.style(features).argmax(1) == heads["styles"]
        return {
            "explained_variance": (1 - error / heads["numbers"].var(0)).mean().item(),
            "hair_style_accuracy": right.float().mean().item(),
        }


def make_features(workdir: Path, output: Path = FEATURES_FILE, config: FitConfig = CONFIG, heads: Heads | None = None):
    """Trains the feature network in `workdir`/features, or goes on there, and writes its weights; returns its facts."""
    heads = rendered_heads() if heads is None else heads
    count = len(heads["images"]) * IMAGES // (IMAGES + HELD_OUT)
    known = heads["numbers"][:count]
    heads = heads | {"numbers": (heads["numbers"] - known.mean(0)) / known.std(0).clamp(min=1e-6)}
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        questions = Questions(known.shape[1])
    fit(questions, lambda chosen, draws: questions.loss(heads, chosen, draws), count, config, workdir / "features")
    facts = {**dataclasses.asdict(config), "world": WORLD_VERSION, "split": SPLIT, "images": count}
    facts |= questions.measure({name: value[count:] for name, value in heads.items()})
    save_network(output, KIND, questions.network, facts)
    return facts


def measured_features() -> dict:
    """What the shipped network reaches on held-out heads, for the model card."""
    stored = load_network(FEATURES_FILE, KIND)
    kept = ("explained_variance", "hair_style_accuracy", "images", "epochs")
    return {"sha256": stored.sha256, "version": VERSION} | {name: stored.facts[name] for name in kept}
