"""The commands that `make embedded` gives: which, how they are noted, and where a stopped one goes on."""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import click

from eg3d.world.worlds import world_of
from groundwork.files import CACHE, REPOSITORY, atomic_write, private
from groundwork.strict_json import read_json
from l2cs.estimator import WORLD_NETWORKS as GAZE_NETWORKS

# world -> split -> (asset, flags): disjoint people, different widths.
GAZE_RECIPES = {
    "cartoons": {
        "gaze-loss": ("embedded", "--width=16 --num_epochs=16 --batch_size=32 --lr=2e-3 --seed=0"),
        "gaze-judge": ("embedded-judge", "--width=32 --num_epochs=10 --batch_size=32 --lr=1.5e-3 --seed=1"),
    },
    "people": {  # their eyes are life-size, 8 of 128 px wide, so no network looks at more than the eyes
        "gaze-loss": (
            "people",
            "--width=16 --input-size=256 --window=eyes --num_epochs=20 --batch_size=16 --lr=1.5e-3 --seed=0",
        ),
        "gaze-judge": (
            "people-judge",
            "--width=32 --input-size=192 --window=eyes --num_epochs=14 --batch_size=16 --lr=1.5e-3 --seed=1",
        ),
    },
}

CONTROL = {  # settings of the training of eyes whose gaze can be set (docs/eye_field.md)
    "gaze_control": True,
    "gaze_camera_d": True,
    "gaze_second_camera": True,
    "gaze_loss": "euclid",  # a square has little slope near 0: the rig loss then keeps half of an error
    "gaze_weight": 24.0,  # large: the data look into the camera, and so the discriminator asks for that
    "gaze_rig": 20.0,
}
PORTRAITS = "--people=300 --views=8 --size=128 --corrected=64 --jitter=1"
PATCHES = "--people=240 --views=30 --between=0 --size=64"  # of eyes; each eighth person is measured on
HEADS = {"cartoons": 8000, "people": 6000}  # a person costs more time, and each is seen mirrored too


def train_gaze_network(split: str, workdir: Path, device: str, log: Path, world: str = "cartoons") -> None:
    """Renders the split and the test set where they are missing, and trains one small network on it."""
    name, flags = GAZE_RECIPES[world][split]
    cache, its = private(CACHE), world_of(world)
    data, test = (cache / f"{its.prefix}{kind}-v{its.version}" for kind in (split, "gaze-test"))
    for folder, its_split, count in ((data, split, HEADS[world]), (test, "test", 1000)):
        if not folder.exists():
            make = REPOSITORY / "dataset_preprocessing" / "synthetic" / "make_gaze.py"
            command = [sys.executable, make, f"--outdir={folder}", f"--count={count}", f"--split={its_split}"]
            call([*command, *([] if world == "cartoons" else [f"--world={world}"])], log)
    call([sys.executable, REPOSITORY / "l2cs" / "train.py", "--arch=small", *flags.split(),
          f"--gaze360image_dir={data / 'Image'}", f"--gaze360label_dir={data / 'Label' / 'train.label'}",
          f"--heldout_images={test / 'Image'}", f"--heldout_label={test / 'Label' / 'train.label'}",
          f"--output={workdir / split}", f"--export={GAZE_NETWORKS[name]}", f"--device={device}"], log)  # fmt: skip


def people_patches(log: Path) -> Path:
    """The set of eye patches of people that the judge and the redirectors learn from; rendered if it is missing."""
    data = private(CACHE) / f"people-patches-v{world_of('people').version}"
    if not data.exists():
        crop = REPOSITORY / "redirection" / "crop_eyes.py"
        call([sys.executable, crop, "--world=people", *PATCHES.split(), f"--outdir={data}"], log)
    return data


def people_portraits(log: Path) -> Path:
    """The set of portraits of people that GazeAnimation learns from; rendered if it is missing."""
    data = private(CACHE) / f"people-portraits-v{world_of('people').version}"
    if not data.exists():
        prepare = REPOSITORY / "redirection" / "gaze_animation" / "prepare.py"
        call([sys.executable, prepare, "--world=people", *PORTRAITS.split(), f"--outdir={data}"], log)
    return data


def train_patch_judge(workdir: Path, seed: int, device: str, log: Path, output: Path) -> None:
    """Trains the judge of redirected patches on eye patches of people."""
    _train_judge("train_judge.py", workdir / "patch-judge", output, log,
                 [f"--data={people_patches(log)}", f"--seed={seed}", f"--device={device}"])  # fmt: skip


def train_face_judge(purpose: str, workdir: Path, seed: int, device: str, log: Path, output: Path) -> None:
    """Renders the people that the judge of whole faces, or the reader that aims, learns from, and trains it."""
    flags = [f"--purpose={purpose}", f"--seed={seed}", f"--device={device}"]
    _train_judge("train_face_judge.py", workdir / f"face-{purpose}", output, log, flags)


def _train_judge(script: str, folder: Path, output: Path, log: Path, flags: list[str]) -> None:
    """Scripts write into no embedded world that is there, so the file is copied."""
    made = folder.with_suffix(".safetensors")
    call([sys.executable, REPOSITORY / "redirection" / script, f"--out={made}", f"--workdir={folder}", *flags], log)
    atomic_write(output, made.read_bytes())


def train_generator(cfg: str, outdir: Path, flags: list[str], log: Path) -> Path:
    """Trains in `outdir`, or goes on with the run there; returns the last snapshot."""
    if (outdir / "training-state.pt").exists():
        flags = [*(flag for flag in flags if not flag.startswith("--resume")), "--resume=latest"]
    train = [sys.executable, REPOSITORY / "eg3d" / "train.py", f"--cfg={cfg}"]
    call([*train, *flags, f"--outdir={outdir}"], log)
    return max(outdir.glob("network-snapshot-*.safetensors"))


def call(command: list, log: Path) -> None:
    """Runs one command, and notes it with its duration for the model card."""
    command = [str(part) for part in command]
    shown = shlex.join(part.replace(f"{REPOSITORY}/", "").replace(sys.executable, "python") for part in command)
    click.echo(f"$ {shown}")
    start = time.time()
    if subprocess.run(command).returncode:
        raise ValueError(f"this command failed, see above: {shown}")
    notes = read_json(log) if log.exists() else []
    notes.append({"command": shown, "hours": round((time.time() - start) / 3600, 3)})
    atomic_write(log, (json.dumps(notes, indent=2) + "\n").encode())
