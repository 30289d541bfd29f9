"""What the chain from photos to crops with cameras gives for a folder of photos, and what it costs."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import shutil
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch
from options import results_option
from PIL import Image
from timing import write_results
from tqdm import tqdm

from dataset_preprocessing.ffhq import photos, pos
from dataset_preprocessing.ffhq.cutting import SIDE
from dataset_preprocessing.ffhq.manifest import KEPT
from dataset_preprocessing.ffhq.pose_estimators import load_pose_estimator
from dataset_preprocessing.overview import draw_axes
from eg3d.gaze.iris_network import IrisGaze
from eg3d.geometry.cameras import FFHQ_PIVOT, mirror_label, split_label
from eg3d.metrics.pose import rotation_error
from eg3d.pictures.layout import write_png
from eg3d.running.cli import Command
from groundwork.archive import Folder, read_file
from groundwork.images import read_picture
from groundwork.places import INPUT_FOLDER, OUTPUT_PICTURE

SHOWN = 256  # px of each of the two pictures
FRAMING = pos.EG3D_RESCALE / pos.EG3D_CROP * SIDE  # px of a crop to a decimetre of the mean face


@click.command(cls=Command)
@click.option("--photos", "folder", type=INPUT_FOLDER, help="Folder of photos.  [default: the astronaut of skimage]")
@click.option("--level", is_flag=True, help="Make the eyes level.")
@click.option(
    "--into-lens", default="", help="Crops of faces that look into the lens, as `a,b_face2`: what iris reads."
)
@click.option("--picture", type=OUTPUT_PICTURE, help="Draw the first photo, and its crop with axes and points.")
@results_option
def main(folder, level, into_lens, picture, results):
    """Mirror test of the cameras, crops of crops, and CPU time on one thread; all faces of all photos."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        rows, seconds = done(folder or astronaut(place / "photos"), place / "set", level)
        kept = [face for row in rows for face in row["faces"] if face["fate"] == KEPT]
        numbers = {"photos": len(rows), "faces": sum(len(row["faces"]) for row in rows), "kept": len(kept)}
        read = [face for row in rows for face in row["faces"] if "mirror" in face]
        numbers |= spread("readings_apart_deg", [face["mirror"] for face in read])
        other, _ = done(mirrored(folder or place / "photos", place / "mirrored"), place / "mirrored_set", level)
        numbers |= spread("mirrored_photo_deg", mirror_errors(rows, other))
        again, _ = done(place / "set", place / "again", level, max_border=1.0)
        faces = [face for row in again for face in row["faces"] if face["fate"] == KEPT]
        at = [pos.place(np.array(face["points"]), SIDE + 1) for face in faces]
        numbers |= spread("crop_of_crop_scale_percent", [100 * abs(one.scale / FRAMING - 1) for one in at])
        middle = SIDE / 2
        numbers |= spread("crop_of_crop_px", [np.hypot(one.x - middle, one.y - middle) for one in at])
        numbers["cpu_ms_per_photo"] = 1000 * seconds / len(rows)
        if into_lens:
            numbers |= irises_off_lens([place / "set" / f"{name}.png" for name in into_lens.split(",")])
        for key, value in numbers.items():
            click.echo(f"{key:32} {value:.4g}")
        if picture is not None:
            write_png(picture, shown(rows[0], folder or place / "photos", place / "set"))
    click.echo(f"written to {write_results(results, 'photos', torch.device('cpu'), numbers)}")


def astronaut(folder: Path) -> Path:
    """A folder with one photo, which NASA has put into the public domain."""
    from skimage import data

    folder.mkdir()
    Image.fromarray(data.astronaut()).save(folder / "astronaut.png")
    return folder


def done(folder: Path, outdir: Path, level: bool, **rules) -> tuple[list[dict], float]:
    """The manifest's lines of a folder's photos, and the CPU seconds of one thread, without loading the networks."""
    shutil.rmtree(outdir, ignore_errors=True)
    archive = Folder(folder)
    chain = photos.Chain(
        load_pose_estimator(None, "cpu", mesh=True), photos.Rules(faces="all", level=level, **rules), outdir, "cpu", 32
    )
    chain.detector(Image.new("RGB", (200, 200)))  # warms up
    rows, start = [], time.process_time()
    for source in tqdm(photos.sources(archive, archive.pictures), "photos"):
        rows += chain([source])
    return rows, time.process_time() - start


def mirrored(folder: Path, target: Path) -> Path:
    """A folder with the mirror images of a folder's photos, by the same names."""
    archive = Folder(folder)
    for name in archive.pictures:
        file = (target / name).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = read_picture(archive.read(name), name)
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file, compress_level=1)
    return target


def mirror_errors(rows: list[dict], other: list[dict]) -> list[float]:
    """Degrees between the cameras of faces and those of the same faces in mirrored photos, mirrored back."""
    errors = []
    for row, twin in zip(rows, other, strict=True):
        kept, there = ([face for face in one["faces"] if face["fate"] == KEPT] for one in (row, twin))
        for face in kept if there else ():
            place = (row["size"][0], 0) + np.mean(face["points"], axis=0) * (-1, 1)
            same = min(there, key=lambda one: np.abs(np.mean(one["points"], axis=0) - place).sum())
            labels = torch.tensor([face["label"]]), mirror_label(torch.tensor([same["label"]]))
            error = rotation_error(*(split_label(label)[0][:, :3, :3] for label in labels))
            if np.abs(np.mean(same["points"], axis=0) - place).max() < face["side"] / 8:
                errors.append(float(error.rad2deg()))
    return errors


def irises_off_lens(crops: list[Path]) -> dict[str, float]:
    """How far from the lens the iris judge sees eyes that look into it, degrees."""
    iris, read = IrisGaze(), []
    for file in crops:
        pixels = np.array(read_picture(read_file(file), str(file)))
        angles = iris(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1)
        read.append([abs(angles.yaw.item()), abs(angles.pitch.item())])
    yaw, pitch = np.rad2deg(read).T
    return {
        "iris_faces": len(read),
        "iris_yaw_off_deg_mean": float(yaw.mean()),
        "iris_pitch_off_deg_mean": float(pitch.mean()),
        **spread("iris_yaw_off_deg", list(yaw)),
    }


def spread(name: str, values: list[float]) -> dict[str, float]:
    return {f"{name}_median": float(np.median(values)), f"{name}_p90": float(np.percentile(values, 90))}


def shown(row: dict, folder: Path, crops: Path) -> np.ndarray:
    """The photo, and the crop with axes and points: [SHOWN, 2 SHOWN, 3]."""
    face = row["faces"][0]
    photo, crop = (read_picture(read_file(file), str(file)) for file in (folder / row["photo"], crops / face["crop"]))
    draw_axes(crop, torch.tensor(face["label"]), FFHQ_PIVOT, np.array(face["crop_points"]) / SIDE, 2)
    small = [np.asarray(one.resize((SHOWN, SHOWN), Image.Resampling.LANCZOS)) for one in (photo, crop)]
    return np.concatenate(small, axis=1)


if __name__ == "__main__":
    main()
