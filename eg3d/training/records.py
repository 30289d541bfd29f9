"""What a run writes into its folder: lines of stats.jsonl, snapshots, pictures, and the state that it goes on from.

Every process calls the same methods, because numbers are collected from all of them. Rank 0 alone writes.

The state is written last. If a run is killed, its last state is the truth: lines of later steps are deleted, and the
steps are made again. Metrics may take hours, so a state is also written before them. That one says that its tick is not
over (`Progress.tick_unfinished`); a run that goes on from it measures the metrics again, and makes no step twice.
"""

import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm

from eg3d.checkpoints import loading as checkpoint
from eg3d.config.run import to_dict
from eg3d.running import distributed
from eg3d.training import run_folder
from eg3d.training.health import Health
from eg3d.training.progress import Progress
from eg3d.training.schedules import ticks_passed
from eg3d.training.snapshots import STOPPED, gaze_scores, prune, write_grid
from eg3d.training.stats import append_line, drop_lines_after, finite, read_means
from eg3d.training.trainer import Trainer
from groundwork.files import atomic_write
from groundwork.held_folder import held, writable


class Records:
    """Writes the files of one run; no other process can train in the folder inside the `with` block.

    Args:
        progress: of this run; a state that is written holds it too.
        measure: `measure(G_ema, snapshot file, images seen)` -> lines of metric-NAME.jsonl, called by all processes.
        locked: whether the caller has locked the folder already (`groundwork.held_folder`).
    """

    def __init__(
        self, outdir: Path, trainer: Trainer, progress: Progress, measure: Callable | None = None, locked: bool = False
    ):
        self.outdir, self.trainer, self.progress, self.measure = outdir, trainer, progress, measure
        self.watch = trainer.config.watch
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
            options = json.dumps(to_dict(config) | {"sizes": self.trainer.sizes}, indent=2) + "\n"
            atomic_write(self.outdir / run_folder.OPTIONS_FILE, options.encode())
        run_folder.delete_temporary_files(self.outdir)
        # The line of an unfinished tick is written again.
        images_written = images_seen - 1 if self.progress.tick_unfinished else images_seen
        for path in run_folder.lined_paths(self.outdir):
            drop_lines_after(path, images_written)
        self._health = Health(read_means(self._stats_path))
        if self.watch.tensorboard:
            self._tensorboard = tensorboard_writer(self.outdir, images_written)

    @property
    def _stats_path(self) -> Path:
        return self.outdir / run_folder.STATS_FILE

    @property
    def _snapshot_path(self) -> Path:
        return run_folder.snapshot_path(self.outdir, self.trainer.images_seen)

    def seconds(self) -> float:
        """Since the start of this process."""
        return time.perf_counter() - self._start

    def tick(self, snapshot: bool) -> str:
        """Writes one line of statistics; returns the few numbers worth watching.

        snapshot: write weights, picture and scores too, unless a loss is not finite.
        """
        trainer, progress = self.trainer, self.progress
        distributed.check_equal(trainer.networks())
        trainer.stats.collect()
        snapshot, more, measured = snapshot and progress.healthy, peak_memory(trainer.device), []
        if snapshot:
            more |= distributed.by_first(lambda: self._write_snapshot(score=True)) or {}
            if self.measure is not None:
                progress.tick_unfinished = True
                distributed.by_first(self._write_state)
                measured = self.measure(trainer.G_ema, self._snapshot_path, trainer.images_seen)
        progress.tick_unfinished = False
        return distributed.by_first(lambda: self._write_tick(snapshot, more, measured)) or ""

    def finish_tick(self) -> None:
        """Measures the metrics and writes the line of a tick if the run was killed while it measured them."""
        if self.progress.tick_unfinished:
            self.tick(snapshot=True)

    def _write_tick(self, snapshot: bool, more: dict[str, float], measured: list[dict]) -> str:
        trainer = self.trainer
        for record in measured:
            append_line(run_folder.metric_path(self.outdir, record["metric"]), record)
            more |= {f"Metrics/{name}": value for name, value in record["results"].items()}
        line = self._line(more)
        append_line(self._stats_path, line)
        if self._tensorboard is not None:
            for name, value in line.items():
                if name != "timestamp" and value["mean"] is not None:
                    self._tensorboard.add_scalar(name, value["mean"], trainer.images_seen, line["timestamp"])
            self._tensorboard.flush()
        due = time.perf_counter() - self._saved > 60 * self.watch.state_minutes
        if snapshot or (self.progress.healthy and due):  # the line has emptied the statistics, so none counts twice
            self._write_state()
        if snapshot and self.watch.keep is not None:
            prune(self.outdir, self.watch.keep, read_means(self._stats_path), trainer.facts())
        for warning in self._health.warnings(line):
            tqdm.write(f"warning: after {trainer.images_seen} images {warning}", file=sys.stderr)
        return summary(line)

    def stop(self) -> None:
        """Writes state and snapshot of a run that is stopped; neither if a loss is not finite."""
        if not self.progress.healthy:
            return
        distributed.check_equal(self.trainer.networks())
        self.trainer.stats.collect()

        def write():
            self._write_state()
            self._write_snapshot(score=False)

        distributed.by_first(write)

    def give_up(self) -> None:
        """Raises ValueError: losses are not finite. Gradients are cleaned of NaN, so nothing else would show it."""
        trainer = self.trainer
        trainer.stats.collect()

        def write():
            name = trainer.stats.not_finite() or "a loss"
            good = max(run_folder.snapshot_paths(self.outdir), default="none")
            checkpoint.save_state(self.outdir / run_folder.FAILED_STATE_FILE, self._state())
            raise ValueError(
                f"{name} is not finite after {trainer.images_seen} images (last good snapshot: {good}; state of this "
                f"moment: {run_folder.FAILED_STATE_FILE}); start another --outdir, from that snapshot by --resume, "
                "with lower --glr and --dlr"
            )

        distributed.by_first(write)

    def _state(self) -> dict:
        return self.trainer.state() | self.progress.state()

    def _write_state(self) -> None:
        checkpoint.save_state(self.outdir / run_folder.STATE_FILE, self._state())
        self.progress.images_saved = self.trainer.images_seen
        self._saved = time.perf_counter()

    def _write_snapshot(self, score: bool) -> dict[str, float]:
        """Writes the weights and, with `score`, a picture; returns the gaze scores if there is a network for them."""
        trainer = self.trainer
        picture = run_folder.picture_path(self.outdir, trainer.images_seen)
        if not score and picture.exists():
            return {}  # the snapshot of this thousand is scored, so it stays; the state has the present weights
        facts = trainer.facts() | ({} if score else {STOPPED: True})
        checkpoint.save_snapshot(self._snapshot_path, trainer.networks(), facts)
        if not score:
            return {}
        write_grid(picture, trainer.G_ema)
        if trainer.gaze.network is None:
            return {}
        return gaze_scores(trainer.G_ema, trainer.gaze.network, trainer.gaze.config.crop)

    def _line(self, more: dict[str, float]) -> dict:
        """Statistics since the last line, with position and speed."""
        trainer, now = self.trainer, time.perf_counter()
        spent, images = now - self._last, trainer.images_seen - self._images
        self._last, self._images = now, trainer.images_seen
        plain = {
            "Progress/tick": ticks_passed(trainer.images_seen, trainer.config.tick),
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


def peak_memory(device: torch.device) -> dict[str, float]:
    """The most memory that any process has used so far, GB."""
    peaks = {"Resources/cpu_mem_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}
    if device.type == "cuda":
        peaks["Resources/peak_gpu_mem_gb"] = torch.cuda.max_memory_allocated(device) / 2**30
    everywhere = distributed.gather(peaks)
    return {name: max(other[name] for other in everywhere) for name in peaks}


def check_tensorboard() -> None:
    """ValueError if the package is missing."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise ValueError(
            "--tensorboard=True needs a package that is missing: pip install 'gaze-corrected-eg3d[tensorboard]', or "
            "drop the flag"
        ) from None


def tensorboard_writer(outdir: Path, images_seen: int):
    """A TensorBoard writer; what a killed run wrote after its last state is hidden."""
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
