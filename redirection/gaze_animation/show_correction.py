"""Rendered people who look elsewhere, corrected: a sheet before and after, and a small film of their eyes."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import numpy as np
from PIL import Image

from eg3d.pictures.layout import side_by_side, stack, write_gif, write_png
from eg3d.pictures.text import text_strip
from eg3d.world.worlds import WORLDS
from groundwork.command import Command, device_option, pick_device, seed_option
from groundwork.places import EITHER, FOLDER, NamedInput, Output
from redirection.gaze_animation.aimed_eyes import aims
from redirection.gaze_animation.animator_file import EMBEDDED, open_animator
from redirection.gaze_animation.eye_paths import along, path_of
from redirection.gaze_animation.moving_eyes import moved_frames
from redirection.gaze_animation.whole_faces import FaceEyes, Fates, painted
from redirection.gaze_animation.world_portraits import WorldPortraits

PATH, FRAMES = "0,0 -15,0 15,0 0,0 0,8 0,-8 0,0", 40
SHOWN = 192  # px of a face in the film
SHEET, FILM = "correction.png", "animation.gif"


@click.command(cls=Command)
@click.option("--world", type=click.Choice(WORLDS), default="people", show_default=True, help="Whose people.")
@click.option("--weights", type=NamedInput(EITHER, [*EMBEDDED]), default="embedded", show_default=True,
              help="Networks: a name or a file; those of the name know people alone.")  # fmt: skip
@click.option("--outdir", type=Output(FOLDER, (SHEET, FILM)), default="out/correct", show_default=True,
              help="Where the sheet and the film go.")  # fmt: skip
@click.option("--people", type=click.IntRange(1, 12), default=6, show_default=True, help="How many people.")
@device_option
@seed_option
def main(world, weights, outdir, people, device, seed):
    """Draws people of the split `test`, whom no network has seen: as they look, corrected, and truly so.

    In the film four of them follow a way in degrees; networks without a map to degrees go from the gaze to the camera.
    """
    device = pick_device(device)
    animator, calibration = open_animator(weights, device)
    portraits = WorldPortraits(world, "test", people, 1, seed=seed, jitter=0, corrected=people)
    faces = [portraits.make(index) for index in range(people, 2 * people)]  # those of Y
    eyes, size, fates = [FaceEyes.of_points(face.points) for face in faces], animator.config.size, Fates()
    after = [painted(face.picture, [own], [animator.correct], size, fates, device)
             for face, own in zip(faces, eyes, strict=True)]  # fmt: skip
    rows = {"As they look": [face.picture for face in faces], "Corrected": after,
            "As the world shows it": [face.corrected for face in faces]}  # fmt: skip
    width = sum(face.picture.shape[1] for face in faces)
    write_png(outdir / SHEET, stack([part for title, pictures in rows.items()
                                     for part in (text_strip(width, 26, title), side_by_side(pictures))]))  # fmt: skip
    way = np.concatenate([np.linspace(0, 1.4, FRAMES // 2), np.linspace(1.4, 0, FRAMES // 2)])
    if calibration is not None:
        way = along(path_of(PATH), FRAMES)
    films = [moved_frames(face.picture, [own], animator, way, calibration, Fates(), device,
                          aimed=aims(face.picture, [own], animator, calibration, device))
             for face, own in zip(faces[:4], eyes[:4], strict=True)]  # fmt: skip
    write_gif(outdir / FILM, [side_by_side([_small(picture) for picture in row]) for row in zip(*films, strict=True)])
    click.echo(f"{fates.painted} of {people} people corrected -> {outdir / SHEET}, {outdir / FILM}")


def _small(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((SHOWN, SHOWN), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main()
