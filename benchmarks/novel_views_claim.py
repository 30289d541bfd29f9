"""Do novel views of photos make a gaze network better where heads turn far? (Qin et al. 2022), on an embedded world.

Photos of some people whose heads turn little are the sources. Networks of one kind are trained on these photos alone
and on novel views of them, for the same number of images seen, and measured on photos (rendered, not turned) of other
people whose heads turn far. All but the flat eyes is made by the commands of this repository, which are printed.
Stopped, the same command goes on where it was.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import flat_eyes
import novel_views_page
import torch
from timing import write_results

from eg3d.running import cli
from eg3d.world.worlds import WORLDS
from groundwork.command import one_spelling
from groundwork.files import REPOSITORY, atomic_write
from groundwork.places import OUTPUT_FILE, OUTPUT_FOLDER
from groundwork.strict_json import read_json

PHOTOS = "dataset_preprocessing/synthetic/make_mpii.py"
NORMALISE = "dataset_preprocessing/nv_rendering/normalize.py"
RECONSTRUCT = "dataset_preprocessing/nv_rendering/recon_mpii.py"
RENDER = "dataset_preprocessing/nv_rendering/main.py"
EDGES = "0,15,30,45,60"  # degrees of |head yaw|
FLAT = "meshes-flat"  # made by flat_eyes.py, all others by recon_mpii.py
ARMS = {  # name -> sets that its network sees, more flags of its training; novel_views_page.TITLES says what they are
    "sources": ("sources", []),
    "novel": ("novel", []),
    "novel-swap": ("novel", ["--swap-backgrounds=0.7"]),
    "novel-loose": ("novel", ["--swap-backgrounds=0.7", "--zoom=0.2"]),
    "novel-black": ("novel-black", []),
    "novel-flat": ("novel-flat", []),
}
# A set of novel views -> its meshes, and how often each kind of background and light is drawn.
VIEW_SETS = {
    "novel": ("meshes", {"black": 1, "black_dark": 1, "colour": 4, "colour_dark": 4}),
    "novel-black": ("meshes", {"black": 1, "black_dark": 0, "colour": 0, "colour_dark": 0}),
    "novel-flat": (FLAT, {"black": 1, "black_dark": 1, "colour": 4, "colour_dark": 4}),
}
NO_PICTURES = {"picture": 0, "picture_dark": 0}  # an embedded world has none


@dataclass(frozen=True)
class Plan:
    """What is made, and where. `split`: of the people whose photos are sources; `test` has others."""

    workdir: Path
    world: str
    people: int
    photos: int
    test_people: int
    test_photos: int
    views: int
    images: int
    width: int
    input_size: int
    workers: int
    device: str
    split: str = "gaze-loss"

    def settings(self) -> dict:
        return {name: value for name, value in vars(self).items() if name not in ("workdir", "workers", "device")}


@click.command(cls=cli.Command)
@click.option("--workdir", type=OUTPUT_FOLDER, default="training-runs/novel-views", show_default=True)
@click.option("--world", type=click.Choice(WORLDS), default="cartoons", show_default=True)
@click.option("--people", type=click.IntRange(2, 100), default=24, show_default=True, help="Sources show so many.")
@click.option("--photos", type=click.IntRange(min=1), default=10, show_default=True, help="Sources of each person.")
@click.option("--test-people", type=click.IntRange(1, 100), default=40, show_default=True, help="Others, to measure.")
@click.option("--test-photos", type=click.IntRange(min=1), default=12, show_default=True, help="Of each of them.")
@click.option("--views", type=click.IntRange(min=1), default=16, show_default=True, help="Novel views of a source.")
@click.option("--images", type=click.IntRange(min=32), default=40_000, show_default=True, help="Seen by each network.")
@click.option("--width", type=int, default=16, show_default=True, help="Of the networks, as of l2cs/train.py.")
@click.option("--input-size", type=int, default=64, show_default=True, help="Of the networks, pixels.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes.")
@click.option("--seeds", type=cli.DISTINCT_SEEDS, default="0-2", show_default=True, help="Of the networks.")
@click.option("--arms", default=",".join(ARMS), show_default=True, help="Which networks; all are compared.")
@click.option("--page", type=OUTPUT_FILE, default=REPOSITORY / "docs" / "novel_views.md", help="Tables go there.")
@click.option("--results", type=OUTPUT_FOLDER, default=Path(__file__).parent / "results")
@cli.device_option
def main(seeds, arms, page, results, **plan):
    """Makes what is not made yet, measures all networks, and fills the tables and the plot of the page."""
    names = arms.split(",")
    if unknown := [name for name in names if name not in ARMS]:
        raise ValueError(f"--arms={arms}: there is no {unknown[0]}; there are {', '.join(ARMS)}")
    plan = Plan(**plan)
    check_plan(plan)
    make_photos(plan)
    for name in dict.fromkeys(ARMS[name][0] for name in names):
        if name in VIEW_SETS:
            make_views(plan, name)
    runs = [(name, seed) for seed in seeds for name in names]
    with ThreadPoolExecutor(plan.workers) as pool:  # each waits for a process of its own
        found = list(pool.map(lambda run: measured(plan, *run), runs))
    scores = {name: {str(run[1]): score for run, score in zip(runs, found, strict=True) if run[0] == name}
              for name in names}  # fmt: skip
    numbers = {"settings": plan.settings(), "scores": scores}
    written = write_results(results, f"novel-views-claim-{plan.world}", torch.device("cpu"), numbers)
    click.echo(f"{novel_views_page.verdict(scores)}\nwritten to {written}")
    if page.is_file():
        novel_views_page.plot(page.with_name(f"novel_views_{plan.world}.png"), scores)
        text = novel_views_page.made(page.read_text(), novel_views_page.records_in(results))
        atomic_write(page, text.encode())


def check_plan(plan: Plan) -> None:
    """Notes the settings in the folder; ValueError if others are noted there."""
    note, settings = plan.workdir / "claim.json", plan.settings()
    if note.exists():
        before = read_json(note)
        if changed := [name for name in settings if before.get(name) != settings[name]]:
            one = changed[0]
            raise ValueError(f"--workdir={plan.workdir}: was made with {one} {before.get(one)}, now {settings[one]}; "
                             "give another folder")  # fmt: skip
    atomic_write(note, (json.dumps(settings, indent=2) + "\n").encode())


def make_photos(plan: Plan) -> None:
    """Photos of both kinds in MPIIFaceGaze's layout, and the same, normalised, in the GazeHub layout."""
    of = plan.workdir
    for name, split, people, photos, yaw, pitch in (
        ("sources", plan.split, plan.people, plan.photos, 15, 15),
        ("test", "test", plan.test_people, plan.test_photos, 60, 20),
    ):
        run(PHOTOS, of / f"{name}-photos", f"--world={plan.world}", f"--split={split}",
            f"--people={people}", f"--photos={photos}", f"--head-yaw={yaw}", f"--head-pitch={pitch}",
            f"--workers={plan.workers}", to="outdir")  # fmt: skip
        if not (of / name).exists():
            run(NORMALISE, of / name, f"--mpii={of / f'{name}-photos'}", to="dest")
        header, *_ = texts = [file.read_text() for file in sorted((of / name / "Label").glob("*.label"))]
        lines = [line for text in texts for line in text.splitlines()[1:]]
        atomic_write(of / f"{name}.label", "\n".join([header.splitlines()[0], *lines, ""]).encode())


def make_views(plan: Plan, name: str) -> None:
    """Meshes, and novel views of them."""
    of, (meshes, shares), workers = plan.workdir, VIEW_SETS[name], f"--workers={plan.workers}"
    photos = of / "sources-photos"
    if meshes == FLAT:
        flat_eyes.write_flat_meshes(photos, of / meshes, plan.workers)
    else:
        run(RECONSTRUCT, of / meshes, f"--mpii_path={photos}", "--regressor=world", workers, to="output_dir")
    settings = {
        "data": {"mpii": {"raw": str(photos.resolve()), "obj": str((of / meshes).resolve())}},
        "model": {"target_pose": {"number_new_views": plan.views, "mode": "range", "pitch": [-50, 50],
                                  "yaw": [-80, 80]}, "variants": shares | NO_PICTURES},
    }  # fmt: skip
    config = of / f"{name}.yaml"
    atomic_write(config, json.dumps(settings, indent=2).encode())  # JSON is YAML
    run(RENDER, of / name, f"--config={config}", workers, to="save_dir")


def measured(plan: Plan, name: str, seed: int) -> dict:
    """Errors of an arm's network, which is trained if it is not there."""
    folder, (views, flags) = plan.workdir / "networks" / f"{name}-{seed}", ARMS[name]
    errors = folder / "errors.json"
    if not errors.is_file():
        images = plan.people * plan.photos * (1 if views == "sources" else plan.views)
        data = (
            photo_flags(plan, views) if views == "sources" else ["--dataset=views", f"--views={plan.workdir / views}"]
        )
        run("l2cs/train.py", folder, *data, f"--device={plan.device}", "--arch=small", f"--width={plan.width}",
            f"--input-size={plan.input_size}", f"--seed={seed}", *flags,
            f"--num_epochs={max(1, round(plan.images / images))}", to="output")  # fmt: skip
        run("l2cs/evaluate.py", errors, *photo_flags(plan, "test"), f"--device={plan.device}", f"--head-bins={EDGES}",
            f"--snapshot={folder / 'weights.safetensors'}", to="json")  # fmt: skip
    score = read_json(errors)
    click.echo(f"{name}, seed {seed}: {novel_views_page.far_error(score):.2f} degrees where heads turn far")
    return {key: score[key] for key in ("mean_angular_error_deg", "by_head", "images")}


def photo_flags(plan: Plan, name: str) -> list[str]:
    """What names normalised photos to the gaze scripts."""
    return [f"--gaze360image_dir={plan.workdir / name / 'Image'}", f"--gaze360label_dir={plan.workdir / name}.label"]


def run(script: str, target: Path, *arguments: str, to: str) -> None:
    """A command of this repository that writes `target`; ValueError if it fails. Each goes on where it was stopped."""
    command = [sys.executable, str(REPOSITORY / script), *arguments, f"--{one_spelling(to)}={target}"]
    click.echo(f"$ {shlex.join(['python', script, *command[2:]])}")
    threads = {"OMP_NUM_THREADS": "1"}  # several processes share the cores; and sums have one order
    if subprocess.run(command, env=os.environ | threads).returncode:
        raise ValueError("the last command failed, see above; the same command goes on from there")


if __name__ == "__main__":
    main()
