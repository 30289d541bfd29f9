"""What the benchmarks time, each a function of the device that returns a call without arguments.

Uses only what the code had before its speed was worked on, so that an older checkout can run the same case
(`timing.Elsewhere`): `python cases.py CASE DEVICE` makes one call for every line on stdin and prints its seconds.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from eg3d.config.flags import resolve
from eg3d.config.presets import PRESETS
from eg3d.data.dataset import ImageDataset
from eg3d.gaze.term import angle_error, estimate_gaze, target_of
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label, split_label
from eg3d.geometry.rays import camera_rays
from eg3d.metrics.gfas import gaze_face_alignment
from eg3d.models.generator import TriPlaneGenerator
from eg3d.pictures.views import (
    GFAS_CAMERAS,
    camera_labels,
    render_views,
    render_ws,
    ws_of_seeds,
)
from eg3d.training.schedules import swap_probability
from eg3d.training.trainer import Trainer
from groundwork.draws import Midpoints

RAYS = {"ffhq": 128, "embedded": 32}  # per side, of the finished models


def generator(preset: str, device) -> TriPlaneGenerator:
    """The preset's networks with random weights."""
    torch.manual_seed(0)
    G = TriPlaneGenerator(PRESETS[preset].generator, RAYS[preset])
    return G.eval().requires_grad_(False).to(device)


def cameras(count: int, device) -> torch.Tensor:
    return make_label(lookat_pose(torch.linspace(0.4, -0.4, count), -0.2), intrinsics_matrix(FFHQ_FOCAL)).to(device)


def image(preset: str, device, batch: int = 1, precision: str | None = None) -> Callable:
    """Whole pictures of `batch` latents, from ws."""
    G, c = generator(preset, device), cameras(1, device)
    if precision is not None:
        from eg3d.ops.precision import set_precision  # which older code has not

        set_precision(G, precision)
    ws = G.mapping(torch.randn(batch, G.z_dim, device=device), c.expand(batch, -1))
    labels = c.expand(batch, -1)
    return lambda: G.synthesis(ws, labels, RAYS[preset], draws=Midpoints(), noise_mode="const")


def parts(preset: str, device) -> Callable[[], dict[str, float]]:
    """As `image` at batch 1; a call returns the seconds of planes, volume rendering and super-resolution."""
    G, c = generator(preset, device), cameras(1, device)
    ws = G.mapping(torch.randn(1, G.z_dim, device=device), c)
    spent = {}

    def watch(name, module):
        def now():
            if device.type == "cuda":
                torch.cuda.synchronize()
            return time.perf_counter()

        module.register_forward_pre_hook(lambda *_: spent.update({name: -now()}))
        module.register_forward_hook(lambda *_: spent.update({name: spent[name] + now()}))

    watch("planes", G.backbone.synthesis)
    watch("volume", G.renderer)
    watch("superresolution", G.superresolution)

    def call():
        G.synthesis(ws, c, RAYS[preset], draws=Midpoints(), noise_mode="const")
        return dict(spent)

    return call


def view(preset: str, device) -> Callable:
    """A further view of a face whose planes are kept."""
    G, c = generator(preset, device), cameras(1, device)
    ws = G.mapping(torch.randn(1, G.z_dim, device=device), c)
    G.synthesis(ws, c, RAYS[preset], cache_backbone=True, draws=Midpoints(), noise_mode="const")
    return lambda: G.synthesis(ws, c, RAYS[preset], use_cached_backbone=True, draws=Midpoints(), noise_mode="const")


def volume(preset: str, device, side: int | None = None) -> Callable:
    """Volume rendering alone, planes given."""
    G, c = generator(preset, device), cameras(1, device)
    ws = G.mapping(torch.randn(1, G.z_dim, device=device), c)
    planes, options = G.planes(ws, "const"), G.options
    origins, directions = camera_rays(*split_label(c), side or RAYS[preset])
    return lambda: G.renderer(planes, G.decoder, origins, directions, options, Midpoints())


def training(preset: str, device, **flags) -> Callable:
    """One full cycle of the lazy regularisers (16 steps), random images, no gaze term; flags as in train.py."""
    with tempfile.TemporaryDirectory() as folder:
        size = PRESETS[preset].generator.resolution
        write_noise(Path(folder), size)
        # The embedded preset has no density term; with it, every phase is timed.
        config = resolve(preset, resolution=size, data=folder, gaze_weight=0.0, density_reg=0.25, **flags)
        dataset = ImageDataset(Path(folder))
        dataset.keep_if_small()
        trainer = Trainer(config, dataset, device)
        trainer.images_seen = 1_000_000  # past every fade, where a run spends most of its time
        trainer.step()

    def cycle():
        trainer.batch_index = 0
        for _ in range(config.loss.r1_every):
            trainer.step()

    cycle.images, cycle.trainer = config.loss.r1_every * config.batch, trainer
    return cycle


def whole_step(preset: str, device) -> Callable:
    """One training step with every phase: the first of a cycle."""
    trainer = training(preset, device).trainer

    def step():
        trainer.batch_index = 0
        trainer.step()

    return step


def plain_training(trainer: Trainer) -> Callable:
    """As `training`, by the twin of the published step: the same weights, images and cameras."""
    from oracles.plain_training import PlainTraining, PublishedDraws  # of tests, where timing.Elsewhere looks too

    config, schedule, labels = trainer.config, trainer.config.schedule, trainer.dataset.labels.to(trainer.device)
    swap = swap_probability(trainer.images_seen, schedule.gpc_reg_prob, schedule.gpc_reg_fade_kimg)
    source = PublishedDraws(labels, config.batch, trainer.G.z_dim, swap)
    twin = PlainTraining(trainer.G, trainer.D, trainer.G_ema, config, source)

    def cycle():
        twin.batch_index = 0
        for _ in range(config.loss.r1_every):
            images, cameras = trainer.batches.at(trainer.images_seen)
            twin.step(images.to(trainer.device), cameras.to(trainer.device), trainer.images_seen)

    return cycle


def write_noise(folder: Path, size: int, count: int = 64) -> None:
    """A data set of random images from random cameras."""
    rng = np.random.default_rng(0)
    labels = cameras(count, "cpu")
    (folder / "dataset.json").write_text(
        '{"labels": [' + ", ".join(f'["{i}.png", {label.tolist()}]' for i, label in enumerate(labels)) + "]}"
    )
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(folder / f"{i}.png")


def gfas(preset: str, device, seeds: int, estimator) -> Callable:
    """The score of `seeds` faces as calc_gfas computes it."""
    G = generator(preset, device)
    return lambda: gaze_face_alignment(render_views(G, range(seeds)), estimator)


def gfas_one_by_one(preset: str, device, seeds: int, estimator) -> Callable:
    """The same faces, every view drawn and judged alone at batch 1, with planes of its own."""
    G = generator(preset, device)
    yaws, pitches = zip(*GFAS_CAMERAS, strict=True)
    labels = camera_labels(yaws, pitches, G.orbit).to(device)

    @torch.no_grad()
    def score():
        for seed in range(seeds):
            for label in labels:
                picture = render_ws(G, ws_of_seeds(G, [seed]), label[None])["image"]
                angle_error(estimate_gaze(picture, label[None], estimator), target_of(label[None]))

    return score


CASES = {
    "image-ffhq": lambda device: image("ffhq", device),
    "image-embedded": lambda device: image("embedded", device),
    "volume-ffhq": lambda device: volume("ffhq", device),
    "training-embedded": lambda device: training("embedded", device),
    "published-training-embedded": lambda device: plain_training(training("embedded", device).trainer),
}


def main():
    name, device = sys.argv[1:]
    with torch.enable_grad() if "training" in name else torch.inference_mode():
        call = CASES[name](torch.device(device))
        for _ in sys.stdin:
            start = time.perf_counter()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
