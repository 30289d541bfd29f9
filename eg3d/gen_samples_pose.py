"""One picture of every seed from a random camera, and the cameras: the first step of measuring pose accuracy."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json
from pathlib import Path

import click
import torch

from eg3d.checkpoints.loading import load_generator
from eg3d.metrics.pose_files import read_labels
from eg3d.pictures.aims import aim_eyes
from eg3d.pictures.layout import png_bytes, to_uint8
from eg3d.pictures.views import random_labels, render_batch
from eg3d.running import cli, distributed, processes
from eg3d.scores.origin import drawn_world
from groundwork.files import atomic_write
from groundwork.matching import FACTS_FILE, LABEL_FILE, RENDERED_FILE
from groundwork.places import FOLDER, Output


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--seeds", type=cli.DISTINCT_SEEDS, default="0-1023", show_default=True, help="For example 0,1,4-6.")
@click.option(
    "--outdir",
    type=Output(FOLDER, ["seed[0-9]*.png", RENDERED_FILE], joins=True),
    default="pose",
    show_default=True,
    help="Folder for the pictures and their cameras.",
)
@cli.view_options
@cli.gaze_option
@cli.batch_option(8)
@cli.seed_option
@cli.shared_compute_options
@cli.drawing_options_without_effect
@cli.shape_options_without_effect
def main(**options):
    """Writes seed0000.png ... and labels_generate.json into --outdir; yaw and pitch parameters uniform in +-0.4.

    Then `dataset_preprocessing/ffhq/preprocess_in_the_wild.py --indir` estimates cameras from the pictures, and
    `eg3d/calc_pose.py` compares. Cameras are drawn from --seed; the label file is written anew, before the pictures,
    and says whose heads the network draws, so that the right pose network looks at them.
    """
    processes.start(run, check, **options)


def check(outdir, seeds, **_) -> None:
    """ValueError if labels that lie there would be lost, or would stand beside pictures that are not theirs."""
    if (outdir / LABEL_FILE).exists() and not (outdir / FACTS_FILE).exists():
        raise ValueError(f"--outdir={outdir}: a data set with its own {LABEL_FILE} lies there; give a new folder")
    if (outdir / RENDERED_FILE).exists():
        others = set(read_labels(outdir / RENDERED_FILE, "--outdir")) - {name_of(seed) for seed in seeds}
        if others:
            raise ValueError(
                f"--outdir={outdir}: {RENDERED_FILE} there has the cameras of {len(others)} other pictures, as "
                f"{min(others)[:80]}, which would be lost; give a new folder, or all seeds"
            )


def run(network, seeds, outdir, view, gaze, batch, seed, precision, device):
    """What each process does."""
    G = distributed.first_of_each_machine(lambda: load_generator(network, device, precision))
    aim_eyes([G], gaze)

    def labels_of(part: list[int]) -> torch.Tensor:
        return random_labels(G, part, 1, "pose", seed, view.fov_deg)

    def draw(part: list[int]) -> list[tuple[int, bytes]]:
        images = render_batch(G, part, labels_of(part), view).images
        return list(zip(part, map(png_bytes, to_uint8(images)), strict=True))

    def write_all_labels() -> None:
        parts = [labels_of(seeds[first : first + batch]) for first in range(0, len(seeds), batch)]  # as they are drawn
        write_labels(outdir, seeds, torch.cat(parts).flatten(0, 1).tolist(), drawn_world(network, G.img_resolution))

    for i, drawn in enumerate(processes.batches(seeds, batch, draw, "pose", "seed")):
        if i == 0:
            write_all_labels()  # not before something could be drawn, and not after a picture lies there
        for number, picture in drawn:
            atomic_write(outdir / name_of(number), picture)
    if distributed.rank() == 0:
        click.echo(f"{len(seeds)} pictures and {RENDERED_FILE} in {outdir}")


def name_of(seed: int) -> str:
    return f"seed{seed:04d}.png"


def write_labels(outdir: Path, seeds: list[int], labels: list[list[float]], world: str | None) -> None:
    """The label file comes before the pictures, so that a run which was stopped shows: it lists what is missing.

    Pictures of an earlier run are removed, as theirs were other cameras. world: as `drawn_world` says it.
    """
    rows = [[name_of(seed), [float(f"{x:.9g}") for x in label]] for seed, label in zip(seeds, labels, strict=True)]
    for name, _ in rows:
        (outdir / name).unlink(missing_ok=True)
    atomic_write(outdir / RENDERED_FILE, (json.dumps({"world": world, "labels": rows}, indent=0) + "\n").encode())


if __name__ == "__main__":
    main()
