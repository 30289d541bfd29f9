"""Trains everything in `assets/embedded/` with this repository's own scripts, and measures it (`make embedded`).

Each stage is a command a user could type; it is printed before it runs. A stopped run continues where it was.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import click

from eg3d.checkpoints.loading import DISCRIMINATOR, GENERATORS, export_half, load_generator
from eg3d.gaze.networks import load_gaze_network
from eg3d.metrics.dlib_points import import_dlib
from eg3d.running import cli
from eg3d.world.heads import WORLD_VERSION
from eg3d.world.training import model_card, stages
from eg3d.world.training.fit_features import make_features, measured_features
from groundwork.files import CACHE, REPOSITORY, WORLD_WEIGHTS, atomic_write
from l2cs.estimator import WORLD_NETWORKS as GAZE_NETWORKS

STAGES = ("gaze", "base", "corrected", "identity", "pose", "points", "features", "card")
# split -> (asset, flags): disjoint people, different widths.
GAZE_RECIPES = {
    "gaze-loss": ("embedded", "--width=16 --num_epochs=16 --batch_size=32 --lr=2e-3 --seed=0"),
    "gaze-judge": ("embedded-judge", "--width=32 --num_epochs=10 --batch_size=32 --lr=1.5e-3 --seed=1"),
}


@click.command(cls=cli.Command)
@click.option("--stages", "wanted", default=",".join(STAGES), show_default=True, help="Which parts, in this order.")
@click.option("--workdir", type=click.Path(file_okay=False, path_type=Path), default="training-runs/embedded",
              show_default=True, help="Where runs are kept; the same folder continues them.")  # fmt: skip
@click.option("--base-kimg", type=click.FloatRange(min=0, min_open=True), default=220, show_default=True,
              help="Thousand images for the biased base.")  # fmt: skip
@click.option("--corrected-kimg", type=click.FloatRange(min=0, min_open=True), default=24, show_default=True,
              help="Thousand images of fine-tuning with the gaze term.")  # fmt: skip
@click.option("--gaze-weight", type=click.FloatRange(min=0), default=5.0, show_default=True, help="Of the fine-tuning.")
@cli.seed_option
@cli.device_option
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Where card writes.",
              default=WORLD_WEIGHTS / "measured.json")  # fmt: skip
def main(wanted, workdir, base_kimg, corrected_kimg, gaze_weight, seed, device, json_path):
    """Trains the gaze networks, both generators and the networks that score them, and measures all of it."""
    if unknown := set(wanted.split(",")) - set(STAGES):
        raise ValueError(f"--stages={wanted}: there is no stage {min(unknown)}; the stages are {','.join(STAGES)}")
    if "points" in wanted.split(","):
        import_dlib("the stage points")  # now, not after hours
    wanted, log = wanted.split(","), workdir / "commands.json"
    run = [sys.executable, REPOSITORY / "eg3d" / "train.py", "--cfg=embedded", f"--seed={seed}", f"--device={device}"]
    if "gaze" in wanted:
        for split in GAZE_RECIPES:
            train_gaze_network(split, workdir, device, log)
    if "base" in wanted:
        outdir = workdir / "base"
        call([*run, "--gaze-weight=0", f"--kimg={base_kimg}", f"--outdir={outdir}", *again(outdir)], log)
        export_half(newest(outdir), GENERATORS["embedded-base"], ["G_ema"])
        export_half(newest(outdir), DISCRIMINATOR, ["D"])
    if "corrected" in wanted:
        outdir = workdir / "corrected"
        call([*run, "--resume=embedded-base", f"--gaze-weight={gaze_weight}", f"--kimg={corrected_kimg}",
              f"--outdir={outdir}", *again(outdir)], log)  # fmt: skip
        export_half(newest(outdir), GENERATORS["embedded"], ["G_ema"])
    if "identity" in wanted:
        stages.make_identity(workdir)
    if "pose" in wanted:
        stages.make_face_reader(workdir)
    if "points" in wanted:
        stages.make_points()
    if "features" in wanted:
        make_features(workdir)
    if "card" in wanted:
        numbers = measure(cli.pick_device(device))
        cli.write_json(json_path, numbers)
        click.echo(json.dumps(numbers, indent=2))


def train_gaze_network(split: str, workdir: Path, device: str, log: Path) -> None:
    """Renders the split and the test set where they are missing, and trains one small network on it."""
    name, flags = GAZE_RECIPES[split]
    data, test = CACHE / f"{split}-v{WORLD_VERSION}", CACHE / f"gaze-test-v{WORLD_VERSION}"
    for folder, its_split, count in ((data, split, 8000), (test, "test", 1000)):
        if not folder.exists():
            make = REPOSITORY / "dataset_preprocessing" / "synthetic" / "make_gaze.py"
            call([sys.executable, make, f"--outdir={folder}", f"--count={count}", f"--split={its_split}"], log)
    call([sys.executable, REPOSITORY / "l2cs" / "train.py", "--arch=small", *flags.split(),
          f"--gaze360image_dir={data / 'Image'}", f"--gaze360label_dir={data / 'Label' / 'train.label'}",
          f"--heldout_images={test / 'Image'}", f"--heldout_label={test / 'Label' / 'train.label'}",
          f"--output={workdir / split}", f"--export={GAZE_NETWORKS[name]}", f"--device={device}"], log)  # fmt: skip


def call(command: list, log: Path) -> None:
    """Runs one command, and notes it with its duration for the model card."""
    command = [str(part) for part in command]
    shown = shlex.join(part.replace(f"{REPOSITORY}/", "").replace(sys.executable, "python") for part in command)
    click.echo(f"$ {shown}")
    start = time.time()
    if subprocess.run(command).returncode:
        raise ValueError(f"this command failed, see above: {shown}")
    notes = json.loads(log.read_text()) if log.exists() else []
    notes.append({"command": shown, "hours": round((time.time() - start) / 3600, 3)})
    atomic_write(log, (json.dumps(notes, indent=2) + "\n").encode())


def again(outdir: Path) -> list[str]:
    """The flag that continues a run, when there is one."""
    return ["--resume=latest"] if (outdir / "training-state.pt").exists() else []


def newest(outdir: Path) -> Path:
    """The last snapshot of a run."""
    return max(outdir.glob("network-snapshot-*.safetensors"))


def measure(device) -> dict:
    """Every number of the model card."""
    gaze = {name: load_gaze_network(name, device) for name in GAZE_NETWORKS}
    numbers = {
        "gaze_networks": {
            n: {"sha256": e.sha256} | model_card.gaze_network_error(e) | model_card.reads_eyes(e)
            for n, e in gaze.items()
        },
        **stages.quality(),
        "feature_network": measured_features(),
        "rendered_heads": vars(model_card.rendered_solidity()),
    }
    for name in GENERATORS:
        G = load_generator(name, device)
        numbers[name] = model_card.scores(G, gaze) | {"solidity": vars(model_card.generator_solidity(G))}
    return numbers


if __name__ == "__main__":
    main()
