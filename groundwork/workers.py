"""Work that several processes of this machine share, and that one Ctrl-C ends."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import connection, get_context, parent_process, resource_tracker

from groundwork.early import STOPS

AT_ONCE = 32


def in_processes(work: Callable, items: Iterable, processes: int, at_once: int = AT_ONCE) -> Iterator:
    """work(item) of each, in order. `work` and the items must pickle.

    at_once: items that a process gets together; the results of these also come together. 1 for work of a second.

    A terminal sends Ctrl-C, and a scheduler SIGTERM, to all processes. Only this one answers, and ends the others.
    """
    # Spawned, not forked: the caller may hold PyTorch's threads, which a fork would leave locked.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
        with signals_held_back(), _one_thread_each():
            results = pool.map(work, items, chunksize=at_once)
        yield from results


def in_threads(work: Callable, items: list, threads: int) -> Iterator:
    """work(item) of each, in order, by some threads that are a few ahead of what is taken."""
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        ahead = 2 * max(threads, 1)
        for start in range(0, len(items), ahead):
            yield from pool.map(work, items[start : start + ahead])


BLAS_THREADS = "OPENBLAS_NUM_THREADS"


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """NumPy in processes that start inside multiplies in one thread, for the processes share the cores already."""
    before = os.environ.get(BLAS_THREADS)
    os.environ.setdefault(BLAS_THREADS, "1")
    try:
        yield
    finally:
        if before is None:
            del os.environ[BLAS_THREADS]


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the end of the block; they go on waiting in processes that start inside."""
    resource_tracker.ensure_running()  # the first process starts it otherwise, which would let signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """A killed parent sends nothing; its processes would wait for ever."""

    def wait() -> None:
        connection.wait([parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
