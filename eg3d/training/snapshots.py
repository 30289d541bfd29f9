"""What belongs to a snapshot: its picture, its gaze scores, and which snapshots are kept."""

import subprocess
from pathlib import Path

from eg3d.checkpoints.loading import open_checkpoint
from eg3d.metrics.gfas import gaze_face_alignment
from eg3d.models.generator import TriPlaneGenerator
from eg3d.pictures.layout import tiles, to_uint8, write_png
from eg3d.pictures.views import ViewOptions, render_views
from eg3d.training.run_folder import snapshot_path, snapshot_paths
from groundwork.files import REPOSITORY

GRID_SEEDS = range(8)  # one row each
GRID_CAMERAS = [(yaw, 0.0) for yaw in (-0.5, -0.25, 0.0, 0.25, 0.5)]  # one column each
SLOPE_SEEDS = range(1000, 1032)
SCORE = "GFAS/mse_sum"  # lower is better
SAME_RUN = ("preset", "seed", "dataset")  # facts that the snapshots of a run have in common
STOPPED = "stopped"  # this fact marks a snapshot that was written because the run was stopped


def prune(outdir: Path, keep: int, lines: list[dict], facts: dict) -> None:
    """Deletes all snapshots of a run but the last `keep` and the one with the best score in the lines of stats.jsonl.

    It is called when a regular snapshot has been written. Then those of earlier stops are of no use any more: they do
    not count, and are deleted. Snapshots of another run stay: the lines of this run name its own (`lines`), and they
    say of their making what this run's say (`facts`, of the trainer).
    """
    stopped, regular = [], []
    names, best = {_snapshot_of(line) for line in lines}, best_snapshot(lines)
    for path in snapshot_paths(outdir):
        said = facts_of(path)
        if any(said.get(fact) != facts.get(fact) for fact in SAME_RUN):
            continue
        if said.get(STOPPED) is True:
            stopped.append(path)
        elif path.name in names:
            regular.append(path)
    for path in stopped + regular[:-keep]:
        if path.name != best:
            path.unlink()


def facts_of(path: Path) -> dict:
    """What a snapshot's own header says of its making; nothing if it cannot be read."""
    try:
        return open_checkpoint(path).facts
    except (ValueError, OSError):
        return {}


def best_snapshot(lines: list[dict]) -> str | None:
    """File name of the snapshot with the lowest gaze score, the later of equals; None if none has been measured."""
    scored = [line for line in lines if line.get(SCORE, {}).get("mean") is not None]
    if not scored:
        return None
    best = min(reversed(scored), key=lambda line: line[SCORE]["mean"])
    return _snapshot_of(best)


def _snapshot_of(line: dict) -> str:
    """File name of the snapshot at the position of a line, if there is one."""
    return snapshot_path(Path(), int(1000 * line["Progress/kimg"]["mean"] + 0.5)).name


def write_grid(path: Path, G_ema: TriPlaneGenerator) -> None:
    """Draws the same identities from the same cameras at every snapshot: a row is a seed, a column a yaw."""
    views = render_views(G_ema, GRID_SEEDS, GRID_CAMERAS, ViewOptions(psi=1.0), batch_size=4)
    write_png(path, tiles([image for batch in views for image in to_uint8(batch.images)], columns=len(GRID_CAMERAS)))


def gaze_scores(G_ema: TriPlaneGenerator, estimator, crop: str) -> dict[str, float]:
    """Score and slope of the eyes, by the gaze network of the loss; a judge (calc_gfas.py) may say otherwise."""
    report = gaze_face_alignment(render_views(G_ema, SLOPE_SEEDS), estimator, crop)
    return {SCORE: report.gfas_mse_sum, "GFAS/slope": report.slope}


def git_commit() -> str | None:
    """The commit of this code, with `-dirty` if it is edited; None outside a checkout."""
    if REPOSITORY is None:  # site-packages may lie in somebody else's repository
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None
