"""The names of the files in the folder of a run."""

from pathlib import Path

STATE_FILE, FAILED_STATE_FILE = "training-state.pt", "training-state-not-finite.pt"
STATS_FILE, OPTIONS_FILE = "stats.jsonl", "training_options.json"
SNAPSHOT, PICTURE, METRIC = "network-snapshot-", "fakes", "metric-"  # how names begin
OWN_NAMES = (STATE_FILE, FAILED_STATE_FILE, STATS_FILE, OPTIONS_FILE, SNAPSHOT, PICTURE, METRIC)


def snapshot_path(outdir: Path, images_seen: int) -> Path:
    """The weights at a position; snapshots of one thousand images share a name."""
    return outdir / f"{SNAPSHOT}{images_seen // 1000:06d}.safetensors"


def snapshot_paths(outdir: Path) -> list[Path]:
    """All snapshots that are there, the oldest first."""
    return sorted(outdir.glob(f"{SNAPSHOT}*.safetensors"))


def picture_path(outdir: Path, images_seen: int) -> Path:
    """The picture that belongs to a scored snapshot."""
    return outdir / f"{PICTURE}{images_seen // 1000:06d}.png"


def metric_path(outdir: Path, metric: str) -> Path:
    """One line for each measurement of a metric."""
    return outdir / f"{METRIC}{metric}.jsonl"


def lined_paths(outdir: Path) -> list[Path]:
    """The files that get a line at a time; that of the statistics need not be there."""
    return [outdir / STATS_FILE, *outdir.glob(f"{METRIC}*.jsonl")]


def delete_temporary_files(outdir: Path) -> None:
    """Deletes the half-written files of a killed process."""
    for path in outdir.glob(".*"):
        if path.name[1:].startswith(OWN_NAMES):
            path.unlink()
