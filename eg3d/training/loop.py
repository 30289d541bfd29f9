"""The training loop: `train` makes a `Trainer`, steps it to the end, keeps records and stops cleanly."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from eg3d.config.run import TrainConfig
from eg3d.data.dataset import ImageDataset
from eg3d.running import distributed
from eg3d.running.allocator import keep_freed_memory
from eg3d.training.progress import Progress
from eg3d.training.records import Records
from eg3d.training.schedules import at_tick, ticks_passed
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
    notes: Sequence[str] = (),
) -> tuple[Trainer, Progress]:
    """Runs `config` until its kimg are seen, a signal arrives or the time is up; every process of a run calls it alike.

    Args:
        outdir: the folder for snapshots, pictures, stats and the training state.
        state: of a stopped run (checkpoint.load_state); the run goes on exactly as if it had not stopped.
        gaze_estimator: frozen network of the gaze term, needed if its weight is above 0; else it only scores.
        stop_after_s: the run saves and stops after so many seconds; no schedule depends on it.
        measure: what else scores a snapshot, see `Records`; it must not change what is computed.
        notes: lines for the user, said when everything has been checked.
        locked: whether the caller has locked the folder (`groundwork.held_folder`), as it must to read a state from it.
    Returns: the trainer after its last step, and how the run ended.
    """
    set_numerics(config.benchmark)
    trainer, progress = Trainer(config, dataset, device, state, gaze_estimator), Progress.of(state)
    goes_on = state is not None
    del state  # it is as large as the networks and optimisers that now hold it
    for note in trainer.notes:
        tqdm.write(f"--resume: {note}", file=sys.stderr)
    distributed.together(dataset.keep_if_small)
    total = int(config.kimg * 1000)
    with (
        Records(outdir, trainer, progress, measure, locked) as records,
        stop_requests() as stop,
        progress_bar(trainer.images_seen, total) as bar,
    ):
        if goes_on and distributed.rank() == 0:  # everything has been checked
            tqdm.write(f"going on with the run in {outdir} after {trainer.images_seen} images")
        distributed.tell_once(notes)
        records.finish_tick()
        while trainer.images_seen < total and not progress.stop_code:
            trainer.step()
            bar.update(config.batch)
            late = stop_after_s is not None and records.seconds() > stop_after_s
            # One process may notice a stop or a bad loss; all of them act on it, at the same step.
            code, bad = distributed.largest(stop.code or TIME_UP * late, not trainer.finite)
            done = trainer.images_seen >= total
            progress.after_step(finite=not bad)
            progress.stop_code = 0 if done else code
            # This comes before the stop, because a stop promises that the same command goes on. After fewer bad steps
            # no state is written, so the run would go on from the last good one and make those steps again.
            if progress.bad_steps >= config.watch.bad_steps or (done and not progress.healthy):
                records.give_up()
            if done or at_tick(trainer.images_seen, config.batch, config.tick):
                ticks = ticks_passed(trainer.images_seen, config.tick)
                bar.set_postfix_str(records.tick(snapshot=done or ticks % config.snap == 0))
        if progress.stop_code:
            records.stop()
    return trainer, progress


def set_numerics(benchmark: bool) -> None:
    """As published: matrix products and convolutions in full float32; cuDNN may time its algorithms.

    Memory that a step frees is kept for the next one, see eg3d.running.allocator.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = benchmark
    keep_freed_memory()


def progress_bar(images_seen: int, total: int) -> tqdm:
    """Shows images, time left and images per second, on rank 0."""
    first = distributed.rank() == 0
    return tqdm(total=total, initial=images_seen, unit="img", smoothing=0.02, mininterval=2, disable=not first)


class StopRequest:
    """Holds the exit code that a signal asks for; 0 until there is one."""

    def __init__(self):
        self.code, self._since = 0, 0.0

    def __call__(self, signum, frame) -> None:
        # A second signal interrupts. But one Ctrl-C can arrive twice, from the terminal and from torchrun.
        if self.code and time.monotonic() - self._since > 1:
            raise KeyboardInterrupt
        if not self.code:
            self.code, self._since = 128 + signum, time.monotonic()


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Makes Ctrl-C and SIGTERM requests, so that the running step can end and be saved; a second one interrupts."""
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
