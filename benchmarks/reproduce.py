"""The paper's tables anew on the embedded world (`make reproduce`): what gaze loss and data filter do, and cost.

GL is the gaze loss; DP the data preprocessing, which keeps only faces with a turned gaze (by=gaze, as the paper says)
or a turned head (by=label). Every arm but the base fine-tunes `embedded-base` by the same command but for its flags.
A finished run is a JSON file in --results, which is committed; it is not run again.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from reproduction_page import TITLES, made, write_page
from timing import commit, facts

from eg3d.checkpoints.loading import GENERATORS, load_generator
from eg3d.pictures.layout import side_by_side, stack, text_strip, to_uint8, write_png
from eg3d.pictures.views import render_views
from eg3d.running import cli
from groundwork.files import REPOSITORY, atomic_write
from groundwork.places import OUTPUT_FOLDER

RESULTS = Path(__file__).parent / "results" / "reproduction"
PAGE = REPOSITORY / "docs" / "reproduction.md"
FACES = [0, 1, 2, 3]  # drawn
HEADS, PICTURES = 512, 2000  # scored per run: heads for gaze, identity and pose; pictures for the distances
TURNED = {"gaze": ("--by=gaze", "--l2cs-path=embedded"), "label": ("--by=label",)}


@dataclass(frozen=True)
class Arm:
    """One row of a table. weight: of the gaze term, None where nothing is trained; data: what DP keeps, or None."""

    name: str
    weight: float | None
    data: str | None = None
    flags: tuple[str, ...] = ()


TABLES = [
    Arm("base", None),
    Arm("baseline", 0),
    Arm("gl", 5),
    Arm("gl-dp-gaze", 5, "gaze"),
    Arm("dp-gaze", 0, "gaze"),
    Arm("gl-dp-label", 5, "label"),
    Arm("dp-label", 0, "label"),
    Arm("gl-weight-1", 1),
]
SINGLE = [  # seed 0 only
    Arm("gl-legacy", 5, flags=("--gaze-targets=legacy",)),
    *(Arm(f"gl-weight-{weight:g}", weight) for weight in (0.2, 25)),
]
ARMS = {arm.name: arm for arm in [*TABLES, *SINGLE]}


@click.command(cls=cli.Command)
@click.option("--arms", default=",".join(ARMS), show_default=True, help="Which, in this order.")
@click.option("--seeds", type=cli.DISTINCT_SEEDS, default="0-2", show_default=True,
              help="Of training and scoring; the arms outside the tables have seed 0 only.")  # fmt: skip
@click.option("--kimg", type=click.FloatRange(min=0, min_open=True), default=5, show_default=True,
              help="Thousand images of each fine-tuning.")  # fmt: skip
@click.option("--workdir", type=OUTPUT_FOLDER, default="training-runs/reproduce",
              show_default=True, help="Where runs are kept; the same folder continues them.")  # fmt: skip
@click.option("--results", type=OUTPUT_FOLDER, default=RESULTS, show_default=True,
              help="One file per finished run.")  # fmt: skip
@click.option("--page", type=cli.OUTPUT_FILE, default=PAGE, show_default=True,
              help="Whose tables and curve are made anew.")  # fmt: skip
def main(arms, seeds, kimg, workdir, results, page):
    """Runs what has no results yet, then writes tables and curve into the page."""
    names = arms.split(",")
    if unknown := set(names) - set(ARMS):
        raise ValueError(f"--arms={arms}: there is no arm {min(unknown)}; the arms are {','.join(ARMS)}")
    if results.resolve() != RESULTS.resolve() and page.resolve() == PAGE.resolve():
        raise ValueError(f"--results={results} needs --page: {PAGE} shows the committed results")
    made(page.read_text(), {})  # so that a page without room for tables is refused now, not after hours
    wanted = [(ARMS[name], seed) for seed in seeds for name in names if seed == 0 or ARMS[name] not in SINGLE]
    missing = [(arm, seed) for arm, seed in wanted if not finished(results / file_of(arm, seed), arm, kimg)]
    if missing and "dirty" in (commit() or ""):
        raise ValueError("the results would name a commit from which files differ here; commit your changes first")
    for arm, seed in missing:
        record = run(arm, seed, kimg, workdir)
        atomic_write(results / file_of(arm, seed), (json.dumps(record, indent=1) + "\n").encode())
        click.echo(f"{file_of(arm, seed)} is written")
    write_page(page, results)
    draw(page.with_name("reproduction_faces.png"), workdir, kimg)


def draw(path: Path, workdir: Path, kimg: float) -> None:
    """The same heads from both sides by every arm of seed 0, where its networks are still here."""
    networks = {arm.name: network_of(workdir, arm, 0, kimg) for arm in ARMS.values()}
    if not all(network in GENERATORS or network.is_file() for network in networks.values()):
        click.echo(f"{path.name} stays as it is: {workdir} has not the networks of all arms")
        return
    rows = []
    for name, network in networks.items():
        views = next(render_views(load_generator(str(network)), FACES))
        rows.append(side_by_side([text_strip(190, 64, TITLES[name], 13), *to_uint8(views.images)]))
    write_png(path, stack(rows, gap=2))


def network_of(workdir: Path, arm: Arm, seed: int, kimg: float) -> Path | str:
    """The generator that an arm is scored by."""
    if arm.weight is None:
        return "embedded-base"
    return folder_of(workdir, arm, seed, kimg) / f"network-snapshot-{int(kimg):06d}.safetensors"


def folder_of(workdir: Path, arm: Arm, seed: int, kimg: float) -> Path:
    return workdir / f"{arm.name}-seed{seed}-{kimg:g}kimg"


def file_of(arm: Arm, seed: int) -> str:
    return f"{arm.name}_seed{seed}.json"


def finished(path: Path, arm: Arm, kimg: float) -> bool:
    """Whether there are results; ValueError where they are of a run of another length."""
    if not path.exists():
        return False
    its = json.loads(path.read_text())["kimg"]
    if arm.weight is not None and its != kimg:
        raise ValueError(f"{path}: is of {its:g} thousand images, not --kimg={kimg:g}; give that, or other --results")
    return True


def run(arm: Arm, seed: int, kimg: float, workdir: Path) -> dict:
    """Trains an arm where it must, and scores it: commands, seconds and scores."""
    commands, network = [], network_of(workdir, arm, seed, kimg)
    where = {key: value for key, value in facts(torch.device("cpu")).items() if key != "command"}
    start = time.monotonic()
    if arm.weight is not None:
        data = filtered(arm.data, workdir, commands) if arm.data else "embedded"
        outdir = folder_of(workdir, arm, seed, kimg)
        step("eg3d/train.py", ["--cfg=embedded", "--resume=embedded-base", f"--data={data}", f"--seed={seed}",
             f"--gaze-weight={arm.weight:g}", *arm.flags, f"--kimg={kimg:g}", "--snap=1000", f"--outdir={outdir}"],
             commands)  # fmt: skip
    scores = workdir / f"{arm.name}-seed{seed}.scores.json"
    step("eg3d/calc_all.py", [f"--network={network}", f"--seeds={seed * HEADS}-{(seed + 1) * HEADS - 1}",
         f"--num-gen={PICTURES}", f"--seed={seed}", f"--json={scores}"], commands)  # fmt: skip
    report = json.loads(scores.read_text())
    (scored,) = report["networks"].values()
    return where | {
        "arm": arm.name, "seed": seed, "kimg": 0 if arm.weight is None else kimg, "gaze_weight": arm.weight,
        "data": arm.data, "commands": commands, "seconds": round(time.monotonic() - start),
        "judged_by": report["judged_by"], "data_sha256": report["data_sha256"], "network_sha256": scored["sha256"],
        "scores": {row["name"]: row["value"] for row in scored["scores"]},
        "standard_errors": {row["name"]: row["error"] for row in scored["scores"]},
    }  # fmt: skip


def filtered(by: str, workdir: Path, commands: list) -> Path:
    """The data set that DP leaves, made once."""
    path = workdir / f"turned-by-{by}.zip"
    flags = ["--data=embedded", f"--dest={path}", *TURNED[by]]
    step("dataset_preprocessing/filter_by_gaze.py", flags, commands, path.exists())
    return path


def step(script: str, flags: Sequence[str], commands: list[str], done: bool = False) -> None:
    """Runs one command that a user could type, and notes it; done: an earlier run has."""
    shown = shlex.join(["python", script, *flags])
    if done:
        commands.append(shown)
        return
    click.echo(f"$ {shown}")
    if subprocess.run([sys.executable, str(REPOSITORY / script), *flags]).returncode:
        raise ValueError(f"this command failed, see above: {shown}")
    commands.append(shown)


if __name__ == "__main__":
    main()
