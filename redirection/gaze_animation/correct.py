"""Makes the people in photos and films look into the camera."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
from tqdm import tqdm

from dataset_preprocessing.ffhq.tracking import is_film
from groundwork.archive import Folder
from groundwork.command import SWITCH, Command, device_option, json_option, pick_device, tell, write_json
from groundwork.images import silence_pillow
from groundwork.places import EITHER, OUTPUT_FILE, Input, Output
from redirection.gaze_animation import correcting
from redirection.gaze_animation.aimed_eyes import TO_AIM, can_aim
from redirection.gaze_animation.animator_file import open_animator
from redirection.gaze_animation.photo_options import photo_options
from redirection.lid_points import load_lids


@click.command(cls=Command)
@click.option("--source", type=Input(EITHER), required=True, help="A photo or film, or a folder of them.")
@click.option("--out", type=Output(EITHER, ("*",), files=(*correcting.PICTURES, correcting.FILM)), required=True,
              help="FILE.png or .jpg of a photo, FILE.mp4 of a film; of a folder a new folder.")  # fmt: skip
@photo_options("all")
@click.option("--steady", **SWITCH, default=True, show_default=True,
              help="Of films: eyes' places and codes change slowly from frame to frame.")  # fmt: skip
@click.option("--aim", **SWITCH, default=False, help="Of photos: Gy paints, and a gaze reader sees to it that eyes "
              "meet the camera; nearer to it than Gx, and less like the face. Gx stays for a face whose painted eyes "
              "the reader does not see follow.")  # fmt: skip
@click.option("--sheet", type=OUTPUT_FILE, help="Also draw photos before and after, a PNG file.")
@device_option
@json_option
def main(source, out, weights, landmarks, sheet, device, json_path, **o):
    """Paints both eyes of each face anew, so that it looks into the camera (GazeAnimation, Zhang et al. 2020).

    Faces are found and levelled; the boxes round the eyes follow the distance of the eyes. Outside these boxes a
    picture keeps every bit, before it is encoded. A film keeps its sound. A picture or frame without a face, and a
    face with closed eyes, stay as they are and are counted.
    """
    correcting.check_out(source, out)
    silence_pillow()
    device = pick_device(device)
    folder = Folder(source if source.is_dir() else source.parent)
    names = correcting.names_in(folder) if source.is_dir() else [source.name]
    animator, calibration = open_animator(weights, device)
    if o["aim"] and not can_aim(calibration):
        raise ValueError(f"--weights={weights}: cannot be aimed; {TO_AIM}, or give --aim=False")
    correction = correcting.Correction(
        animator,
        load_lids(landmarks, [name for name in names if not is_film(name)], device),
        o["faces"] == "all", o["least_open"], o["steady"], device,
        calibration if o["aim"] else None,
    )  # fmt: skip
    for name in tqdm(names, unit="file", disable=len(names) < 2):
        file, target = folder.file(name), correcting.target_of(name, out) if source.is_dir() else out
        if is_film(name):
            correction.film(file, target)
        else:
            correction.photo(file, target, name)
    facts = correction.facts()
    click.echo(f"{facts['painted']} faces corrected in {facts['pictures']} pictures or frames -> {out}")
    tell(correction.notes())
    if sheet is not None and correction.pairs:
        correcting.write_sheet(sheet, correction.pairs)
    write_json(json_path, facts)


if __name__ == "__main__":
    main()
