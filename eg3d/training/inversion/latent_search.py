"""The latent whose picture is most like a photo: StyleGAN2's projector (Karras et al. 2020, appendix D), for heads.

The schedules are the paper's, as parts of the run, whose length is free: the learning rate rises over the first 5 % and
falls over the last 25 %; noise in w of 0.05 sigma t^2, with t from 1 to 0, ends after 75 %. The noise maps of the
generator stay as they are, for all scripts draw with those; so the paper's term for them has nothing to do.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from eg3d.pictures.views import conditioning_label
from eg3d.training.inversion.photos_to_invert import Photos, draw, moved
from eg3d.training.inversion.picture_distance import PictureDistance
from groundwork.draws import KeyedDraws
from groundwork.plain import check_above_zero, check_one_of, check_types, check_within

TARGETS = ("w", "w+")
DRAWN = 10_000  # latents that tell the mean and the spread of w, as in the paper
AT_ONCE = 8  # starts drawn together
GAZE_RATE, CAMERA_RATE = 0.1, 0.02  # of the learning rate of w; rad, world units


def ramp(at: float, rising: float, falling: float) -> float:
    """Which part of the learning rate is used at a place in the run, 0 <= at < 1.

    rising, falling: parts of the run, at its begin and its end.
    """
    return min(1.0, at / rising) * (0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - at) / falling)))


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How the latent is sought. target: `w`, one row for all layers, or `w+`, a row for each."""

    target: str = "w"
    steps: int = 400
    learning_rate: float = 0.1
    rising: float = 0.05  # part of the run
    falling: float = 0.25
    noise: float = 0.05  # in units of sigma
    noisy: float = 0.75
    eye_prior: float = 0.05  # weight of the squared distance from the mean w, in units of sigma; with a gaze only
    camera: bool = False  # whether the camera may move too
    gaze: bool = True  # and the gaze, of a generator whose gaze can be set

    def __post_init__(self):
        check_types(self)
        check_one_of("target", self.target, TARGETS)
        check_within("steps", self.steps, 1)
        check_above_zero("learning_rate", self.learning_rate)

    def rate(self, at: float) -> float:
        """The learning rate at a place in the run, 0 <= at < 1."""
        return self.learning_rate * ramp(at, self.rising, self.falling)

    def noise_at(self, at: float) -> float:
        return self.noise * max(0.0, 1 - at / self.noisy) ** 2


@dataclass(frozen=True)
class Found:
    """ws [N, num_ws, w_dim], and cameras and gaze, which may have moved, of the same photos."""

    ws: torch.Tensor
    photos: Photos


@dataclass(frozen=True)
class Spread:
    """w of a generator seen from the front: mean [w_dim], sigma, the root of the mean squared distance from it, and
    some of them [n, w_dim] to begin with."""

    mean: torch.Tensor
    sigma: float
    some: torch.Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, G, seed: int = 0, some: int = 16) -> "Spread":
        device = next(G.parameters()).device
        z = KeyedDraws.at(seed, "spread of w", [0], 0).normal((1, DRAWN, G.z_dim))[0].to(device)
        w = torch.cat([G.mapping(part, conditioning_label(G).to(z).expand(len(part), -1))[:, 0]
                       for part in z.split(1000)])  # fmt: skip
        mean = w.mean(dim=0)
        return cls(mean, (w - mean).square().sum(dim=1).mean().sqrt().item(), w[:some])


def find_latents(
    G, photos: Photos, distance: PictureDistance, config: SearchConfig, spread: Spread,
    step_done: Callable[[], None] = lambda: None,
) -> Found:  # fmt: skip
    """Searches for all photos at once; what is found for one does not depend on the others, but for rounding.

    G: in evaluation mode, its weights without gradients. If its gaze can be set, that of the photos moves too,
    unless `config` forbids it.
    """
    rows = G.num_ws if config.target == "w+" else 1
    w = _starts(G, photos, distance, spread)[:, None].repeat(1, rows, 1).requires_grad_()
    groups = [{"params": [w], "part": 1.0}]
    gaze, motion = photos.gaze, photos.labels.new_zeros(len(photos.labels), 6)
    if gaze is not None and config.gaze:
        gaze = gaze.clone().requires_grad_()
        groups.append({"params": [gaze], "part": GAZE_RATE})
    if config.camera:
        motion.requires_grad_()
        groups.append({"params": [motion], "part": CAMERA_RATE})
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.999))
    draws = KeyedDraws(photos.keys)
    for step in range(config.steps):
        at = step / config.steps
        for group in optimizer.param_groups:
            group["lr"] = config.rate(at) * group["part"]
        noise = draws.normal(w.shape, w.device) * (spread.sigma * config.noise_at(at))
        ws, labels = (w + noise).expand(-1, G.num_ws, -1), moved(photos.labels, motion)
        loss = distance(draw(G, ws, labels, gaze), photos.images).sum() / photos.views
        if gaze is not None:  # far from the mean, eyes obey less
            away = (w - spread.mean).square().sum(dim=2).mean(dim=1) / spread.sigma**2
            loss = loss + config.eye_prior * away.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step_done()
    found = Photos(
        photos.images, moved(photos.labels, motion.detach()), photos.keys, None if gaze is None else gaze.detach()
    )
    return Found(w.detach().expand(-1, G.num_ws, -1).clone(), found)


@torch.no_grad()
def _starts(G, photos: Photos, distance: PictureDistance, spread: Spread) -> torch.Tensor:
    """For each photo the w, of the mean and some drawn ones, whose picture is most like it: [N, w_dim]."""
    candidates = torch.cat([spread.mean[None], spread.some])
    best = []
    for row in range(len(photos)):
        one, found = photos.one(row), []
        for part in candidates.split(AT_ONCE):
            n = len(part)
            gaze = None if one.gaze is None else one.gaze.expand(n, -1)
            images = draw(G, part[:, None].expand(-1, G.num_ws, -1), one.labels.repeat(n, 1), gaze)
            found.append(distance(images, one.images.repeat(n, 1, 1, 1)).unflatten(0, (n, -1)).mean(dim=1))
        best.append(candidates[torch.cat(found).argmin()])
    return torch.stack(best)
