"""Estimates the cameras of a folder of face pictures: labels for a data set, or for `eg3d/calc_pose.py`."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from dataset_preprocessing.ffhq import labelling
from dataset_preprocessing.ffhq.fitted_cameras import MODES
from dataset_preprocessing.ffhq.pose_estimators import load_pose_estimator
from eg3d.metrics.landmark_sources import READERS
from eg3d.running import cli, distributed, processes
from groundwork.archive import shown
from groundwork.damage import Damage
from groundwork.matching import FACTS_FILE, LABEL_FILE
from groundwork.places import FOLDER, INPUT_FOLDER, LANDMARKS, POSE_NETWORK, Output

# The labels belong to the pictures and may lie among them.
OUTDIR = Output(
    FOLDER,
    (LABEL_FILE, FACTS_FILE),
    at=lambda outdir, arguments: outdir or arguments["indir"],
    shares=["indir"],
    joins=True,
)

EMBEDDED = (
    "the embedded pose network looks at the pictures, and knows only the embedded world's heads; for photos give "
    "--recon-weights=epoch_20.pth (linked from the README of sicxu/Deep3DFaceRecon_pytorch)"
)


@click.command(cls=cli.Command)
@click.option("--indir", type=INPUT_FOLDER, required=True, help="Folder of square pictures; its subfolders too.")
@click.option("--recon-weights", type=POSE_NETWORK,
              help="Deep3DFaceRecon's epoch_20.pth, or the world of rendered and generated heads: embedded, people.  "
              "[default: embedded]")  # fmt: skip
@click.option("--landmarks", type=LANDMARKS, default="template", show_default=True,
              help="With --recon-weights, five points: template (where EG3D's crops have them), a JSON file, a "
              "folder of .txt, a dlib .dat, embedded, or people.")  # fmt: skip
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="orig",
    show_default=True,
    help="With --recon-weights: distance from the world's origin (FFHQ's labels) or the head's centre.",
)
@click.option("--outdir", type=OUTDIR, help="Where dataset.json goes.  [default: --indir]")
@cli.batch_option(32, "Pictures at a time.")
@cli.skip_damaged_option
@cli.skip_unmatched_option
@cli.process_options
@cli.json_option
def main(**options):
    """Writes dataset.json, the estimated 25-number label of each picture, and pose_estimate.json: how, and what failed.

    Pictures must be EG3D's crops already, as generated ones are; photos are not cropped here.
    """
    processes.start(run, check, **options)


def check(indir, outdir, recon_weights, landmarks, **_) -> None:
    if recon_weights in (None, *READERS) and landmarks != "template":
        raise ValueError(f"--landmarks={landmarks}: only --recon-weights needs points, leave it out")
    labelling.check_place(outdir or indir)


def run(indir, recon_weights, landmarks, mode, outdir, batch, skip_damaged, skip_unmatched, device, json_path):
    """What each process does."""
    outdir = outdir or indir
    files, others = distributed.from_first(lambda: labelling.pictures(indir))
    files, notes = distributed.from_first(lambda: labelling.expected(indir, files, skip_unmatched))
    distributed.tell_once(others + notes)
    estimator = distributed.together(lambda: load_pose_estimator(recon_weights, device, landmarks, mode))
    if recon_weights is None:
        distributed.tell_once([EMBEDDED])
    damage = Damage(skip_damaged)
    rows, failed = labelling.estimate(files, estimator, batch, damage)
    if distributed.rank() > 0:
        return
    left_out = damage.check(f"--indir={indir}", len(files))
    facts = {"estimator": estimator.name, "sha256": estimator.sha256, "landmarks": estimator.landmarks,
             "pictures": len(files), "labelled": len(rows), "failed": failed}  # fmt: skip
    if not rows:
        name, reason = next(iter(failed.items()))
        raise ValueError(f"--indir={indir}: no picture could be labelled; {shown(name)}: {reason}")
    labelling.write(outdir, rows, facts)
    click.echo(f"{len(rows)} of {len(files)} cameras by the {estimator.name} -> {outdir / LABEL_FILE}")
    cli.tell(labelling.failures(failed))
    for line in left_out:
        click.echo(line)
    cli.write_json(json_path, facts)


if __name__ == "__main__":
    main()
