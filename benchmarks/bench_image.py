"""How long a picture takes: one latent from three cameras, deterministic, random weights."""

from pathlib import Path

import click
import torch
from timing import seconds, write_results

from eg3d.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label
from eg3d.cli import Command, device_option, pick_device
from eg3d.draws import Midpoints
from eg3d.models.generator import TriPlaneGenerator
from eg3d.presets import PRESETS


@click.command(cls=Command)
@click.option("--results", type=click.Path(path_type=Path), default=Path(__file__).parent / "results", help="Folder.")
@click.option("--cfg", "names", multiple=True, default=("embedded", "ffhq"), show_default=True, help="Presets to time.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Calls; the median counts.")
@device_option
def main(results, names, repeats, device):
    """Seconds per picture of the presets' generators."""
    device = pick_device(device)
    cameras = make_label(lookat_pose([0.4, 0.0, -0.4], -0.2), intrinsics_matrix(FFHQ_FOCAL)).to(device)
    numbers = {}
    for name in names:
        torch.manual_seed(0)
        G = TriPlaneGenerator(**PRESETS[name].generator).eval().requires_grad_(False).to(device)
        ws = G.mapping(torch.randn(1, G.z_dim, device=device), cameras[1:2])

        def draw(G=G, ws=ws):
            with torch.no_grad():
                G.synthesis(ws, cameras, draws=Midpoints(), noise_mode="const")

        time = seconds(draw, device, repeats)
        numbers[name] = {"seconds_per_picture": time / len(cameras), "cameras_per_latent": len(cameras)}
        click.echo(f"{name}: {time / len(cameras):.4f} s per picture of {G.img_resolution} px")
    click.echo(f"written to {write_results(results, 'image', device, numbers)}")


if __name__ == "__main__":
    main()
