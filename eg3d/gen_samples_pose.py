"""One picture of every seed from a random camera, and the cameras: the first step of measuring pose accuracy."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json

import click

from eg3d.checkpoints.loading import load_generator
from eg3d.metrics.pose_files import FACTS, read_labels
from eg3d.pictures.layout import png_bytes, to_uint8
from eg3d.pictures.views import random_labels, render_batch
from eg3d.running import cli, distributed, processes
from groundwork.files import atomic_write
from groundwork.places import FOLDER, Output

LABELS, DATA_SET_LABELS = "labels_generate.json", "dataset.json"


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--seeds", type=cli.DISTINCT_SEEDS, default="0-1023", show_default=True, help="For example 0,1,4-6.")
@click.option(
    "--outdir",
    type=Output(FOLDER, ["seed[0-9]*.png", LABELS], joins=True),
    default="pose",
    show_default=True,
    help="Folder for the pictures and their cameras.",
)
@cli.view_options
@cli.batch_option(8)
@cli.seed_option
@cli.shared_compute_options
@cli.drawing_options_without_effect
@cli.shape_options_without_effect
def main(**options):
    """Writes seed0000.png ... and labels_generate.json into --outdir; yaw and pitch parameters uniform in +-0.4.

    Then `dataset_preprocessing/ffhq/preprocess_in_the_wild.py --indir` estimates cameras from the pictures, and
    `eg3d/calc_pose.py` compares. Cameras are drawn from --seed; the label file is written anew, at the end.
    """
    processes.start(run, check, **options)


def check(outdir, seeds, **_) -> None:
    """ValueError if labels that lie there would be lost, or would stand beside pictures that are not theirs."""
    if (outdir / DATA_SET_LABELS).exists() and not (outdir / FACTS).exists():
        raise ValueError(f"--outdir={outdir}: a data set with its own {DATA_SET_LABELS} lies there; give a new folder")
    if (outdir / LABELS).exists():
        others = set(read_labels(outdir / LABELS, "--outdir")) - {f"seed{seed:04d}.png" for seed in seeds}
        if others:
            raise ValueError(f"--outdir={outdir}: {LABELS} there has the cameras of {len(others)} other pictures, as "
                             f"{min(others)[:80]}, which would be lost; give a new folder, or all seeds")  # fmt: skip


def run(network, seeds, outdir, view, batch, seed, precision, device):
    """What each process does."""
    G = distributed.first_of_each_machine(lambda: load_generator(network, device, precision))

    def draw(part: list[int]) -> list[tuple[int, bytes, list[float]]]:
        views = render_batch(G, part, random_labels(G, part, 1, "pose", seed, view.fov_deg), view)
        return list(zip(part, map(png_bytes, to_uint8(views.images)), views.labels.tolist(), strict=True))

    rows = []
    for drawn in processes.batches(seeds, batch, draw, "pose", "seed"):
        for number, picture, label in drawn:
            atomic_write(outdir / f"seed{number:04d}.png", picture)
            rows.append([f"seed{number:04d}.png", [float(f"{x:.9g}") for x in label]])
    if distributed.rank() == 0:
        atomic_write(outdir / LABELS, (json.dumps({"labels": rows}, indent=0) + "\n").encode())
        click.echo(f"{len(rows)} pictures and {LABELS} in {outdir}")


if __name__ == "__main__":
    main()
