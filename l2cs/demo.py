"""Draws the gaze on face crops and lists it in a table."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import glob
import json
import math
from pathlib import Path

import click
import torch
from tqdm import tqdm

from eg3d.gaze.networks import load_gaze_network
from groundwork.command import (
    Command,
    device_option,
    json_option,
    skip_damaged_option,
    tell,
    without_effect,
    write_json,
)
from groundwork.damage import Damage
from groundwork.files import atomic_file, atomic_write
from groundwork.places import FOLDER, GAZE_JUDGE, INPUT, Output, lies_in, resolved
from l2cs.drawing import draw_gaze, picture_names
from l2cs.estimator import mirror_self_test
from l2cs.gaze_sets import FaceImages, find_damaged, image_files, read_image, to_float
from l2cs.measuring import estimate
from l2cs.set_options import arch_option, device_of, gpu_option, load_estimator

NO_CAMERA = "no camera is read and no window opened; give pictures of faces by --input"


def files_of(arguments: dict) -> list[str]:
    """Patterns of what a call writes into --output, where the picture itself must not lie either."""
    source = arguments["source"]
    own = (source.name, f"{source.stem}.png") if source.is_file() else ()
    return ["gaze.csv", *map(glob.escape, own)]


@click.command(cls=Command)
@click.option(
    "--snapshot", type=GAZE_JUDGE, required=True, help="Weights: a file, embedded, people, a judge of theirs; or iris."
)
@without_effect("--cam", NO_CAMERA, type=int, is_eager=True)  # eager: it is said before --input is missed
@click.option("--input", "source", required=True, type=INPUT,
              help="An image of one face, cropped tightly, or a folder of them.")  # fmt: skip
@click.option("--output", type=Output(FOLDER, files_of), default="out/gaze", show_default=True,
              help="Folder for the drawn pictures and gaze.csv.")  # fmt: skip
@click.option("--check", is_flag=True, help="Only run the mirror self-test on the images (at least 16).")
@json_option
@skip_damaged_option
@arch_option
@device_option
@gpu_option
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, help="Accepted for uniformity; nothing is drawn at random."
)
def main(snapshot, source, output, check, json_path, skip_damaged, arch, device, gpu, seed):
    """Writes every image with an arrow along its gaze, and gaze.csv: file, yaw and pitch in degrees.

    Positive yaw looks toward the image's left, positive pitch up; 0,0 looks into the camera. Pictures are written as
    PNG; a.png and a.jpg, which would share a name, become a.png.png and a.jpg.png. An image in which `iris` finds no
    face has no picture, and an empty row.
    """
    files, others = image_files(source)
    pictures = dict(zip(files, picture_names(list(map(Path, files))), strict=True))
    originals = set(map(resolved, files.values()))
    if lost := next((name for name in pictures.values() if not check and resolved(output / name) in originals), None):
        raise ValueError(f"--output={output}: {lost} there is a picture of --input; give another folder")
    folders = {(output / name).parent: resolved((output / name).parent) for name in pictures.values()}
    inside = (shown for shown, real in folders.items() if lies_in(real / "any", resolved(source)))
    if not check and (link := next(inside, None)):
        raise ValueError(f"--output={output}: {link} leads into --input={source}; give another folder")
    tell([f"{source}: {others}"] if others else [])
    damage = Damage(skip_damaged)
    find_damaged(files, damage)
    left_out = damage.check(f"--input={source}", len(files))
    names, files = zip(*((name, file) for name, file in files.items() if name not in damage.faults), strict=True)
    device = device_of(device, gpu)
    estimator = load_judge(snapshot, arch, device, check=not check)
    faces = FaceImages(files, estimator.input_size)
    if check:
        every = torch.arange(len(files))
        report = mirror_self_test(estimator, to_float(faces[every].to(device)))
        numbers = {**report._asdict(), "images": len(files)}
        click.echo(f"mirror self-test {'passed' if report.passed else 'FAILED'}: {json.dumps(numbers)}")
    else:
        angles = estimate(estimator, faces, device=device)
        limits, briefly = (estimator.facts.get(key) for key in ("limits", "limits_briefly"))
        rows = ["file,yaw_deg,pitch_deg" + (",limits" if limits else "")]
        for file, name, (yaw, pitch) in zip(tqdm(files, "drawing"), names, angles.tolist(), strict=True):
            quoted, beside = name.replace('"', '""'), f',"{briefly}"' if limits else ""
            if math.isnan(yaw):
                rows.append(f'"{quoted}",,{beside}')
                continue
            rows.append(f'"{quoted}",{math.degrees(yaw):.3f},{math.degrees(pitch):.3f}{beside}')
            with atomic_file(output / pictures[name]) as png:
                draw_gaze(read_image(file), yaw, pitch).save(png, "PNG")
        atomic_write(output / "gaze.csv", ("\n".join(rows) + "\n").encode(errors="surrogateescape"))
        said = {"limits": briefly} if limits else {}
        numbers = {
            name: None if math.isnan(yaw) else {"yaw": yaw, "pitch": pitch} | said
            for name, (yaw, pitch) in zip(names, angles.tolist(), strict=True)
        }
        faceless = [name for name, found in numbers.items() if found is None]
        click.echo(f"{len(files) - len(faceless)} images with arrows and gaze.csv in {output}"
                   + (f"   [{limits}]" if limits else ""))  # fmt: skip
        if faceless:
            left_out.append(f"no face is found in {len(faceless)} images, the first is {faceless[0]}")
    for line in left_out:
        click.echo(line)
    write_json(json_path, numbers)


def load_judge(snapshot: str, arch: str | None, device, check: bool):
    """L2CS-Net's weights, or `iris`, which has no architecture."""
    if snapshot != "iris":
        return load_estimator(snapshot, arch, device, check)
    if arch:
        raise ValueError(f"--arch={arch}: is of L2CS-Net's weights; leave it out with --snapshot=iris")
    return load_gaze_network(snapshot, device)


if __name__ == "__main__":
    main()
