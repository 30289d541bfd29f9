"""Trains the judge of whole faces that evaluate_faces.py measures by, or the reader that aims, and says how well it
reads others."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json
from dataclasses import replace

import click

from eg3d.training.snapshots import git_commit
from groundwork.command import Command, device_option, json_option, pick_device, seed_option, write_json
from groundwork.places import FILE, FOLDER, Output
from redirection.face_judge import save_face_judge
from redirection.face_judge_fitting import (
    CONFIG,
    PEOPLE,
    PURPOSES,
    UNSEEN,
    UNSEEN_SPLIT,
    errors,
    facts_of,
    train_face_judge,
)
from redirection.judged_people import OWN_POINTS, kept_people


@click.command(cls=Command)
@click.option("--out", type=Output(FILE, ending=".safetensors"), required=True, help="Weights to write.")
@click.option("--workdir", type=Output(FOLDER, ["*.npz", "*/state.pt"]), required=True, help="Keeps the rendered "
              "people, and the state after each epoch; the same command again goes on.")  # fmt: skip
@click.option("--purpose", type=click.Choice(PURPOSES), default="judge", show_default=True, help="The judge, or the "
              "reader of `animate.py --aim`: of other people, and of points that are less exact.")  # fmt: skip
@click.option("--people", type=click.IntRange(32), default=PEOPLE, show_default=True, help="To learn from.")
@click.option("--unseen", type=click.IntRange(1), default=UNSEEN, show_default=True, help="To measure on.")
@click.option("--epochs", type=click.IntRange(1), default=CONFIG.epochs, show_default=True, help="Over all people.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="That render.")
@device_option
@seed_option
@json_option
def main(out, workdir, purpose, people, unseen, epochs, processes, device, seed, json_path):
    """Renders people of the world `people`, one picture each, learns, and reads others."""
    asked = PURPOSES[purpose]
    training, others = (
        kept_people(workdir / f"{split}-{count}.npz", split, range(count), own_points, processes)
        for split, count, own_points in ((asked.split, people, OWN_POINTS), (UNSEEN_SPLIT, unseen, 0.0))
    )
    config = replace(CONFIG, epochs=epochs, seed=seed)
    judge = train_face_judge(training, workdir / f"{asked.split}-{people}", pick_device(device), config, asked)
    measured = errors(judge, others)
    save_face_judge(out, judge, facts_of(config, asked, people, git_commit(), measured))
    click.echo(json.dumps(measured, indent=2))
    write_json(json_path, measured)


if __name__ == "__main__":
    main()
