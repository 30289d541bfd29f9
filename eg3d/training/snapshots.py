"""What a run writes at every snapshot: weights, a picture, and how the eyes behave."""

import subprocess
from pathlib import Path

from eg3d.checkpoints.loading import open_checkpoint
from eg3d.metrics.gfas import gaze_face_alignment
from eg3d.models.generator import TriPlaneGenerator
from eg3d.pictures.layout import tiles, to_uint8, write_png
from eg3d.pictures.views import ViewOptions, render_views
from groundwork.files import REPOSITORY

GRID_SEEDS = range(8)  # one row each
GRID_CAMERAS = [(yaw, 0.0) for yaw in (-0.5, -0.25, 0.0, 0.25, 0.5)]  # one column each
SLOPE_SEEDS = range(1000, 1032)
SCORE = "GFAS/mse_sum"  # lower is better
STOPPED = "stopped"  # fact of a snapshot that a stop has left


def prune(outdir: Path, keep: int, lines: list[dict]) -> None:
    """Deletes all snapshots but the last `keep` and the one with the best score in the lines of stats.jsonl.

    Called after a regular one: those that stops have left have had their time, and do not count.
    """
    paths = sorted(outdir.glob("network-snapshot-*.safetensors"))
    best = best_snapshot(lines)
    stopped = [path for path in paths if left_by_a_stop(path)]
    for path in stopped + [path for path in paths if path not in stopped][:-keep]:
        if path.name != best:
            path.unlink()


def left_by_a_stop(path: Path) -> bool:
    """Whether a snapshot's own header says that it is not a regular one."""
    try:
        return open_checkpoint(path).facts.get(STOPPED) is True
    except (ValueError, OSError):
        return False


def best_snapshot(lines: list[dict]) -> str | None:
    """File name of the snapshot with the lowest gaze score, the later of equals; None when none has been measured."""
    scored = [line for line in lines if line.get(SCORE, {}).get("mean") is not None]
    if not scored:
        return None
    best = min(reversed(scored), key=lambda line: line[SCORE]["mean"])
    return f"network-snapshot-{int(1000 * best['Progress/kimg']['mean'] + 0.5) // 1000:06d}.safetensors"


def write_grid(path: Path, G_ema: TriPlaneGenerator) -> None:
    """The same identities over the same cameras at every snapshot: rows are seeds, columns yaw."""
    views = render_views(G_ema, GRID_SEEDS, GRID_CAMERAS, ViewOptions(psi=1.0), batch_size=4)
    write_png(path, tiles([image for batch in views for image in to_uint8(batch.images)], columns=len(GRID_CAMERAS)))


def gaze_scores(G_ema: TriPlaneGenerator, estimator, crop: str) -> dict[str, float]:
    """Score and slope of the eyes by the network in the loss; another judge (calc_gfas.py) may differ."""
    report = gaze_face_alignment(render_views(G_ema, SLOPE_SEEDS), estimator, crop)
    return {SCORE: report.gfas_mse_sum, "GFAS/slope": report.slope}


def git_commit() -> str | None:
    """The commit this code is at, `-dirty` when edited; None outside a checkout."""
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
