"""Draws a film of a face or an eye patch that looks from below to above, by DeepWarp."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

from pathlib import Path

import click
import numpy as np

from eg3d.pictures.layout import write_gif
from groundwork.archive import read_file
from groundwork.command import Command, device_option, pick_device, without_effect
from groundwork.images import read_picture
from groundwork.places import EITHER, FILE, INPUT_FILE, OUTPUT_FILE, NamedInput
from redirection.deepwarp.warp_film import face_frames, patch_frames, turned_by
from redirection.deepwarp.warp_redirector import open_deepwarp
from redirection.lid_points import MESH
from redirection.patch_names import PatchName

FURTHEST_DEG = 30.0  # published


@click.command(cls=Command)
@click.option("--model_path", type=NamedInput(FILE, ["embedded"]), default="embedded", show_default=True,
              help="Weights: a .safetensors of train.py, or a published checkpoint, FILE.index.")  # fmt: skip
@click.option("--img_path", type=INPUT_FILE, required=True, help="Photo of a face, or patch (..._L.png, ..._R.png).")
@click.option("--out_path", type=OUTPUT_FILE, required=True, help="FILE.gif.")
@click.option("--num_frame", type=click.IntRange(2, 1000), default=30, show_default=True, help="Pictures of the film.")
@click.option("--furthest", type=click.FloatRange(0, 90), default=FURTHEST_DEG, show_default=True,
              help="Degrees by which the eyes turn down at first, and up at last.")  # fmt: skip
@click.option("--landmarks", type=NamedInput(EITHER, [MESH]), default=MESH, show_default=True,
              help="Of a face: lids by mesh, a dlib .dat, or a file or folder of 68 points.")  # fmt: skip
@without_effect("--is_left", "both eyes are moved, right ones mirrored")
@without_effect("--tsf_type", "the weights say which correction they have")
@device_option
def main(model_path, img_path, out_path, num_frame, furthest, landmarks, device):
    """Writes an endless GIF. The vertical gaze changes by -30 to 30 degrees, whatever the eyes look at first.

    Only what changes is pasted back into a face, so the rest keeps its colours.
    """
    if out_path.suffix != ".gif":
        raise ValueError(f"--out_path={out_path}: cannot be written; end the name in .gif")
    device = pick_device(device)
    redirector = open_deepwarp(None if str(model_path) == "embedded" else Path(model_path), device)
    picture = np.asarray(read_picture(read_file(img_path), str(img_path)))
    by = turned_by(num_frame, furthest)
    try:
        is_patch = bool(PatchName.parse(img_path.name).eye)
    except ValueError:
        is_patch = False
    if is_patch:
        frames = patch_frames(redirector, picture, by)[1]
    else:
        frames = face_frames(redirector, picture, img_path, by, landmarks, device)
    write_gif(out_path, frames)
    click.echo(f"{len(frames)} pictures -> {out_path}")


if __name__ == "__main__":
    main()
