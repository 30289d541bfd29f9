"""Moves the eyes of a photo along a way, in degrees: a GIF or a film."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import numpy as np

from eg3d.pictures.layout import side_by_side, write_gif, write_png
from eg3d.pictures.video import require_ffmpeg, write_video
from groundwork.archive import read_file
from groundwork.command import SWITCH, Command, device_option, pick_device, tell
from groundwork.images import read_picture, silence_pillow
from groundwork.places import INPUT_FILE, OUTPUT_FILE
from redirection.gaze_animation.aimed_eyes import TO_AIM, aims, can_aim, unaimed
from redirection.gaze_animation.animator_file import open_animator
from redirection.gaze_animation.eye_paths import along, alphas_of, path_of
from redirection.gaze_animation.moving_eyes import moved_frames
from redirection.gaze_animation.photo_options import photo_options
from redirection.gaze_animation.whole_faces import FaceEyes, Fates, faces_of
from redirection.lid_points import NoLids, load_lids

PATH = "0,0 -15,0 15,0 0,0"


@click.command(cls=Command)
@click.option("--source", type=INPUT_FILE, required=True, help="Photo of one or several faces.")
@click.option("--out", type=OUTPUT_FILE, required=True, help="FILE.gif, FILE.mp4, or FILE.png for a strip of frames.")
@click.option("--path", help="Corners of the way, 'yaw,pitch yaw,pitch' in degrees from the camera; yaw is positive "
              f"to the image's left, pitch up; the word gaze is the photo's own.  [default: '{PATH}']")  # fmt: skip
@click.option("--alpha", help="Instead, the paper's: 0 is the gaze of the photo, 1 the camera; 0,0.5,1 or 0:1.4:15.")
@click.option("--aim", **SWITCH, default=True, show_default=True, help="With --path: a gaze reader looks at "
              "thirteen painted gazes of each face first, and the map is bent to what this face needs.")  # fmt: skip
@click.option("--frames", type=click.IntRange(1, 2000), default=32, show_default=True, help="With --path: of the way.")
@click.option("--fps", type=click.FloatRange(1, 120), default=15, show_default=True, help="Of an .mp4.")
@photo_options("largest")
@device_option
def main(source, out, path, alpha, aim, frames, fps, weights, landmarks, faces, least_open, device):
    """Paints the eyes of a photo anew in each frame (GazeAnimation, Zhang et al. 2020); the rest keeps every bit.

    Degrees go through a map that is stored with the weights. Weights without one, as the published, know --alpha alone.
    """
    if path is not None and alpha is not None:
        raise ValueError("give --path in degrees or --alpha, and not both")
    if out.suffix.lower() not in {".gif", ".mp4", ".png"}:
        raise ValueError(f"--out={out}: cannot be written; end the name in .gif, .mp4 or .png")
    if out.suffix.lower() == ".mp4":
        require_ffmpeg()
    way = along(path_of(path or PATH), frames) if alpha is None else alphas_of(alpha)
    silence_pillow()
    device = pick_device(device)
    animator, calibration = open_animator(weights, device)
    if alpha is None and calibration is None:
        raise ValueError(f"--weights={weights}: have no map from degrees to codes; give --alpha=0:1.4:15, or calibrate "
                         "them (redirection/gaze_animation/calibrate.py)")  # fmt: skip
    picture = np.asarray(read_picture(read_file(source), str(source)))
    try:
        found = faces_of(load_lids(landmarks, [source.name], device), picture, source.name, faces == "all")
    except NoLids as reason:
        raise ValueError(f"{source}: {reason}; give a photo of a face, or other --landmarks") from None
    fates, eyes = Fates(), [FaceEyes.of_points(points) for points in found]
    if alpha is not None:
        calibration = None
    if aim and alpha is None and not can_aim(calibration):
        tell([f"--weights={weights}: eyes are not aimed; {TO_AIM}"])
    aimed = aims(picture, eyes, animator, calibration, device) if aim else None
    drawn = list(moved_frames(picture, eyes, animator, way, calibration, fates, device, least_open, aimed))
    if not fates.painted:
        raise ValueError(f"{source}: no face can move: {next(iter(fates.kept))}; give another photo")
    if out.suffix.lower() == ".png":
        write_png(out, side_by_side(drawn))
    elif out.suffix.lower() == ".gif":
        write_gif(out, drawn)
    else:
        write_video(out, drawn, fps)
    click.echo(f"{len(drawn)} frames of {fates.painted} moving face(s) -> {out}")
    tell([*fates.lines(), *unaimed(aimed)])


if __name__ == "__main__":
    main()
