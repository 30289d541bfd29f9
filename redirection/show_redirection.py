"""A strip of an embedded person whose eyes go from one side to the other, by the shipped weights: make redirect."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import numpy as np
import torch

from eg3d.pictures.layout import side_by_side, write_gif, write_png
from groundwork.command import Command, device_option, pick_device, seed_option
from groundwork.places import FOLDER, Output
from redirection.eye_patches import LIDS, EyeSquare
from redirection.interpgaze.redirecting import PatchRedirector, open_interpgaze
from redirection.world_patches import Shown, WorldViews

STRIP, FILM = "strip.png", "eyes.gif"
FINER = 3  # pictures of the film between two of the strip
HALF_TURN_DEG = 15.0


def turned(shown: Shown, redirector: PatchRedirector, horizontal: float) -> np.ndarray:
    """The picture uint8 [H, W, 3] with both eyes toward `horizontal` degrees, positive toward the image's left."""
    picture = shown.picture
    for eye, which in LIDS.items():
        square = EyeSquare.of_lids(shown.points[which], eye)
        before, sign = square.cut(shown.picture, redirector.size), -1.0 if eye == "R" else 1.0
        angles = shown.name.angles
        now = torch.tensor([[sign * angles["P"], angles["V"], sign * angles["H"]]])
        wanted = torch.tensor([[sign * angles["P"], angles["V"], sign * horizontal]])
        patches = torch.from_numpy(before.copy()).permute(2, 0, 1)[None]
        still, moved = (redirector.redirect(patches, now, to)[0].permute(1, 2, 0).numpy() for to in (now, wanted))
        picture = square.paste(picture, still, moved)
    return picture


@click.command(cls=Command)
@click.option("--outdir", type=Output(FOLDER, (STRIP, FILM)), default="out/redirect", show_default=True,
              help=f"Folder for {STRIP} and {FILM}.")  # fmt: skip
@click.option("--people", type=click.IntRange(1, 20), default=3, show_default=True, help="How many people, a row each.")
@click.option("--steps", type=click.IntRange(2, 50), default=7, show_default=True, help="Pictures of a row.")
@click.option("--size", type=click.IntRange(128, 1024), default=256, show_default=True, help="Pixels of a picture.")
@device_option
@seed_option
def main(outdir, people, steps, size, device, seed):
    """Draws people of the split `test`, whom no network has seen: the source, then the eyes from left to right."""
    redirector = open_interpgaze(None, pick_device(device), None)
    views = WorldViews("people", "test", people, 1, 0.0, size, seed)
    rows, films = [], []
    for shown in views.pictures():
        ways = np.linspace(HALF_TURN_DEG, -HALF_TURN_DEG, steps)
        rows.append(side_by_side([shown.picture, *(turned(shown, redirector, way) for way in ways)]))
        finer = np.linspace(HALF_TURN_DEG, -HALF_TURN_DEG, FINER * (steps - 1) + 1)
        films.append([turned(shown, redirector, way) for way in finer])
    frames = [side_by_side(list(several)) for several in zip(*films, strict=True)]
    write_png(outdir / STRIP, np.concatenate(rows))
    write_gif(outdir / FILM, [*frames, *frames[-2:0:-1]])
    click.echo(f"{people} people -> {outdir / STRIP}, {outdir / FILM}")


if __name__ == "__main__":
    main()
