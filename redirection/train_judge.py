"""Trains the judge of eye patches that evaluate.py measures by, on people in training alone, and says how well it reads
people it never saw.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click

from groundwork.command import Command, device_option, json_option, pick_device, seed_option, write_json
from groundwork.places import FILE, FOLDER, INPUT_FOLDER, Output
from redirection.attributes import NO_LABELS
from redirection.judge_fitting import CONFIG, errors, facts_of, train_judge
from redirection.patch_judge import save_judge
from redirection.patch_sets import read_patches


@click.command(cls=Command)
@click.option("--data", type=INPUT_FOLDER, required=True, help="Folder of patches that crop_eyes.py wrote.")
@click.option("--out", type=Output(FILE, ending=".safetensors"), required=True, help="Weights to write.")
@click.option("--workdir", type=Output(FOLDER, ["state.pt"]), help="Keeps the state after each epoch; the same command "
              "again goes on.  [default: nothing is kept]")  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), default=CONFIG.epochs, show_default=True, help="Over the train list.")
@click.option("--batch", type=click.IntRange(2), default=CONFIG.batch_size, show_default=True, help="Patches a step.")
@device_option
@seed_option
@json_option
def main(data, out, workdir, epochs, batch, device, seed, json_path):
    """Reads the train list of the set for training, and its test list to measure."""
    training, unseen = (read_patches(data, part, NO_LABELS) for part in ("train", "test"))
    if shared := set(training.person.tolist()) & set(unseen.person.tolist()):
        raise ValueError(f"{data}: person {min(shared)} is in both lists; give lists of different people")
    if batch > len(training):
        raise ValueError(f"--batch={batch}: the set has {len(training)} patches for training; give a smaller batch")
    config = replace(CONFIG, epochs=epochs, batch_size=batch, seed=seed)
    with tempfile.TemporaryDirectory() if workdir is None else nullcontext(workdir) as folder:
        judge = train_judge(training, Path(folder), pick_device(device), config)
    measured = errors(judge, unseen)
    save_judge(out, judge, facts_of(config, training, measured))
    click.echo(json.dumps(measured, indent=2))
    write_json(json_path, measured)


if __name__ == "__main__":
    main()
