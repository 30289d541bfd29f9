"""The training loop: `train` makes a `Trainer` and steps it to the end, with snapshots, statistics and clean stops."""

import contextlib
import json
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from eg3d import checkpoint
from eg3d.config import TrainConfig, to_dict
from eg3d.files import atomic_write
from eg3d.training.dataset import ImageDataset
from eg3d.training.snapshots import gaze_scores, write_grid, write_snapshot
from eg3d.training.stats import append_line, drop_lines_after, finite
from eg3d.training.trainer import STATE_FILE, Trainer


def train(
    config: TrainConfig,
    outdir: Path,
    dataset: ImageDataset,
    device: torch.device,
    state: dict | None = None,
    gaze_estimator=None,
    stop_after_s: float | None = None,
) -> "Trainer":
    """Runs `config` until its kimg are seen, a signal arrives or the time is up; returns the trainer.

    Args:
        outdir: where snapshots, pictures, stats and the training state go.
        state: of a stopped run (checkpoint.load_state); the run goes on exactly as if it had not stopped.
        gaze_estimator: frozen network of the gaze term, needed when its weight is above 0; else it only scores.
        stop_after_s: stop and save after so many seconds; no schedule depends on it.
    """
    set_numerics(config.benchmark)
    trainer = Trainer(config, dataset, device, state, gaze_estimator)
    for note in trainer.notes:
        tqdm.write(f"--resume: {note}", file=sys.stderr)
    dataset.keep_if_small()
    open_outdir(outdir, config)
    drop_lines_after(outdir / "stats.jsonl", trainer.images_seen)
    clock = Clock(trainer.images_seen)
    total = int(config.kimg * 1000)
    with (
        stop_requests() as stop,
        tqdm(total=total, initial=trainer.images_seen, unit="img", smoothing=0.02, mininterval=2) as bar,
    ):
        while trainer.images_seen < total and not stop.is_set():
            trainer.step()
            bar.update(config.batch)
            if stop_after_s is not None and clock.seconds() > stop_after_s:
                stop.set()
            done = trainer.images_seen >= total
            if done or trainer.at_tick:
                check_losses(trainer, outdir)
                snapshot = done or trainer.tick % config.snap == 0
                scores = save_progress(trainer, outdir) if snapshot else {}
                line = clock.line(trainer, scores)
                append_line(outdir / "stats.jsonl", line)
                if snapshot:  # after the line, which took the statistics, so that none counts twice
                    checkpoint.save_state(outdir / STATE_FILE, trainer.state())
                bar.set_postfix_str(summary(line))
    if trainer.images_seen < total:
        check_losses(trainer, outdir)
        write_snapshot(outdir, trainer.images_seen // 1000, trainer.networks(), trainer.facts())
        checkpoint.save_state(outdir / STATE_FILE, trainer.state())
    return trainer


def set_numerics(benchmark: bool) -> None:
    """As published: full float32 in matrix products and convolutions; cuDNN may time its algorithms."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = benchmark


def open_outdir(outdir: Path, config: TrainConfig) -> None:
    """Makes the run's folder with the whole configuration in it; ValueError when it cannot be written."""
    try:
        atomic_write(outdir / "training_options.json", (json.dumps(to_dict(config), indent=2) + "\n").encode())
    except OSError as error:
        raise ValueError(f"--outdir={outdir}: cannot write there ({error.strerror}); give another folder") from None


def check_losses(trainer: Trainer, outdir: Path) -> None:
    """ValueError when a loss is not finite: gradients are cleaned of NaN, so that nothing else would show it."""
    name = trainer.stats.not_finite()
    if name is not None:
        good = max(outdir.glob("network-snapshot-*.safetensors"), default="none")
        raise ValueError(
            f"{name} is not finite after {trainer.images_seen} images (last good snapshot: {good}); "
            "start another --outdir, from that snapshot by --resume, with lower --glr and --dlr"
        )


def save_progress(trainer: Trainer, outdir: Path) -> dict[str, float]:
    """Snapshot and picture; returns gaze scores where there is a network to measure them."""
    kimg = trainer.images_seen // 1000
    write_snapshot(outdir, kimg, trainer.networks(), trainer.facts())
    write_grid(outdir / f"fakes{kimg:06d}.png", trainer.G_ema)
    if trainer.gaze_estimator is None:
        return {}
    return gaze_scores(trainer.G_ema, trainer.gaze_estimator, trainer.config.gaze.crop)


class Clock:
    """Turns statistics into one line of stats.jsonl, with the speed since the last one."""

    def __init__(self, images_seen: int):
        self._start = self._last = time.perf_counter()
        self._images = images_seen

    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def line(self, trainer: Trainer, scores: dict[str, float]) -> dict:
        now = time.perf_counter()
        spent, images = now - self._last, trainer.images_seen - self._images
        self._last, self._images = now, trainer.images_seen
        plain = {
            "Progress/tick": trainer.tick,
            "Progress/kimg": trainer.images_seen / 1000,
            "Progress/blur_sigma": trainer.blur_sigma,
            "Progress/raw_resolution": trainer.raw_resolution,
            "Timing/total_sec": now - self._start,
            "Timing/sec_per_tick": spent,
            "Timing/sec_per_kimg": spent / images * 1000 if images else None,
            "Resources/cpu_mem_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            **(
                {"Resources/peak_gpu_mem_gb": torch.cuda.max_memory_allocated() / 2**30}
                if trainer.device.type == "cuda"
                else {}
            ),
            **scores,
        }
        line = trainer.stats.line()
        line |= {name: {"num": 1, "mean": None if v is None else finite(v), "std": 0.0} for name, v in plain.items()}
        return line | {"timestamp": time.time()}


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


@contextlib.contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the running step can end and be saved; a second one interrupts."""
    stop = threading.Event()

    def request(signum, frame):
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
