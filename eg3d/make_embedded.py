"""Trains everything in `assets/embedded/` with this repository's own scripts, and measures it (`make embedded`).

Each stage is a command a user could type; it is printed before it runs. A stopped run continues where it was.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json
from pathlib import Path

import click

from eg3d.checkpoints.loading import DISCRIMINATORS, GENERATORS, export_half, load_generator
from eg3d.config.presets import PRESETS
from eg3d.gaze.networks import load_gaze_network
from eg3d.metrics.dlib_points import import_dlib
from eg3d.running import cli
from eg3d.world.rendered_sets import world_faces
from eg3d.world.training import model_card, stages
from eg3d.world.training.fit_features import make_features
from eg3d.world.training.recipes import (
    CONTROL,
    GAZE_RECIPES,
    train_face_judge,
    train_gaze_network,
    train_generator,
    train_patch_judge,
)
from eg3d.world.worlds import NAMES, WORLDS
from groundwork.files import REPOSITORY, WORLD_WEIGHTS
from groundwork.places import FILE, FOLDER, OURS, Output
from redirection.embedded_redirectors import make_redirectors
from redirection.face_judge import FACE_JUDGES
from redirection.gaze_animation.embedded_animator import make_animator
from redirection.patch_judge import JUDGES

STAGES = tuple("gaze base corrected control identity pose points features judge redirectors animator card".split())
ONLY = {"points": "cartoons", "features": "cartoons", "judge": "people", "redirectors": "people", "animator": "people"}
BASE_KIMG = {"cartoons": 220, "people": 400}
SMALL_KIMG = 200  # of these: people begin with pictures of half the size
KIMG = click.FloatRange(min=0, min_open=True)


def _workdir(path: Path | None, arguments: dict) -> Path:
    return path or Path("training-runs", NAMES[arguments["world"]])


def _json_path(path: Path | None, arguments: dict) -> Path:
    return path or WORLD_WEIGHTS / {"cartoons": "measured.json", "people": "people_measured.json"}[arguments["world"]]


@click.command(cls=cli.Command)
@click.option("--world", type=click.Choice(WORLDS), default="cartoons", show_default=True, help="Whose networks.")
@click.option("--stages", "wanted", default=",".join(STAGES), show_default=True,
              help="Which parts, in this order; points and features: cartoons only; judge, redirectors and "
              "animator: people only.")  # fmt: skip
@click.option("--workdir", type=Output(FOLDER, ["commands.json"], at=_workdir),
              help="Where runs are kept; the same folder continues them.  [default: training-runs/embedded; people: "
              "training-runs/people]")  # fmt: skip
@click.option("--base-kimg", type=KIMG,
              help="Thousand images for the biased base.  [default: 220; people: 400]")  # fmt: skip
@click.option("--corrected-kimg", type=KIMG, default=24, show_default=True,
              help="Thousand images of fine-tuning with the gaze term.")  # fmt: skip
@click.option("--control-kimg", type=KIMG, default=8, show_default=True,
              help="Thousand images of training eyes whose gaze can be set.")  # fmt: skip
@click.option("--gaze-weight", type=click.FloatRange(min=0), default=PRESETS["embedded"].gaze.weight,
              show_default=True, help="Of the fine-tuning.")  # fmt: skip
@cli.seed_option
@cli.device_option
@click.option(
    "--json",
    "json_path",
    type=Output(FILE, shares=[OURS], at=_json_path),
    help="Where card writes.  [default: measured.json of the world, in assets/embedded]",
)
def main(world, wanted, workdir, base_kimg, corrected_kimg, control_kimg, gaze_weight, seed, device, json_path):
    """Trains the gaze networks, both generators and the networks that score them, and measures all of it."""
    if REPOSITORY is None:
        raise ValueError("this writes assets/embedded of a checkout, and an installed package has none; run it in one")
    if unknown := set(wanted.split(",")) - set(STAGES):
        raise ValueError(f"--stages={wanted}: there is no stage {min(unknown)}; the stages are {','.join(STAGES)}")
    wanted = [stage for stage in wanted.split(",") if ONLY.get(stage, world) == world]
    if "points" in wanted:
        import_dlib("the stage points")  # now, not after hours
    name, workdir = NAMES[world], _workdir(workdir, {"world": world})
    log, shared = workdir / "commands.json", [f"--seed={seed}", f"--device={device}"]
    if "gaze" in wanted:
        for split in GAZE_RECIPES[world]:
            train_gaze_network(split, workdir, device, log, world)
    if "base" in wanted:
        snapshot = train_base(world, workdir, shared, base_kimg or BASE_KIMG[world], log)
        export_half(snapshot, GENERATORS[f"{name}-base"], ["G_ema"])
        export_half(snapshot, DISCRIMINATORS[name], ["D"])
    if "corrected" in wanted:
        flags = [*shared, f"--resume={name}-base", f"--gaze-weight={gaze_weight}", f"--kimg={corrected_kimg}"]
        snapshot = train_generator(name, workdir / "corrected", flags, log)
        export_half(snapshot, GENERATORS[name], ["G_ema"])
    if "control" in wanted:
        flags = [
            *shared,
            f"--resume={name}-base",
            *(f"--{setting.replace('_', '-')}={value}" for setting, value in CONTROL.items()),
            f"--kimg={control_kimg}",
            f"--glr-fade-kimg={control_kimg}",
        ]
        snapshot = train_generator(name, workdir / "control", flags, log)
        export_half(snapshot, GENERATORS[f"{name}-control"], ["G_ema"])
    if "identity" in wanted:
        stages.make_identity(workdir, world)
    if "pose" in wanted:
        stages.make_face_reader(workdir, world)
    if "points" in wanted:
        stages.make_points()
    if "features" in wanted:
        make_features(workdir)
    if "judge" in wanted:
        train_patch_judge(workdir, seed, device, log, JUDGES["embedded"])
        train_face_judge("judge", workdir, seed, device, log, FACE_JUDGES["embedded-faces"])
    if "redirectors" in wanted:
        make_redirectors(workdir, seed, device, log)
    if "animator" in wanted:
        make_animator(workdir, seed, device, log)
    if "card" in wanted:
        device, judges = cli.pick_device(device), (name, f"{name}-judge")
        gaze = {judge: load_gaze_network(judge, device) for judge in judges}
        made = [which for which in (name, f"{name}-base") if GENERATORS[which].is_file()]
        generators = {which: load_generator(which, device) for which in made}
        numbers = model_card.measure(gaze, generators, world)
        cli.write_json(_json_path(json_path, {"world": world}), numbers)
        click.echo(json.dumps(numbers, indent=2))


def train_base(world: str, workdir: Path, shared: list[str], kimg: float, log: Path) -> Path:
    """Trains the base of a world; returns its last snapshot. People begin with pictures of half the size."""
    flags = [*shared, "--gaze-weight=0"]
    if world == "cartoons":
        return train_generator("embedded", workdir / "base", [*flags, f"--kimg={kimg}"], log)
    small, data = min(SMALL_KIMG, kimg / 2), world_faces(world="people", size=64)
    start = train_generator("people-64", workdir / "small", [*flags, f"--data={data}", f"--kimg={small}"], log)
    more = [*flags, f"--resume={start}", "--resume-partial", f"--kimg={kimg - small}"]
    return train_generator("people", workdir / "base", more, log)


if __name__ == "__main__":
    main()
