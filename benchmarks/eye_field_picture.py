"""Draws docs/eye_field.png: heads from three cameras, each with the base's own eyes and with four gazes."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import torch

from eg3d.checkpoints.loading import load_generator
from eg3d.geometry.head_gaze import CAMERA
from eg3d.pictures.layout import enlarge, side_by_side, stack, to_uint8, write_png
from eg3d.pictures.text import text_strip
from eg3d.pictures.views import camera_labels, render_ws, ws_of_seeds
from eg3d.running import cli
from groundwork.places import OUTPUT_PICTURE

YAWS = (0.4, 0.0, -0.4)
GAZES = {"25 deg to the left": (25, 0), "25 to the right": (-25, 0), "along the face": (0, 0), "into the camera": None}


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--seeds", type=cli.DISTINCT_SEEDS, default="0,2,5,6", show_default=True, help="Heads, one row each.")
@click.option("--output", type=OUTPUT_PICTURE, default="docs/eye_field.png", show_default=True, help="The picture.")
@cli.compute_options
def main(network, seeds, output, precision, device):
    """Columns: the base's own picture, then each gaze, from three cameras each. Rows: heads."""
    G = load_generator(network, cli.pick_device(device), precision)
    labels = camera_labels(YAWS, [0.0] * len(YAWS), G.orbit)
    ws = ws_of_seeds(G, seeds)
    columns = [("the base", render_ws(G.base, ws, labels)["image"])]
    for name, degrees in GAZES.items():
        gaze = CAMERA.gaze(labels) if degrees is None else torch.tensor([degrees] * len(YAWS)).deg2rad()
        columns.append((name, render_ws(G, ws, labels, gaze)["image"]))
    panels = []
    for name, images in columns:
        rows = [side_by_side([enlarge(picture, 96) for picture in to_uint8(images[i : i + len(YAWS)])])
                for i in range(0, len(images), len(YAWS))]  # fmt: skip
        panels.append(stack([text_strip(rows[0].shape[1], 26, name, 14, centred=True), *rows]))
    write_png(output, side_by_side(panels))
    click.echo(f"look at {output}")


if __name__ == "__main__":
    main()
