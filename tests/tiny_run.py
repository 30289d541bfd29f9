"""A training run small enough for tests: the real classes and the real loop on eight made-up images of 16 px."""

import contextlib
import json
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from tiny_networks import tiny_generator_kwargs

from eg3d.checkpoints import loading as checkpoint
from eg3d.checkpoints.arguments import generator_arguments
from eg3d.config.run import DataConfig, LossConfig, ScheduleConfig, TrainConfig
from eg3d.gaze.term import GazeLossConfig
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label
from eg3d.models.discriminator import DiscriminatorConfig, EpilogueConfig
from eg3d.models.mapping import MappingConfig

SIDE = 16


def write_images(folder: Path, count: int = 8, side: int = SIDE) -> Path:
    """A data set folder: discs of random colours under cameras from all round."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(0)
    labels = make_label(
        lookat_pose(torch.from_numpy(random.randn(count) * 0.35), torch.from_numpy(random.randn(count) * 0.15)),
        intrinsics_matrix(FFHQ_FOCAL),
    )
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    entries = []
    for i in range(count):
        pixels = np.empty((side, side, 3), np.uint8)
        pixels[:] = random.randint(0, 256, 3)
        pixels[x**2 + y**2 < (side / 3) ** 2] = random.randint(0, 256, 3)
        Image.fromarray(pixels).save(folder / f"img{i}.png")
        entries.append([f"img{i}.png", labels[i].tolist()])
    (folder / "dataset.json").write_text(json.dumps({"labels": entries}))
    return folder


def tiny_config(path: Path, gaze_weight: float = 0.0, **changes) -> TrainConfig:
    """Every phase within two steps; `changes` replace top-level fields."""
    generator = tiny_generator_kwargs() | dict(
        w_dim=16, img_resolution=SIDE, img_channels=3, plane_resolution=8, channel_base=256, channel_max=16,
        num_fp16_res=0,
    )  # fmt: skip
    generator["rendering_kwargs"] |= dict(depth_resolution=4, depth_resolution_importance=4)
    discriminator = DiscriminatorConfig(
        channel_base=256,
        channel_max=16,
        num_fp16_res=0,
        conv_clamp=None,
        mapping=MappingConfig(num_layers=2),
        epilogue=EpilogueConfig(mbstd_group_size=2),
    )
    values = dict(
        preset="tiny",
        generator=generator_arguments(generator)["config"],
        discriminator=discriminator,
        loss=LossConfig(r1_gamma=1.0, r1_every=2, density_reg_every=2, density_points=20),
        schedule=ScheduleConfig(
            blur_init_sigma=1.0,
            blur_fade_kimg=0.02,
            gpc_reg_prob=0.5,
            gpc_reg_fade_kimg=0.02,
            raw_resolution_initial=8,
            ema_kimg=0.01,
        ),
        data=DataConfig(path=str(path)),
        gaze=GazeLossConfig(weight=gaze_weight, l2cs_path="unused" if gaze_weight else None),
        batch=4,
        kimg=0.02,
        tick=0.008,
        snap=1,
    )
    return TrainConfig(**(values | changes))


@contextlib.contextmanager
def everything_in_float64():
    """Networks made inside compute in float64, the gaze network too, whose code says float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with (
            mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
            mock.patch.object(torch.nn.Module, "float", torch.nn.Module.double),
        ):
            yield
    finally:
        torch.set_default_dtype(before)


def final(outdir: Path) -> dict:
    return checkpoint.load_state(outdir / "training-state.pt")


def assert_same_state(a: dict, b: dict) -> None:
    assert a["images_seen"] == b["images_seen"]
    for name, network in a["networks"].items():
        for key, value in network.items():
            assert torch.equal(value, b["networks"][name][key]), f"{name}.{key}"
    for mine, other in zip(a["optimisers"], b["optimisers"], strict=True):
        for index, entry in mine["state"].items():
            assert all(torch.equal(value, other["state"][index][key]) for key, value in entry.items())


def loss_lines(outdir: Path) -> list[dict]:
    lines = [json.loads(line) for line in (outdir / "stats.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k.startswith(("Loss", "Progress", "Fakes"))} for line in lines]
