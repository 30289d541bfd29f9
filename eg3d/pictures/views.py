"""Pictures of a generator from chosen cameras, in batches: what samples, scores and films iterate over.

A camera here is EG3D's (yaw, pitch) pair of parameters (see `cameras.lookat_pose`); pivot and radius come from the
generator. Everything is deterministic: z comes from the seed, rays take the middle of their strata, noise is constant.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from eg3d.geometry.cameras import FFHQ_FOV_DEG, Orbit, fov_to_intrinsics, lookat_pose, make_label
from eg3d.models.protocol import Generator
from groundwork.draw_keys import draw_key
from groundwork.draws import KeyedDraws, Midpoints

# The published three views of samples and of GFAS: from one side, the front and the other side, a little from above.
GFAS_CAMERAS = ((0.4, -0.2), (0.0, -0.2), (-0.4, -0.2))


@dataclass(frozen=True)
class ViewOptions:
    """How heads are drawn from any camera. The defaults are those of the published scripts."""

    psi: float = 0.7  # of the truncation, which pulls ws toward their mean; 1 turns it off
    cutoff: int | None = 14  # how many rows of ws it pulls; a small model with fewer rows, or None: all
    fov_deg: float = FFHQ_FOV_DEG  # of the camera that conditions the mapping network too

    def facts(self) -> dict:
        """For reports, by the names of the flags."""
        return {"trunc": self.psi, "trunc_cutoff": self.cutoff, "fov_deg": self.fov_deg}


PUBLISHED = ViewOptions()


@dataclass(frozen=True)
class Views:
    """k pictures of each of n seeds, seed by seed: row i shows seed `seeds[i]` from camera `camera[i]`."""

    images: torch.Tensor  # [n*k, 3, H, W] in [-1, 1]
    labels: torch.Tensor  # [n*k, 25]
    seeds: list[int]  # n*k
    camera: list[int]  # n*k, index into the cameras asked for

    def __len__(self) -> int:
        return len(self.seeds)

    def cameras(self, first: int, stop: int) -> "Views":
        """Only the pictures of cameras first .. stop - 1 of every seed, which count from 0 again."""
        rows = [i for i, camera in enumerate(self.camera) if first <= camera < stop]
        return Views(
            self.images[rows], self.labels[rows],
            [self.seeds[i] for i in rows], [self.camera[i] - first for i in rows],
        )  # fmt: skip

    def by_seed(self) -> Iterator[tuple[int, torch.Tensor]]:
        """(seed, images [k, 3, H, W]) of each seed in turn."""
        k = max(self.camera) + 1
        for i in range(0, len(self), k):
            yield self.seeds[i], self.images[i : i + k]


def camera_labels(yaws, pitches, orbit: Orbit, fov_deg: float = FFHQ_FOV_DEG) -> torch.Tensor:
    """Labels [k, 25] of look-at cameras; yaws and pitches are parameters in radians, numbers or sequences."""
    return make_label(lookat_pose(yaws, pitches, orbit.pivot, orbit.radius), fov_to_intrinsics(fov_deg))


def conditioning_label(G: Generator, fov_deg: float = FFHQ_FOV_DEG) -> torch.Tensor:
    """Label [1, 25] of the frontal camera, which conditions the mapping network whatever camera renders."""
    return camera_labels(0.0, 0.0, G.orbit, fov_deg)


def latent_of_seed(seed: int, z_dim: int) -> torch.Tensor:
    """z [1, z_dim] of a seed, as every published script draws it."""
    return torch.from_numpy(np.random.RandomState(seed).randn(1, z_dim).astype(np.float32))


@torch.no_grad()
def ws_of_seeds(G: Generator, seeds: Sequence[int], view: ViewOptions = PUBLISHED) -> torch.Tensor:
    """ws [n, num_ws, w_dim] under the frontal conditioning camera, truncated as `view` says."""
    device = next(G.parameters()).device
    z = torch.cat([latent_of_seed(seed, G.z_dim) for seed in seeds]).to(device)
    c = conditioning_label(G, view.fov_deg).to(device).expand(len(z), -1)
    return G.mapping(z, c, truncation_psi=view.psi, truncation_cutoff=view.cutoff)


def check_finite(images: torch.Tensor, names: Sequence[str]) -> None:
    """ValueError, by name, for the first of the pictures [N, ...] that holds NaN or infinity: bytes would hide it."""
    bad = ~images.isfinite().flatten(1).all(dim=1)
    if bad.any():
        name = names[int(bad.nonzero()[0])]
        raise ValueError(f"{name}: the generator draws values that are not finite; give an earlier checkpoint")


@torch.no_grad()
def render_ws(
    G: Generator, ws: torch.Tensor, labels: torch.Tensor, gaze: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Every latent of ws [n, ...] from every camera of labels [k, 25]: pictures [n*k, ...], latent by latent.

    gaze: [k, 2], rad in the head frame, beside each camera; of an eye field (models/eye_field.py) only.

    The planes of a latent are computed once for all its cameras.
    """
    c = labels.to(ws.device).repeat(len(ws), 1)
    extras = {} if gaze is None else {"gaze": gaze.to(ws).repeat(len(ws), 1)}
    return G.synthesis(ws, c, draws=Midpoints(), noise_mode="const", **extras)


@torch.no_grad()
def render_batch(
    G: Generator,
    seeds: Sequence[int],
    cameras: Sequence[tuple[float, float]] | torch.Tensor = GFAS_CAMERAS,
    view: ViewOptions = PUBLISHED,
) -> Views:
    """The pictures of a few `seeds` from all `cameras`, at once.

    Args:
        cameras: (yaw, pitch) parameters in radians, or labels [n, k, 25]: every seed's own cameras, which have their
            own field of view.
    """
    if not isinstance(cameras, torch.Tensor):
        yaws, pitches = zip(*cameras, strict=True)
        cameras = camera_labels(yaws, pitches, G.orbit, view.fov_deg).expand(len(seeds), -1, -1)
    ws, k = ws_of_seeds(G, seeds, view), cameras.shape[1]
    labels = cameras.flatten(0, 1).to(ws.device)
    out = G.synthesis(ws, labels, draws=Midpoints(), noise_mode="const")
    check_finite(out["image"], [f"seed {seed}" for seed in seeds for _ in range(k)])
    return Views(
        images=out["image"],
        labels=labels,
        seeds=[seed for seed in seeds for _ in range(k)],
        camera=list(range(k)) * len(seeds),
    )


def render_views(
    G: Generator,
    seeds: Sequence[int],
    cameras: Sequence[tuple[float, float]] = GFAS_CAMERAS,
    view: ViewOptions = PUBLISHED,
    batch_size: int = 8,
    progress: str | None = None,
) -> Iterator[Views]:
    """Yields the pictures of `seeds` from all `cameras`, `batch_size` seeds at a time.

    Args:
        progress: name of a progress bar on stderr; None shows none.
    The result does not depend on batch_size beyond float rounding.
    """
    with tqdm(total=len(seeds), desc=progress, unit="seed", disable=progress is None) as bar:
        for start in range(0, len(seeds), batch_size):
            chunk = seeds[start : start + batch_size]
            yield render_batch(G, chunk, cameras, view)
            bar.update(len(chunk))


def random_labels(
    G: Generator,
    seeds: Sequence[int],
    k: int,
    key: str,
    seed: int = 0,
    fov_deg: float = FFHQ_FOV_DEG,
    spread: float = 0.4,
) -> torch.Tensor:
    """k cameras for every seed, yaw and pitch parameters uniform in +-spread: labels [n, k, 25].

    A seed's cameras depend on (`seed`, `key`, its number) alone, not on which other seeds are asked for.
    """
    draws = [np.random.default_rng(draw_key(seed, key, number, 0)).uniform(-spread, spread, (k, 2)) for number in seeds]
    yaws, pitches = torch.from_numpy(np.concatenate(draws)).unbind(1)
    return camera_labels(yaws, pitches, G.orbit, fov_deg).unflatten(0, (len(seeds), k))


def drawn_labels(pool: torch.Tensor, seeds: Sequence[int], k: int, key: str, seed: int = 0) -> torch.Tensor:
    """k cameras for every seed, drawn with replacement from labels [N, 25]: [n, k, 25]; keyed as `random_labels`."""
    rows = [np.random.default_rng(draw_key(seed, key, number, 0)).integers(len(pool), size=k) for number in seeds]
    return pool[torch.from_numpy(np.stack(rows))]


@torch.no_grad()
def render_samples(
    G: Generator, labels: torch.Tensor, items: Sequence[int], seed: int, truncation_psi: float = 1.0, gaze=None
) -> torch.Tensor:
    """Pictures uint8 [n, 3, H, W] for scores: numbers `items` of the endless series that `seed` means.

    Latent and camera, a random row of labels [N, 25], depend on (seed, number) alone, and so do noise and the jitter of
    the rays, which are random here as in the published metrics. The camera conditions too.
    gaze: [n, 2] of the pictures, see `render_ws`.
    """
    device, draws = next(G.parameters()).device, KeyedDraws.at(seed, "samples", items, 0)
    z = draws.normal((len(items), G.z_dim)).to(device)
    c = labels[(draws.uniform((len(items),)) * len(labels)).long().clamp(max=len(labels) - 1)].to(device)
    ws = G.mapping(z, c, truncation_psi=truncation_psi)
    extras = {} if gaze is None else {"gaze": gaze.to(ws)}
    images = G.synthesis(ws, c, draws=draws, noise_mode="random", **extras)["image"]
    check_finite(images, [f"sample {number}" for number in items])
    return (images.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)
