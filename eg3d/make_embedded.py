"""Trains everything in `assets/embedded/` with this repository's own scripts, and measures it (`make embedded`).

Each stage is a command a user could type; it is printed before it runs. A stopped run continues where it was.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json

import click

from eg3d.checkpoints.loading import DISCRIMINATOR, GENERATORS, export_half, load_generator
from eg3d.config.presets import PRESETS
from eg3d.gaze.networks import load_gaze_network
from eg3d.metrics.dlib_points import import_dlib
from eg3d.running import cli
from eg3d.world.training import model_card, stages
from eg3d.world.training.fit_features import make_features
from eg3d.world.training.recipes import GAZE_RECIPES, train_gaze_network, train_generator
from groundwork.files import REPOSITORY, WORLD_WEIGHTS
from groundwork.places import FILE, FOLDER, OURS, Output
from l2cs.estimator import WORLD_NETWORKS as GAZE_NETWORKS

STAGES = ("gaze", "base", "corrected", "identity", "pose", "points", "features", "card")
KIMG = click.FloatRange(min=0, min_open=True)


@click.command(cls=cli.Command)
@click.option("--stages", "wanted", default=",".join(STAGES), show_default=True, help="Which parts, in this order.")
@click.option("--workdir", type=Output(FOLDER, ["commands.json"]), default="training-runs/embedded", show_default=True,
              help="Where runs are kept; the same folder continues them.")  # fmt: skip
@click.option("--base-kimg", type=KIMG, default=220, show_default=True, help="Thousand images for the biased base.")
@click.option("--corrected-kimg", type=KIMG, default=24, show_default=True,
              help="Thousand images of fine-tuning with the gaze term.")  # fmt: skip
@click.option("--gaze-weight", type=click.FloatRange(min=0), default=PRESETS["embedded"].gaze.weight,
              show_default=True, help="Of the fine-tuning.")  # fmt: skip
@cli.seed_option
@cli.device_option
@click.option(
    "--json",
    "json_path",
    type=Output(FILE, shares=[OURS]),
    default=WORLD_WEIGHTS / "measured.json",
    help="Where card writes.",
)
def main(wanted, workdir, base_kimg, corrected_kimg, gaze_weight, seed, device, json_path):
    """Trains the gaze networks, both generators and the networks that score them, and measures all of it."""
    if REPOSITORY is None:
        raise ValueError("this writes assets/embedded of a checkout, and an installed package has none; run it in one")
    if unknown := set(wanted.split(",")) - set(STAGES):
        raise ValueError(f"--stages={wanted}: there is no stage {min(unknown)}; the stages are {','.join(STAGES)}")
    if "points" in wanted.split(","):
        import_dlib("the stage points")  # now, not after hours
    wanted, log, shared = wanted.split(","), workdir / "commands.json", [f"--seed={seed}", f"--device={device}"]
    if "gaze" in wanted:
        for split in GAZE_RECIPES:
            train_gaze_network(split, workdir, device, log)
    if "base" in wanted:
        snapshot = train_generator(workdir / "base", [*shared, "--gaze-weight=0", f"--kimg={base_kimg}"], log)
        export_half(snapshot, GENERATORS["embedded-base"], ["G_ema"])
        export_half(snapshot, DISCRIMINATOR, ["D"])
    if "corrected" in wanted:
        flags = [*shared, "--resume=embedded-base", f"--gaze-weight={gaze_weight}", f"--kimg={corrected_kimg}"]
        snapshot = train_generator(workdir / "corrected", flags, log)
        export_half(snapshot, GENERATORS["embedded"], ["G_ema"])
    if "identity" in wanted:
        stages.make_identity(workdir)
    if "pose" in wanted:
        stages.make_face_reader(workdir)
    if "points" in wanted:
        stages.make_points()
    if "features" in wanted:
        make_features(workdir)
    if "card" in wanted:
        device = cli.pick_device(device)
        gaze = {name: load_gaze_network(name, device) for name in GAZE_NETWORKS}
        numbers = model_card.measure(gaze, {name: load_generator(name, device) for name in GENERATORS})
        cli.write_json(json_path, numbers)
        click.echo(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    main()
