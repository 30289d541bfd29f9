"""The folder of a run: the names of its files, and how one process keeps it for itself."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
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


@contextlib.contextmanager
def held(outdir: Path) -> Iterator[None]:
    """Makes the folder if it is missing, and locks it for this process; deletes it at the end if it is still empty."""
    made, handle = [path for path in (outdir, *outdir.parents) if not path.exists()], None
    try:
        with writable(outdir):
            outdir.mkdir(parents=True, exist_ok=True)
            handle = lock(outdir)
        yield
    finally:
        # The innermost folder is deleted first, and while it is locked, so that no other process takes it meanwhile.
        # If another process has the lock, the folder is that one's.
        for path in made if handle is not None else made[1:]:
            with contextlib.suppress(OSError):
                path.rmdir()
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def writable(outdir: Path) -> Iterator[None]:
    """Turns an error of the system inside into one ValueError about --outdir."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"--outdir={outdir}: cannot write there ({error.strerror}); give another folder") from None


def lock(folder: Path) -> int:
    """Locks the folder for this process until it ends, however it ends; ValueError if another process has the lock."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_nlink == 0:  # the other process has just deleted it
            raise BlockingIOError
    except BlockingIOError:
        os.close(handle)
        raise ValueError(
            f"--outdir={folder}: another process trains there; wait for it, or give another folder"
        ) from None
    except OSError:
        pass  # a file system without locks
    return handle
