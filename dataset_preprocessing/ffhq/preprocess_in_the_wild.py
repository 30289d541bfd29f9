"""Estimates the cameras of a folder of face pictures: labels for a data set, or for `eg3d/calc_pose.py`."""

import json
from pathlib import Path

import click

from dataset_preprocessing.ffhq import labelling
from dataset_preprocessing.ffhq.fitted_cameras import MODES
from dataset_preprocessing.ffhq.pose_estimators import ReconPose, WorldPose
from eg3d.metrics.landmark_sources import load_source
from eg3d.metrics.pose_files import FACTS
from eg3d.running import cli, distributed, processes
from groundwork.files import atomic_write


@click.command(cls=cli.Command)
@click.option("--indir", type=click.Path(path_type=Path), required=True, help="Folder of square .png or .jpg pictures.")
@click.option("--recon-weights", type=click.Path(dir_okay=False, path_type=Path),
              help="Deep3DFaceRecon's epoch_20.pth.  [default: the embedded pose network]")  # fmt: skip
@click.option("--landmarks", default="template", show_default=True, help="With --recon-weights, five points: template "
              "(where EG3D's crops have them), a JSON file, a folder of .txt, a dlib .dat, or embedded.")  # fmt: skip
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="orig",
    show_default=True,
    help="With --recon-weights: distance from the world's origin (FFHQ's labels) or the head's centre.",
)
@click.option("--outdir", type=click.Path(file_okay=False, path_type=Path),
              help="Where dataset.json goes.  [default: --indir]")  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="Pictures at a time.")
@cli.process_options
@cli.json_option
def main(**options):
    """Writes dataset.json, the estimated 25-number label of each picture, and pose_estimate.json: how, and what failed.

    Pictures must be EG3D's crops already, as generated ones are; photos are not cropped here.
    """
    processes.start(run, check, **options)


def check(indir, outdir, recon_weights, landmarks, json_path, **_) -> None:
    if recon_weights is None and landmarks != "template":
        raise ValueError(f"--landmarks={landmarks}: only --recon-weights needs points, leave it out")
    labelling.check_place(outdir or indir)
    cli.check_writable(outdir, "--outdir", folder=True)
    cli.check_writable(json_path, "--json")


def run(indir, recon_weights, landmarks, mode, outdir, batch, device, json_path):
    """What each process does."""
    outdir = outdir or indir
    files = distributed.from_first(lambda: labelling.pictures(indir))
    estimator = distributed.together(lambda: load_estimator(recon_weights, landmarks, mode, device))
    rows, failed = labelling.estimate(files, estimator, batch)
    if distributed.rank() > 0:
        return
    facts = {"estimator": estimator.name, "sha256": estimator.sha256, "landmarks": estimator.landmarks,
             "pictures": len(files), "labelled": len(rows), "failed": failed}  # fmt: skip
    if not rows:
        raise ValueError(f"--indir={indir}: no picture could be labelled; {files[0].name}: {failed[files[0].name]}")
    atomic_write(outdir / FACTS, (json.dumps(facts, indent=1) + "\n").encode())
    atomic_write(outdir / labelling.LABELS, (json.dumps({"labels": rows}, indent=0) + "\n").encode())
    click.echo(f"{len(rows)} of {len(files)} cameras by the {estimator.name} -> {outdir / labelling.LABELS}")
    cli.write_json(json_path, facts)


def load_estimator(recon_weights: Path | None, landmarks: str, mode: str, device) -> WorldPose | ReconPose:
    if recon_weights is None:
        return WorldPose(device)
    source = None if landmarks == "template" else load_source(landmarks, False, device)
    return ReconPose(recon_weights, source, mode, device)


if __name__ == "__main__":
    main()
