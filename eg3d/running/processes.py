"""Scripts on several processes (`--gpus=N`, torchrun): how they start, and how work is shared out.

A script's `main` holds its options, `check` what can be wrong with them, and `run` is what each process does.
"""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence

from tqdm import tqdm

from eg3d.ops.kernels.backend import chosen, using
from eg3d.running import distributed
from eg3d.running.cli import pick_device


def start(run: Callable, check: Callable, gpus: int | None, wait_minutes: float, device: str, **options) -> None:
    """Does `run(device=..., **options)` in each process and ends the command with its exit code.

    Args:
        run: a module's function, for new processes look it up by name; the device it gets is its own.
        check: `check(**options)` raises what is wrong with them; done by one process, before others start or load.
    """
    count = distributed.check_count(gpus) or 1
    if not distributed.started_outside():
        check(**options)
    device = pick_device(device)
    sys.exit(distributed.launch(_as_process, (run, check, device, chosen(), options), count, device, wait_minutes))


def _as_process(run: Callable, check: Callable, device, ops: str, options: dict) -> int:
    if distributed.started_outside():
        distributed.by_first(lambda: check(**options))
    with warnings.catch_warnings(), using(ops):
        if distributed.rank() > 0:
            warnings.simplefilter("ignore")  # rank 0 says the same
        run(device=distributed.device_of(device), **options)
    return 0


def batches(items: Sequence, batch: int, work: Callable, title: str | None, unit: str = "img") -> Iterator:
    """`work(part)` of every `batch` items; yields the results in the items' order on rank 0, and nothing elsewhere.

    The parts are those of a single process, taken in turn, so that roundings which depend on a batch are the same ones
    for any number of processes. An error of a user in one process ends all.
    Args:
        work: its results pickle; tensors in them are on the CPU.
        title: of a progress bar; None shows none.
    """
    size, rank = distributed.size(), distributed.rank()
    parts = [items[first : first + batch] for first in range(0, len(items), batch)]
    with tqdm(total=len(items), desc=title, unit=unit, disable=title is None or rank > 0) as bar:
        for first in range(0, len(parts), size):
            turn = parts[first : first + size]
            mine = turn[rank : rank + 1]  # none, for some, in the last turn
            found = distributed.to_first(distributed.together(lambda mine=mine: [work(part) for part in mine]))
            yield from (result for results in found or [] for result in results)
            bar.update(sum(map(len, turn)))
