"""What a run leaves in its folder: lines of stats.jsonl, snapshots, pictures, and the state to go on from.

Rank 0 writes; every process calls the same methods, for what is written is gathered from all. A state is written last:
what a killed run had written after its last one is dropped, or written again, when the run goes on. As metrics may take
hours, there is one before them too, which says that its tick is still to be written (Trainer.tick_unfinished).
"""

import contextlib
import fcntl
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from eg3d.checkpoints import loading as checkpoint
from eg3d.config.run import to_dict
from eg3d.running import distributed
from eg3d.training.health import Health
from eg3d.training.snapshots import STOPPED, gaze_scores, prune, write_grid
from eg3d.training.stats import append_line, drop_lines_after, finite, read_lines
from eg3d.training.trainer import STATE_FILE, Trainer
from groundwork.files import atomic_write

STATS_FILE, OPTIONS_FILE = "stats.jsonl", "training_options.json"
FAILED_STATE_FILE = "training-state-not-finite.pt"
OWN_NAMES = (STATE_FILE, FAILED_STATE_FILE, STATS_FILE, OPTIONS_FILE, "network-snapshot-", "fakes", "metric-")


class Records:
    """The files of one run, which it has for itself while the `with` block lasts.

    measure: `measure(G_ema, snapshot file, images seen)` -> lines of metric-NAME.jsonl, called by all processes.
    locked: whether the caller has it already, by `held`.
    """

    def __init__(self, outdir: Path, trainer: Trainer, measure: Callable | None = None, locked: bool = False):
        self.outdir, self.trainer, self.watch, self.measure = outdir, trainer, trainer.config.watch, measure
        self._start = self._last = self._saved = time.perf_counter()
        self._images = trainer.images_seen
        self._locked, self._tensorboard, self._open_files = locked, None, contextlib.ExitStack()

    def __enter__(self):
        distributed.by_first(self._open)
        return self

    def __exit__(self, *_):
        if self._tensorboard is not None:
            self._tensorboard.close()
        self._open_files.close()

    def _open(self) -> None:
        config, images_seen = self.trainer.config, self.trainer.images_seen
        if not self._locked:
            self._open_files.enter_context(held(self.outdir))
        with writable(self.outdir):
            atomic_write(self.outdir / OPTIONS_FILE, (json.dumps(to_dict(config), indent=2) + "\n").encode())
        for path in self.outdir.glob(".*"):  # temporary files of a killed process
            if path.name[1:].startswith(OWN_NAMES):
                path.unlink()
        images_written = images_seen - 1 if self.trainer.tick_unfinished else images_seen
        for path in (self.outdir / STATS_FILE, *self.outdir.glob("metric-*.jsonl")):
            drop_lines_after(path, images_written)
        self._health = Health(read_lines(self.outdir / STATS_FILE))
        if self.watch.tensorboard:
            self._tensorboard = tensorboard_writer(self.outdir, images_written)

    def seconds(self) -> float:
        """Since the start of this process."""
        return time.perf_counter() - self._start

    def tick(self, snapshot: bool, keep_state: bool) -> str:
        """One line of statistics; with `snapshot` weights, picture and scores; returns the few numbers worth watching.

        keep_state: whether the present state is worth going on from.
        """
        trainer = self.trainer
        distributed.check_equal(trainer.networks())
        trainer.stats.collect()
        snapshot, more, measured = snapshot and keep_state, peak_memory(trainer.device), []
        if snapshot:
            more |= distributed.by_first(lambda: self._snapshot(score=True)) or {}
            if self.measure is not None:
                trainer.tick_unfinished = True
                distributed.by_first(self._save_state)
                measured = self.measure(trainer.G_ema, self._snapshot_path(), trainer.images_seen)
        trainer.tick_unfinished = False
        return distributed.by_first(lambda: self._tick(snapshot, keep_state, more, measured)) or ""

    def finish_tick(self) -> None:
        """The tick at which the run was cut off while its metrics were measured: measures them, and writes its line."""
        if self.trainer.tick_unfinished:
            self.tick(snapshot=True, keep_state=True)

    def _tick(self, snapshot: bool, keep_state: bool, more: dict[str, float], measured: list[dict]) -> str:
        trainer = self.trainer
        for record in measured:
            append_line(self.outdir / f"metric-{record['metric']}.jsonl", record)
            more |= {f"Metrics/{name}": value for name, value in record["results"].items()}
        line = self._line(more)
        append_line(self.outdir / STATS_FILE, line)
        if self._tensorboard is not None:
            for name, value in line.items():
                if name != "timestamp" and value["mean"] is not None:
                    self._tensorboard.add_scalar(name, value["mean"], trainer.images_seen, line["timestamp"])
            self._tensorboard.flush()
        due = time.perf_counter() - self._saved > 60 * self.watch.state_minutes
        if snapshot or (keep_state and due):  # after the line, which took the statistics, so that none counts twice
            self._save_state()
        if snapshot and self.watch.keep is not None:
            prune(self.outdir, self.watch.keep, read_lines(self.outdir / STATS_FILE))
        for warning in self._health.warnings(line):
            tqdm.write(f"warning: after {trainer.images_seen} images {warning}", file=sys.stderr)
        return summary(line)

    def stop(self, keep_state: bool) -> None:
        """State and snapshot of a run that ends before its time; neither where they are not worth going on from."""
        if not keep_state:
            return
        distributed.check_equal(self.trainer.networks())
        self.trainer.stats.collect()

        def write():
            self._save_state()
            self._snapshot(score=False)

        distributed.by_first(write)

    def give_up(self) -> None:
        """Raises ValueError, for losses are not finite; as gradients are cleaned of NaN, nothing else would show it."""
        trainer = self.trainer
        trainer.stats.collect()

        def write():
            name = trainer.stats.not_finite() or "a loss"
            good = max(self.outdir.glob("network-snapshot-*.safetensors"), default="none")
            checkpoint.save_state(self.outdir / FAILED_STATE_FILE, trainer.state())
            raise ValueError(
                f"{name} is not finite after {trainer.images_seen} images (last good snapshot: {good}; state of this "
                f"moment: {FAILED_STATE_FILE}); start another --outdir, from that snapshot by --resume, with lower "
                "--glr and --dlr"
            )

        distributed.by_first(write)

    def _save_state(self) -> None:
        checkpoint.save_state(self.outdir / STATE_FILE, self.trainer.state())
        self.trainer.images_saved = self.trainer.images_seen
        self._saved = time.perf_counter()

    def _snapshot(self, score: bool) -> dict[str, float]:
        """Weights, picture and, where there is a network to measure them, gaze scores, which it returns."""
        trainer = self.trainer
        picture = self.outdir / f"fakes{trainer.images_seen // 1000:06d}.png"
        if not score and picture.exists():
            return {}  # the scored one of this thousand stays as it was scored; the state has the present weights
        facts = trainer.facts() | ({} if score else {STOPPED: True})
        checkpoint.save_snapshot(self._snapshot_path(), trainer.networks(), facts)
        if not score:
            return {}
        write_grid(picture, trainer.G_ema)
        if trainer.gaze.network is None:
            return {}
        return gaze_scores(trainer.G_ema, trainer.gaze.network, trainer.gaze.config.crop)

    def _snapshot_path(self) -> Path:
        return self.outdir / f"network-snapshot-{self.trainer.images_seen // 1000:06d}.safetensors"

    def _line(self, more: dict[str, float]) -> dict:
        """Statistics since the last line, with position and speed."""
        trainer, now = self.trainer, time.perf_counter()
        spent, images = now - self._last, trainer.images_seen - self._images
        self._last, self._images = now, trainer.images_seen
        plain = {
            "Progress/tick": trainer.tick,
            "Progress/kimg": trainer.images_seen / 1000,
            "Progress/blur_sigma": trainer.blur_sigma,
            "Progress/raw_resolution": trainer.raw_resolution,
            "Progress/augment": trainer.strength.p,
            "Timing/total_sec": now - self._start,
            "Timing/sec_per_tick": spent,
            "Timing/sec_per_kimg": spent / images * 1000 if images else None,
            **more,
        }
        line = trainer.stats.line()
        line |= {name: {"num": 1, "mean": None if v is None else finite(v), "std": 0.0} for name, v in plain.items()}
        return line | {"timestamp": time.time()}


@contextlib.contextmanager
def held(outdir: Path) -> Iterator[None]:
    """The folder of a run, made where there is none, for this process alone; one that stays empty goes again."""
    made, handle = [path for path in (outdir, *outdir.parents) if not path.exists()], None
    try:
        with writable(outdir):
            outdir.mkdir(parents=True, exist_ok=True)
            handle = lock(outdir)
        yield
    finally:
        # The innermost first, and while it is locked, lest another process takes a folder that goes. One that another
        # process has locked is that one's.
        for path in made if handle is not None else made[1:]:
            with contextlib.suppress(OSError):
                path.rmdir()
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def writable(outdir: Path) -> Iterator[None]:
    """Errors of the system inside as one ValueError about --outdir."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"--outdir={outdir}: cannot write there ({error.strerror}); give another folder") from None


def lock(folder: Path) -> int:
    """Takes the folder for this process until it ends, however it ends; ValueError when another one has it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_nlink == 0:  # the other process has just removed it
            raise BlockingIOError
    except BlockingIOError:
        os.close(handle)
        raise ValueError(
            f"--outdir={folder}: another process trains there; wait for it, or give another folder"
        ) from None
    except OSError:
        pass  # a file system without locks
    return handle


def peak_memory(device: torch.device) -> dict[str, float]:
    """The highest use of memory by any process so far, GB."""
    peaks = {"Resources/cpu_mem_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    if device.type == "cuda":
        peaks["Resources/peak_gpu_mem_gb"] = torch.cuda.max_memory_allocated(device) / 2**30
    everywhere = distributed.gather(peaks)
    return {name: max(other[name] for other in everywhere) for name in peaks}


def check_tensorboard() -> None:
    """ValueError where the package is missing."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise ValueError(
            "--tensorboard=True needs a package that is missing: pip install -e '.[tensorboard]', or drop the flag"
        ) from None


def tensorboard_writer(outdir: Path, images_seen: int):
    """A TensorBoard writer that forgets what a killed run wrote after its last state."""
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(outdir / "tensorboard"), purge_step=images_seen + 1 if images_seen else None)


def summary(line: dict) -> str:
    """The few numbers worth watching, for the progress bar."""
    short = {
        "G": "Loss/G/loss",
        "D": "Loss/D/loss",
        "r1": "Loss/r1_penalty",
        "gaze": "Loss/G/gaze_loss",
        "slope": "GFAS/slope",
    }
    parts = [f"{k} {line[v]['mean']:.3g}" for k, v in short.items() if v in line and line[v]["mean"] is not None]
    return " ".join(parts)
