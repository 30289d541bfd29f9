"""How a script ends when it is stopped or when the machine gives out, from its first line on: one line, no traceback.

A script spends seconds on its imports. `begin`, its first statement, covers these; `Command` covers the work, by
`stoppable` and `exhausted`, and after it `begin`'s handlers hold again. Only the standard library is imported here, and
only what Python has loaded anyway.
"""

import contextlib
import errno
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator

DEBUG_VARIABLE = "EG3D_DEBUG"
STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
# Of PyTorch on CPUs, of cuDNN and cuBLAS, of C++, of the loader of libraries, of pthreads
SIGNS = ("DefaultCPUAllocator", "CUDA out of memory", "ALLOC_FAILED", "bad_alloc", "failed to map segment",
         "annot allocate memory", "can't start new thread")  # fmt: skip

# How OpenMP's threads wait for each other. They spin before they sleep, by PyTorch 300,000 turns. Beside other programs
# they take the processor from the thread that they wait for; on an idle machine fewer turns cost time
# (docs/performance.md). So a script looks round when it starts.
WAITING_ALONE = {"GOMP_SPINCOUNT": "8000"}
WAITING_AMONG_OTHERS = {"OMP_WAIT_POLICY": "passive"}
WAITING_SET_BY_USER = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")

PACKAGES = ("eg3d", "l2cs", "dataset_preprocessing", "redirection")
MORE_MEMORY = "free some, or raise the limit of this shell (ulimit -v)"


class Terminated(KeyboardInterrupt):
    """SIGTERM has arrived; code that cleans up after Ctrl-C cleans up after this too."""


def begin() -> None:
    """The first statement of a script: whatever stops it while it imports is one line, with the right exit code.

    Also sets how threads wait, unless the user has.
    """
    sys.excepthook = _say
    if not any(name in os.environ for name in WAITING_SET_BY_USER):
        # OpenMP reads it while PyTorch is imported
        os.environ.update(WAITING_AMONG_OTHERS if others_compute() else WAITING_ALONE)
    for number in STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell starts a job in the background
            signal.signal(number, _leave)
    if line := foreign_package():
        os.write(2, f"error: {line}\n".encode())
        sys.exit(2)


def others_compute() -> bool:
    """Whether other programs use a quarter of the processors or more. False if the system does not tell (not Linux)."""
    some = max(1, (os.cpu_count() or 1) // 4)
    try:
        for _ in range(3):  # a program that ends at once is not one that computes
            with open("/proc/loadavg") as file:
                if (
                    int(file.read().split()[3].partition("/")[0]) - 1 < some
                ):  # runnable now; one of them is this process
                    return False
            time.sleep(0.002)
    except (OSError, ValueError, IndexError):
        return False
    return True


def foreign_package() -> str | None:
    """One line if Python finds another project's package under a name of ours (L2CS-Net installs an `l2cs`); else None.

    Ours lie side by side, in a checkout and where a wheel is installed. Nothing is imported.
    """
    from importlib.util import find_spec

    here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    for name in PACKAGES:
        spec = find_spec(name)
        places = list(spec.submodule_search_locations or [spec.origin]) if spec else []
        if places and os.path.dirname(os.path.realpath(places[0])) != here:
            other = "pip uninstall it, " if "site-packages" in places[0] else "take it out of PYTHONPATH, "
            return (f"Python finds another project's package {name} in {places[0]} before ours in {here}; {other}or "
                    "give this project an environment of its own")  # fmt: skip
    return None


def _leave(number, frame) -> None:
    # An exception would not do: inside a callback of the import system Python prints it and goes on.
    os.write(2, f"{STOPS[number]}\n".encode())
    os._exit(128 + number)


def _say(kind, error, trace) -> None:
    """Stands for `sys.excepthook`, which Python calls with an error that nothing has caught."""
    line = exhausted(error)
    if isinstance(error, ModuleNotFoundError):
        line = f"{error}; install the packages this needs: make setup, or pip install -e . in the checkout"
    elif line is None and isinstance(error, OSError):
        line = f"{error}; look at the disk, at TMPDIR, and at the limits of this shell (ulimit -a)"
    if isinstance(error, KeyboardInterrupt) and not os.environ.get(DEBUG_VARIABLE):
        _leave(signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT, None)
    if line is None or os.environ.get(DEBUG_VARIABLE):
        sys.__excepthook__(kind, error, trace)
        return
    more = f"; {MORE_MEMORY}" if "memory" in line else ""
    os.write(2, f"error: {line}{more}\n".encode())
    os._exit(2)


def exhausted(error: BaseException) -> str | None:
    """One line for an error that says that the machine, or a limit of this shell, has no more to give; else None."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many files are open; raise the limit (ulimit -n)"
    known = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    if not known and not any(sign in text for sign in SIGNS):
        return None
    if "new thread" in text:
        return "the system allows no further thread; raise the limit (ulimit -u), or set OMP_NUM_THREADS=1"
    wanted = re.search(r"tried to allocate [\d.]+ \w+", text, re.IGNORECASE)
    return f"the memory ran out ({wanted[0].lower() if wanted else 'no more could be had'})"


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Inside, Ctrl-C raises KeyboardInterrupt and SIGTERM raises Terminated. Handlers of others stay as they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPS}
    if before[signal.SIGINT] is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if before[signal.SIGTERM] in (_leave, signal.SIG_DFL):
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminate(number, frame) -> None:
    raise Terminated


def ended_by(error: BaseException) -> tuple[str, int]:
    """(what to say, exit code) for Ctrl-C and SIGTERM."""
    number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
    return STOPS[number], 128 + number
