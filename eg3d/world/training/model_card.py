"""What the embedded weights can do: every number of `assets/embedded/MODEL_CARD.md`, measured by one function each.

Only eyes, depth and pictures are looked at, through the same functions that score any generator.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from eg3d.gaze.term import gaze_target
from eg3d.metrics import solidity
from eg3d.metrics.gfas import gaze_face_alignments, slope_with_error
from eg3d.pictures.views import ViewOptions, camera_labels, render_views, render_ws, ws_of_seeds
from eg3d.world.rendered_sets import camera_label, gaze_samples
from eg3d.world.training import stages
from eg3d.world.training.fit_features import measured_features
from eg3d.world.worlds import NAMES, world_of
from l2cs.estimator import GazeAngles, angular_error

SIDE_YAW = 0.3  # rad, of the views that a frontal depth must predict
BACKGROUND_DEPTH = 3.15  # where the embedded volume ends
GENERATOR_BLUR_PX = 0.8  # of 64: sigma that makes renders as soft as the small generators' pictures


def to_images(rgb) -> torch.Tensor:
    """uint8 [N, H, W, 3] -> [N, 3, H, W] in [-1, 1]."""
    return torch.as_tensor(np.asarray(rgb)).permute(0, 3, 1, 2).float() / 127.5 - 1


def gaussian_blur(images: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """Separable Gaussian over images [N, 3, H, W], edges repeated."""
    radius = int(3 * sigma_px + 1)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma_px) ** 2)
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    padded = F.pad(images, (radius,) * 4, mode="replicate")
    return F.conv2d(padded, kernel.expand(images.shape[1], 1, -1, -1), groups=images.shape[1])


def measure(gaze: dict, generators: dict, world: str = "cartoons") -> dict:
    """Every number of the model card, of those gaze networks and generators of a world that there are, by name."""
    numbers = {
        "gaze_networks": {
            name: {"sha256": network.sha256}
            | gaze_network_error(network, world=world)
            | reads_eyes(network, world=world)
            for name, network in gaze.items()
        },
        **stages.quality(world),
        **({"feature_network": measured_features()} if world == "cartoons" else {}),
        "rendered_heads": vars(rendered_solidity(world=world)),
    }
    for name, G in generators.items():
        numbers[name] = scores(G, gaze) | {"solidity": vars(generator_solidity(G, world=world))}
    return numbers


# ------------------------------------------------------------------ gaze networks


@torch.no_grad()
def gaze_network_error(estimator, count: int = 1000, world: str = "cartoons") -> dict[str, float]:
    """Errors in degrees on unseen identities, uniform head pose and gaze."""
    images, truth = _unseen_heads(count, world)
    estimate = _estimate(estimator, images)
    return {
        "mean_angular_error_deg": angular_error(estimate, truth).rad2deg().mean().item(),
        "yaw_error_deg": (estimate.yaw - truth.yaw).abs().rad2deg().mean().item(),
        "pitch_error_deg": (estimate.pitch - truth.pitch).abs().rad2deg().mean().item(),
    }


@torch.no_grad()
def reads_eyes(
    estimator, heads: int = 64, yaws=(-0.4, -0.2, 0.0, 0.2, 0.4), world: str = "cartoons"
) -> dict[str, float]:
    """Slope of estimated yaw against yaw* on blurred renders: eyes on the camera, along the face, painted over.

    A network that reads eyes gives 0 and 1 for the first two; what it gives for painted eyes is read off the head.
    """
    pictures, target = _turned_heads(heads, yaws, world)
    groups = np.repeat(np.arange(heads), len(yaws))
    slopes = {name: slope_with_error(target, _estimate(estimator, images).yaw.numpy(), groups)[0]
              for name, images in pictures.items()}  # fmt: skip
    return {f"{name}_eyes_slope": float(slope) for name, slope in slopes.items()}


@lru_cache(1)  # all networks of a world are measured on the same pictures
def _unseen_heads(count: int, world: str) -> tuple[torch.Tensor, GazeAngles]:
    """Pictures [count, 3, S, S] and what they look at."""
    rgb, truth, _ = gaze_samples("test", count, world=world)
    return to_images(rgb), GazeAngles(*torch.as_tensor(truth).float().T)


@lru_cache(1)
def _turned_heads(heads: int, yaws: tuple[float, ...], world: str) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Blurred pictures of each head from each side, by how the eyes look, and the yaw* [heads * len(yaws)] of them."""
    its, pictures = world_of(world), {}
    labels = [camera_label(yaw, 0.0) for yaw in yaws]
    for name in ("camera", "face", "painted"):
        shots = []
        for person in (its.draw("test", i) for i in range(heads)):
            for label in labels:
                gaze = label[[3, 7, 11]] - its.eye_centres(person).mean(axis=0) if name == "camera" else (0.0, 0.0, 1.0)
                eyes = "painted" if name == "painted" else "open"
                shots.append(its.render(person, label, np.array(gaze), its.size, eyes).rgb)
        pictures[name] = gaussian_blur(to_images(shots), GENERATOR_BLUR_PX * its.size / 64)
    target = gaze_target(torch.as_tensor(np.array(labels)).float()).yaw.numpy()
    return pictures, np.tile(target, heads)


def _estimate(estimator, images: torch.Tensor) -> GazeAngles:
    parts = [estimator(chunk) for chunk in images.split(128)]
    return GazeAngles(*(torch.cat(angles) for angles in zip(*parts, strict=True)))


# ------------------------------------------------------------------ generators


def scores(G, estimators: dict, seeds=range(256)) -> dict[str, dict]:
    """GFAS of a generator by every gaze network {name: estimator}, without the long per-seed lists."""
    reports = gaze_face_alignments(render_views(G, list(seeds)), estimators)
    kept = ("gfas_mse_sum", "gfas_mse_sum_se", "gfas_eq1", "gfas_legacy", "angular_error_deg", "slope", "slope_se")
    return {name: {key: getattr(report, key) for key in kept} for name, report in reports.items()}


@torch.no_grad()
def generator_solidity(G, seeds=range(64), world: str = "cartoons") -> solidity.Solidity:
    """Solidity of generated heads without truncation; depth at one ray per pixel."""
    yaws = (0.0, SIDE_YAW, -SIDE_YAW)
    labels = camera_labels(yaws, [0.0] * 3, G.orbit)
    ws = ws_of_seeds(G, list(seeds), ViewOptions(psi=1.0))
    pictures = render_ws(G, ws, labels)["image"].unflatten(0, (len(ws), 3))
    resolution, G.neural_rendering_resolution = G.neural_rendering_resolution, G.img_resolution
    try:
        depths = [render_ws(G, w[None], labels[:1])["image_depth"] for w in ws]
    finally:
        G.neural_rendering_resolution = resolution
    repeated = [label[None].expand(len(ws), -1) for label in labels]
    turned = [(pictures[:, i], repeated[i]) for i in (1, 2)]
    return solidity.measure(pictures[:, 0], torch.cat(depths), repeated[0], turned, NAMES[world])


def rendered_solidity(heads: int = 64, world: str = "cartoons") -> solidity.Solidity:
    """The same of rendered heads of known shape: what the generator is compared with."""
    its, views = world_of(world), {}
    for yaw in (0.0, SIDE_YAW, -SIDE_YAW):
        label = camera_label(yaw, 0.0)
        shots = [its.render(its.draw("test", i), label, np.array([0.0, 0, 1]), its.size) for i in range(heads)]
        depth = torch.as_tensor(np.array([s.depth for s in shots])).float()[:, None].clamp(max=BACKGROUND_DEPTH)
        views[yaw] = to_images([s.rgb for s in shots]), depth, torch.as_tensor(label).float()[None].expand(heads, -1)
    (image, depth, label), *turned = views.values()
    return solidity.measure(image, depth, label, [(t[0], t[2]) for t in turned], NAMES[world])
