"""The training loop: `train` makes a `Trainer` and steps it to the end, with records and clean stops."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from eg3d.config.run import TrainConfig
from eg3d.data.dataset import ImageDataset
from eg3d.running import distributed
from eg3d.running.allocator import keep_freed_memory
from eg3d.training.records import Records
from eg3d.training.trainer import Trainer

TIME_UP = 75  # exit code of a run stopped by its time limit: EX_TEMPFAIL, "try again"


def train(
    config: TrainConfig,
    outdir: Path,
    dataset: ImageDataset,
    device: torch.device,
    state: dict | None = None,
    gaze_estimator=None,
    stop_after_s: float | None = None,
    measure: Callable | None = None,
    locked: bool = False,
) -> Trainer:
    """Runs `config` until its kimg are seen, a signal arrives or the time is up; returns the trainer.

    Every process of a run calls it alike; its `stop_code` says what ended it, 0 for kimg reached.

    Args:
        outdir: where snapshots, pictures, stats and the training state go.
        state: of a stopped run (checkpoint.load_state); the run goes on exactly as if it had not stopped.
        gaze_estimator: frozen network of the gaze term, needed when its weight is above 0; else it only scores.
        stop_after_s: stop and save after so many seconds; no schedule depends on it.
        locked: whether the caller holds the folder (records.held), as it must to read a state from it.
        measure: what else scores a snapshot, see `Records`; it must not change what is computed.
    """
    set_numerics(config.benchmark)
    trainer = Trainer(config, dataset, device, state, gaze_estimator)
    goes_on = state is not None
    del state  # as large as the networks and optimisers that now hold it
    for note in trainer.notes:
        tqdm.write(f"--resume: {note}", file=sys.stderr)
    distributed.together(dataset.keep_if_small)
    total, failing = int(config.kimg * 1000), 0
    with (
        Records(outdir, trainer, measure, locked) as records,
        stop_requests() as stop,
        progress_bar(trainer.images_seen, total) as bar,
    ):
        if goes_on and distributed.rank() == 0:  # nothing refuses any more
            tqdm.write(f"going on with the run in {outdir} after {trainer.images_seen} images")
        records.finish_tick()
        while trainer.images_seen < total and not trainer.stop_code:
            trainer.step()
            bar.update(config.batch)
            late = stop_after_s is not None and records.seconds() > stop_after_s
            # What one process has noticed all do, at the same step.
            code, bad = distributed.largest(stop.code or TIME_UP * late, not trainer.finite)
            done = trainer.images_seen >= total
            trainer.stop_code, failing = 0 if done else code, failing + 1 if bad else 0
            # Before a stop is heeded, for a stop says that the same command goes on. Fewer bad steps leave the last
            # good state, from which they come again.
            if failing >= config.watch.bad_steps or (failing and done):
                records.give_up()
            if done or trainer.at_tick:
                snapshot = done or trainer.tick % config.snap == 0
                bar.set_postfix_str(records.tick(snapshot, keep_state=not failing))
        if trainer.stop_code:
            records.stop(keep_state=not failing)
    return trainer


def set_numerics(benchmark: bool) -> None:
    """As published: full float32 in matrix products and convolutions; cuDNN may time its algorithms.

    Memory that a step frees is kept for the next, see eg3d.running.allocator.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = benchmark
    keep_freed_memory()


def progress_bar(images_seen: int, total: int) -> tqdm:
    """Images, time left and images/s, on rank 0."""
    first = distributed.rank() == 0
    return tqdm(total=total, initial=images_seen, unit="img", smoothing=0.02, mininterval=2, disable=not first)


class StopRequest:
    """The exit code that a signal asks for, 0 before one has come."""

    def __init__(self):
        self.code, self._since = 0, 0.0

    def __call__(self, signum, frame) -> None:
        # A second signal interrupts, but a terminal and torchrun both pass the same one on.
        if self.code and time.monotonic() - self._since > 1:
            raise KeyboardInterrupt
        if not self.code:
            self.code, self._since = 128 + signum, time.monotonic()


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Ctrl-C and SIGTERM as requests, so that the running step can end and be saved; a second one interrupts."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
