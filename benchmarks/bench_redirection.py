"""What training costs of each gaze redirector of eye patches: seconds a step and an epoch, and memory."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from options import results_option
from PIL import Image
from timing import write_results

from eg3d.running.cli import Command, seed_option
from groundwork.files import REPOSITORY
from redirection.embedded_redirectors import RECIPES
from redirection.patch_names import PatchName

GAZES = [(v, h) for v in (-10, 0, 10) for h in (-15, 0, 15)]
PEOPLE, UNSEEN = 12, 2
FEW, MORE = 5, 30  # steps of two runs; what the second costs beyond the first is that of the steps between
EPOCH = 12_600  # patches of the set that the shipped ones learned from
OTHER_LENGTH = ("--steps", "--snap", "--summary_steps", "--cooldown")


@click.command(cls=Command)
@click.option("--side", type=click.IntRange(32, 512), default=64, show_default=True, help="Of the patches, pixels.")
@seed_option
@results_option
def main(side, seed, results):
    """Runs each recipe of the shipped redirectors for a few steps, on noise, with one thread.

    Seconds are those of the processor, so other work on the machine counts little.
    """
    numbers = {}
    with tempfile.TemporaryDirectory() as name:
        write_noise(folder := Path(name) / "set", side, seed)
        for output, (script, of_data, of_run, flags) in RECIPES.items():
            batch = int(flags.replace("--batch_size=", "-bs ").split("-bs ")[1].split()[0])
            kept = [flag for flag in flags.split() if not flag.startswith(OTHER_LENGTH)]
            command = [sys.executable, REPOSITORY / "redirection" / script, f"{of_data}={folder}", *kept]
            runs = [
                cost([*command, f"{of_run}={name}/{output.stem}-{steps}", f"--steps={steps}", "--device=cpu"])
                for steps in (FEW, MORE)
            ]
            step = (runs[1][0] - runs[0][0]) / (MORE - FEW)
            numbers[output.stem.removeprefix("people_")] = {
                "cpu_seconds_a_step": step, "batch": batch, "cpu_minutes_an_epoch": step * (EPOCH // batch) / 60,
                "peak_mb": max(run[1] for run in runs) / 2**20,
            }  # fmt: skip
    for method, its in numbers.items():
        click.echo(
            f"{method:12} {its['cpu_seconds_a_step']:.3f} s a step of {its['batch']}, "
            f"{its['cpu_minutes_an_epoch']:.1f} min for {EPOCH} patches, {its['peak_mb']:.0f} MB"
        )
    torch.set_num_threads(1)
    click.echo(f"written to {write_results(results, 'redirection', torch.device('cpu'), numbers)}")


def cost(command: list) -> tuple[float, int]:
    """Seconds of the processor, and most bytes of memory, of a command of its own process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([str(part) for part in command], env=environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)  # fmt: skip
    said = process.stderr.read().decode(errors="replace")
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise ValueError(f"{' '.join(map(str, command[1:]))}: failed: {said[-300:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def write_noise(folder: Path, side: int, seed: int) -> None:
    """A set of patches in the layout of crop_eyes.py."""
    (folder / "all").mkdir(parents=True)
    (folder / "info").mkdir()
    draws, names = np.random.default_rng(seed), {"train": [], "test": []}
    for person in range(1, PEOPLE + 1):
        for v, h in GAZES:
            for eye in "LR":
                name = f"{PatchName(person, 0, v, h, eye)}.png"
                Image.fromarray(draws.integers(0, 256, (side, side, 3), np.uint8)).save(folder / "all" / name)
                names["test" if person > PEOPLE - UNSEEN else "train"].append(f"{name}\n")
    for part, lines in names.items():
        (folder / "info" / f"gaze-{part}.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
