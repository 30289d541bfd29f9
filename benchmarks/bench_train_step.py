"""How many images a second training sees: full cycles of the lazy regularisers, random images, no gaze term."""

import json
import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from timing import seconds, write_results

from eg3d.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label
from eg3d.cli import Command, device_option, pick_device
from eg3d.flags import resolve
from eg3d.training.dataset import ImageDataset
from eg3d.training.loop import set_numerics
from eg3d.training.trainer import Trainer


def write_noise(folder: Path, size: int, count: int = 64) -> None:
    """A data set of random images from random cameras."""
    rng = np.random.default_rng(0)
    labels = make_label(lookat_pose(torch.linspace(-0.5, 0.5, count), 0.0), intrinsics_matrix(FFHQ_FOCAL))
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    rows = [[f"{i}.png", label.tolist()] for i, label in enumerate(labels)]
    (folder / "dataset.json").write_text(json.dumps({"labels": rows}))


@click.command(cls=Command)
@click.option("--results", type=click.Path(path_type=Path), default=Path(__file__).parent / "results", help="Folder.")
@click.option("--cfg", default="embedded", show_default=True, help="Preset to train.")
@click.option("--size", default=64, show_default=True, help="Pixels per side; 64 for embedded, 512 for ffhq.")
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Images per step.")
@click.option("--batch-gpu", type=click.IntRange(min=1), help="Images at once.  [default: the preset's]")
@click.option("--cycles", type=click.IntRange(min=1), default=1, show_default=True, help="Timed cycles of 16 steps.")
@device_option
def main(results, cfg, size, batch, batch_gpu, cycles, device):
    """Images a second of whole training steps: adversarial, R1 and density terms, averaging."""
    device = pick_device(device)
    with tempfile.TemporaryDirectory() as folder:
        write_noise(Path(folder), size)
        config = resolve(cfg, resolution=size, data=folder, batch=batch, batch_gpu=batch_gpu, gaze_weight=0.0)
        set_numerics(config.benchmark)
        trainer = Trainer(config, ImageDataset(Path(folder)), device)
        steps = config.loss.r1_every
        time = seconds(lambda: [trainer.step() for _ in range(steps)], device, cycles, warm_up=1)
    speed = steps * batch / time
    numbers = {cfg: {"images_per_second": speed, "batch": batch, "batch_gpu": batch_gpu, "size": size}}
    click.echo(f"{cfg}: {speed:.1f} images/s at {size} px, batch {batch}")
    click.echo(f"written to {write_results(results, 'train-step', device, numbers)}")


if __name__ == "__main__":
    main()
