"""Draws sheets of a GazeAnimation run: corrected faces, their eyes, and animations."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

from pathlib import Path

import click
import torch
from tqdm import tqdm

from groundwork.command import Command, device_option, seed_option, without_effect
from groundwork.files import atomic_write
from groundwork.places import FOLDER, INPUT_FOLDER, Output
from l2cs.set_options import device_of
from redirection.gaze_animation.animator_file import open_animator
from redirection.gaze_animation.domain_batches import DomainBatches
from redirection.gaze_animation.painting_options import DATA, WEIGHTS, box_of, box_options
from redirection.gaze_animation.portrait_lists import TEST, read_domains
from redirection.gaze_animation.portrait_run import as_jpeg
from redirection.gaze_animation.portrait_sheets import pictures_of_pair


def sheets_at(path: Path | None, arguments: dict) -> Path | None:
    return None if path is None else path / arguments["test_sample_dir"]


@click.command(cls=Command)
@click.option(
    "--data_dir", type=INPUT_FOLDER, default=DATA, show_default=True, help="Set that prepare.py wrote, or published."
)
@click.option(
    "--exper_name",
    type=Output(FOLDER, ["*.jpg"], at=sheets_at),
    default="log3_28_1",
    show_default=True,
    help="Run folder of train.py.",
)
@click.option(
    "--checkpoints_dir",
    "--checkpoints",
    default="checkpoints",
    show_default=True,
    help="Folder of the weights in it, ours or a published checkpoint.",
)
@click.option("--test_sample_dir", default="test_sample_dir", show_default=True, help="Folder of the sheets in it.")
@click.option(
    "--test_num",
    type=click.IntRange(1),
    default=TEST,
    show_default=True,
    help="The last so many pictures of Y are tested.",
)
@click.option("--most", type=click.IntRange(1), help="No more pictures than so many.  [default: all]")
@box_options("auto")
@click.option("--gpu_id", "gpu", help="Number of the GPU that computes, as published.  [default: by --device]")
@without_effect("--use_sp", "tests need no discriminator", is_flag=True)
@device_option
@seed_option
def main(data_dir, exper_name, checkpoints_dir, test_sample_dir, test_num, most, crop_w, crop_h, gpu, device, seed):
    """Writes four sheets for each test face of Y: J.jpg, J_local.jpg, Jinter1.jpg and Jinter1_1.jpg.

    Give the boxes with which the run was trained.
    """
    domains, folder = read_domains(Path(data_dir), test_num), Path(exper_name)
    device, ours = device_of(device, gpu), folder / checkpoints_dir / WEIGHTS
    nets, _ = open_animator(ours if ours.is_file() else folder / checkpoints_dir, device)
    batches = DomainBatches(
        domains.x, domains.y_test, nets.config.size, box_of(crop_w, crop_h) or None, batch=1, seed=seed
    )
    count = min(len(domains.y_test), most or test_num)
    for number in tqdm(range(count), unit="face", mininterval=2):
        faces = batches.pair(number).to(device)
        with torch.inference_mode():
            for name, sheet in pictures_of_pair(nets, faces).items():
                atomic_write(folder / test_sample_dir / f"{number:02d}{name}.jpg", as_jpeg(sheet))
    click.echo(f"{count} faces -> {folder / test_sample_dir}")


if __name__ == "__main__":
    main()
