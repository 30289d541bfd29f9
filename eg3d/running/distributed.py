"""The processes of one run: how they start, what they tell each other, and how they end together.

A run of N processes has the ranks 0 .. N - 1, one for each GPU. `launch` starts them on this machine (`--gpus=N`); they
meet through a file and talk over the loopback interface, so no other machine can reach them. If torchrun has started
them, on one machine or several, `launch` joins them (RANK, WORLD_SIZE, ... in the environment), and the addresses are
the user's. A process that runs alone is rank 0 of 1; for it everything here does nothing. Gradients on GPUs travel by
NCCL; everything else, and all control messages, by gloo.

Nothing here knows what a run does. There are three rules: every process calls the same functions in the same order;
only rank 0 writes; if one process ends, all end.
"""

import contextlib
import datetime
import io
import os
import pickle
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import connection, get_context, parent_process
from pathlib import Path

import click
import torch
import torch.distributed as dist
from torch import nn

from groundwork.command import Command, end_bars, pick_device, tell
from groundwork.early import STOPS, ended_by
from groundwork.workers import signals_held_back

LOST = 71  # exit code of a process that ends because it has lost another one
AGAIN = "the same command goes on from the last saved state, or starts anew where nothing is saved"
GRACE_S = 20  # after one process has failed, the others have so long to end by themselves


class LostProcess(RuntimeError):
    """Another process of this run has ended, or has not answered in time."""


# ------------------------------------------------------------------ who am I


def rank() -> int:
    """The number of this process; rank 0 writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes the run has."""
    return dist.get_world_size() if dist.is_initialized() else 1


def block(batch: int) -> range:
    """The indices in a global batch that this process works on; rank r has block r of equal blocks."""
    each = batch // size()
    assert each * size() == batch, f"a batch of {batch} for {size()} processes"
    return range(rank() * each, (rank() + 1) * each)


def started_outside() -> bool:
    """Whether torchrun, or a program like it, has started this process as one of several."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def first_started() -> bool:
    """Whether this is rank 0; can be asked before the processes talk."""
    return not started_outside() or os.environ["RANK"] == "0"


def check_count(asked: int | None) -> int | None:
    """The number of processes: that of torchrun if it has started them, else `asked`; ValueError if the two differ."""
    if not started_outside():
        return asked
    given = int(os.environ["WORLD_SIZE"])
    if asked not in (None, given):
        if not first_started():
            sys.exit(2)  # every process finds this error; rank 0 reports it
        raise ValueError(
            f"--gpus={asked}, but torchrun has started {given} processes; leave --gpus out, or make it {given}"
        )
    return given


# ------------------------------------------------------------------ talking


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    """Turns the failure of a collective call into LostProcess."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise LostProcess(
            f"rank {rank()} of {size()}: another process of this run has ended or does not answer ({reason}); {AGAIN}"
        ) from None


def add_up(tensors: list[torch.Tensor]) -> None:
    """Replaces each tensor by its sum over all processes, in one flat message; they share dtype and device."""
    if size() == 1 or not tensors:
        return
    flat = torch.cat([t.detach().reshape(-1) for t in tensors])
    with _listening():
        dist.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.detach().copy_(total.view(tensor.shape))


def largest(*numbers: int) -> list[int]:
    """The maximum of each number over all processes. So all learn of something that only one has noticed."""
    if size() == 1:
        return list(numbers)
    values = torch.tensor(numbers)
    with _listening():
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return values.tolist()


def gather(value) -> list:
    """The values of all processes, by rank, in every process. They must pickle; tensors must be on the CPU."""
    values = [value]
    if size() > 1:
        values = [None] * size()
        with _listening():
            dist.all_gather_object(values, value)
    return values


def to_first(value) -> list | None:
    """Like `gather`, but only rank 0 gets the values; the others get None."""
    if size() == 1:
        return [value]
    values = [None] * size() if rank() == 0 else None
    with _listening():
        dist.gather_object(value, values)
    return values


def together(work: Callable):
    """Every process does `work()` and gets its own value, as soon as all have done it.

    A user's error (ValueError, OSError) in one process ends all: it is raised there, and the others exit silently.
    """
    if size() == 1:
        return work()
    result = error = None
    try:
        result = work()
    except (ValueError, OSError) as problem:
        error = problem
    failed = [i for i, bad in enumerate(gather(error is not None)) if bad]
    if failed and failed[0] == rank():
        raise error
    if failed:
        sys.exit(2)
    return result


def by_first(work: Callable):
    """Rank 0 does `work()` while the others wait. Rank 0 gets its value, the others get None."""
    return together(lambda: work() if rank() == 0 else None)


def tell_once(notes: Iterable[str], warnings: Iterable[str] = ()) -> None:
    """Prints lines for the user, which every process has alike, by rank 0."""
    if rank() == 0:
        tell(notes, warnings)


def from_first(work: Callable):
    """Rank 0 does `work()` while the others wait. Every process gets its value, which must pickle."""
    value = by_first(work)
    if size() == 1:
        return value
    message = [value]
    with _listening():
        dist.broadcast_object_list(message, src=0)
    return message[0]


def large_from_first(work: Callable):
    """`from_first` for a value with large tensors, on the CPU. They are sent one by one: none is in memory twice.

    Measured with two processes and 1 GiB: each needs 1.0 GiB more at its peak; with `from_first` 3.0 and 4.0 GiB.
    For 400 MB it takes 4 s, and `from_first` 17 s.
    """
    value = by_first(work)
    if size() == 1:
        return value
    outline = io.BytesIO()
    if rank() == 0:
        places = _Outline(outline)
        places.dump(value)
    text = from_first(outline.getvalue)
    if rank() > 0:
        places = _Filled(io.BytesIO(text))
        value = places.load()
    for tensor in places.tensors:
        with _listening():
            dist.broadcast(tensor, src=0)
    return value


class _Outline(pickle.Pickler):
    """Pickles a value without its tensors, and collects these in order."""

    def __init__(self, file):
        super().__init__(file)
        self.tensors: list[torch.Tensor] = []

    def persistent_id(self, value):
        if not isinstance(value, torch.Tensor):
            return None
        self.tensors.append(value.contiguous())
        return tuple(value.shape), value.dtype


class _Filled(pickle.Unpickler):
    """Unpickles it with empty tensors, and collects these in the same order."""

    def __init__(self, file):
        super().__init__(file)
        self.tensors: list[torch.Tensor] = []

    def persistent_load(self, place):
        self.tensors.append(torch.empty(place[0], dtype=place[1]))
        return self.tensors[-1]


def first_of_each_machine(work: Callable):
    """One process of each machine does `work()` first, for it may fill a cache; then the others do it."""
    if size() == 1:
        return work()
    first = int(os.environ.get("LOCAL_RANK", 0)) == 0
    done = together(lambda: work() if first else None)
    return together(lambda: done if first else work())


def copy_from_first(networks: Iterable[nn.Module]) -> None:
    """Copies the parameters and buffers of rank 0 to every process."""
    if size() == 1:
        return
    for network in networks:
        for tensor in [*network.parameters(), *network.buffers()]:
            with _listening():
                dist.broadcast(tensor.detach(), src=0)


def check_equal(networks: dict[str, nn.Module]) -> None:
    """Asserts that the parameters of each network are the same in all processes, bit by bit."""
    if size() == 1:
        return
    sums = {
        name: sum(p.detach().reshape(-1).view(torch.int32).sum(dtype=torch.int64) for p in network.parameters()).item()
        for name, network in networks.items()
    }
    differ = [name for name in sums if len({other[name] for other in gather(sums)}) > 1]
    assert not differ, f"the processes hold different weights of {', '.join(differ)}"


# ------------------------------------------------------------------ starting and ending


def device_of(device: torch.device) -> torch.device:
    """The device of this process: of several GPUs, its own."""
    if device.type != "cuda" or not dist.is_initialized():
        return device
    local = int(os.environ.get("LOCAL_RANK", 0))
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def launch(work: Callable[..., int], arguments: tuple, count: int, device: torch.device, wait_minutes: float) -> int:
    """Does `work(*arguments)` in `count` processes; returns the exit code, which is that of `work` if nothing fails.

    Args:
        work: a function of a module, because new processes find it by its name; its errors are reported by Command.
        device: decides how the processes talk; each gets its own by `device_of`.
        wait_minutes: a process that has waited so long for another one gives up.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if started_outside() else count
    if device.type == "cuda" and local > torch.cuda.device_count():
        raise ValueError(
            f"--gpus={count}: {local} processes on this machine, which has {torch.cuda.device_count()} GPUs; "
            "use as many as there are, or --device=cpu"
        )
    if started_outside():
        return _as_rank(work, arguments, device.type, wait_minutes)
    if count == 1:
        return work(*arguments)
    return _start(work, arguments, count, device.type, wait_minutes)


def _as_rank(work: Callable, arguments: tuple, device: str, wait_minutes: float, meeting: Path | None = None) -> int:
    """Does `work(*arguments)` as one of several processes; the environment says which.

    meeting: a file where all of them meet; None: they meet at the address in the environment.
    """
    timeout = datetime.timedelta(minutes=wait_minutes)
    if device == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
    store = None
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)  # held back since `_start`
        try:
            if meeting is None:
                store, number, count = next(dist.rendezvous("env://", timeout=timeout))
            else:
                number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
                store = dist.FileStore(str(meeting), count)
                store.set_timeout(timeout)
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=timeout,
                store=dist.PrefixStore("group", store), rank=number, world_size=count,
            )  # fmt: skip
        except RuntimeError as error:
            raise LostProcess(f"the processes of this run do not find each other ({error})") from None
        code = work(*arguments)
        dist.destroy_process_group()
        return code
    except (ValueError, OSError):
        if not _first_to_fail(store):
            end_bars()
            sys.exit(2)  # another process has reported the error
        if rank() > 0:
            click.echo(err=True)  # ends the line of rank 0's progress bar
        raise
    except KeyboardInterrupt as stop:
        if not first_started():
            sys.exit(ended_by(stop)[1])  # rank 0 is stopped too, and reports it
        raise
    except LostProcess as error:
        end_bars()
        if parent_process() is None and _first_to_fail(store):  # no other process will report it
            click.echo(f"error: {error}", err=True)
        sys.stderr.flush()
        os._exit(LOST)  # an orderly end would wait for the lost process


def _first_to_fail(store) -> bool:
    """Whether no other process has reported why the run ends. So an error that all of them find is reported once."""
    try:
        return store is None or store.add("failed", 1) == 1
    except RuntimeError:  # the process that holds the store has ended
        return True


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(work: Callable, arguments: tuple, count: int, device: str, wait_minutes: float) -> int:
    """Starts the ranks on this machine and waits for them."""
    pickle.dumps((work, arguments))  # if they do not pickle, this fails once, before the processes start
    context, folder = get_context("spawn"), tempfile.mkdtemp(prefix="eg3d-")  # nobody else can look into it
    ranks = [
        context.Process(
            target=_rank_main, args=(i, count, Path(folder, "meeting"), work, arguments, device, wait_minutes)
        )
        for i in range(count)
    ]
    received: list[int] = []

    def forward(number, frame):
        received.append(number)
        for process in ranks:
            if process.is_alive():
                os.kill(process.pid, number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with signals_held_back():  # and in new processes, until they are ready for them
            for process in ranks:
                process.start()
        ended = _wait_for(ranks)
    finally:
        for process in ranks:
            if process.is_alive():
                process.kill()
        for number, handler in before.items():
            signal.signal(number, handler)
        shutil.rmtree(folder, ignore_errors=True)
    return _exit_code(ended, count, received, wait_minutes)


def _rank_main(index, count, meeting: Path, work, arguments, device, wait_minutes) -> None:
    """What a started process calls first."""
    os.environ.update(
        RANK=str(index), WORLD_SIZE=str(count), LOCAL_RANK=str(index), LOCAL_WORLD_SIZE=str(count),
        GLOO_SOCKET_IFNAME=loopback(), NCCL_SOCKET_IFNAME=loopback(),
    )  # fmt: skip
    threading.Thread(target=_end_with_parent, args=(meeting,), daemon=True).start()
    pick_device(device)  # it turns TF32 off, in this process too
    command = Command("rank", callback=lambda: sys.exit(_as_rank(work, arguments, device, wait_minutes, meeting)))
    command.main([], prog_name="rank")


def loopback() -> str:
    """The name of the interface that only this machine can reach: `lo` on Linux, `lo0` on macOS."""
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")


def _end_with_parent(meeting: Path) -> None:
    connection.wait([parent_process().sentinel])
    shutil.rmtree(meeting.parent, ignore_errors=True)
    os._exit(LOST)


def _wait_for(ranks: list) -> list[tuple[int, int]]:
    """(rank, exit code) in the order in which the processes end; after the first failure it waits GRACE_S more."""
    ended, running, deadline = [], dict(enumerate(ranks)), None
    while running:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        connection.wait([process.sentinel for process in running.values()], left)
        for index in [i for i, process in running.items() if not process.is_alive()]:
            ended.append((index, running.pop(index).exitcode))
        if deadline is None and any(code for _, code in ended):
            deadline = time.monotonic() + GRACE_S
        if deadline is not None and time.monotonic() >= deadline:
            break
    return ended


def _exit_code(ended: list[tuple[int, int]], count: int, received: list[int], wait_minutes: float) -> int:
    """The exit code of the run; reports in one line a failure that no process could report itself."""
    bad = [(index, code) for index, code in ended if code]
    own = [(index, code) for index, code in bad if code != LOST]
    if not bad:
        return 0
    if own and own[0][1] > 0:
        return own[0][1]  # that process has reported why
    if received:
        return 128 + received[0]
    if own:
        index, code = own[0]
        name = signal.Signals(-code).name
        hint = " (its memory may have run out)" if name == "SIGKILL" else ""
        reason = f"process {index} of {count} was ended by {name}{hint}"
    else:
        reason = f"a process did not answer for {wait_minutes:g} minutes"
    click.echo(f"error: {reason}; {AGAIN}", err=True)
    return 1
