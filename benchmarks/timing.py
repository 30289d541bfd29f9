"""How every benchmark here measures, and what its results file says."""

import datetime
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.overrides import TorchFunctionMode

from eg3d.ops.kernels.backend import available, using
from groundwork.command import fail
from groundwork.files import REPOSITORY, atomic_write

if REPOSITORY is None:  # else the numbers of a wheel would carry this checkout's commit
    fail("benchmarks measure a checkout, but an installed wheel is found first; pip install -e . or set PYTHONPATH")


def seconds(call: Callable[[], object], device: torch.device, repeats: int, warm_up: int = 2) -> float:
    """Median time of one call, after warming up; waits for the GPU before and after each."""
    times = []
    for i in range(warm_up + repeats):
        synchronise(device)
        start = time.perf_counter()
        call()
        synchronise(device)
        if i >= warm_up:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def in_turn(calls: Sequence[Callable[[], float]], repeats: int, warm_up: int = 1) -> list[tuple[float, ...]]:
    """Variants one after the other, again and again, so that whatever slows the machine slows all of them.

    Args: each call returns its own duration in seconds.
    Returns: [repeats][variant].
    """
    return [tuple(call() for call in calls) for _ in range(warm_up + repeats)][warm_up:]


def compared(pairs: Sequence[tuple[float, float]]) -> dict:
    """Medians of pairs of durations, and the median of their ratios first / second."""
    return {
        "seconds": [statistics.median(pair[i] for pair in pairs) for i in (0, 1)],
        "ratio": statistics.median(a / b for a, b in pairs),
        "ratios": [round(a / b, 3) for a, b in pairs],
    }


def alternate(first: Callable[[], float], second: Callable[[], float], repeats: int, warm_up: int = 1) -> dict:
    """Two variants in turn; see `in_turn` and `compared`."""
    return compared(in_turn((first, second), repeats, warm_up))


def timed(call: Callable[[], object], device: torch.device) -> Callable[[], float]:
    """A function that makes one call and returns its duration in seconds."""

    def run() -> float:
        synchronise(device)
        start = time.perf_counter()
        call()
        synchronise(device)
        return time.perf_counter() - start

    return run


class Elsewhere:
    """A case of another checkout's cases.py, run by its code in a process of its own that waits between calls."""

    def __init__(self, worktree: Path, case: str, device: torch.device):
        self.worktree = worktree
        paths = f"{worktree}{os.pathsep}{worktree / 'tests'}"
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": str(torch.get_num_threads())}
        command = [sys.executable, str(worktree / "benchmarks" / "cases.py"), case, device.type]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=worktree
        )

    def __call__(self) -> float:
        """One call there: seconds."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise ValueError(f"{self.worktree}: its code cannot run this case, see above")
        return float(line)

    def commit(self) -> str:
        return commit(self.worktree)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


class Products(TorchFunctionMode):
    """Records the convolutions and matrix products of a call, to time them bare: the floor of that call.

    Depthwise filters are not counted, neither are gathers: they are memory traffic, not products.
    """

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        wanted = name in ("conv2d", "conv_transpose2d", "baddbmm", "bmm", "addmm", "addmv", "matmul", "mm")
        if wanted and kwargs.get("groups", 1) == 1:
            shapes = [(tuple(a.shape), a.dtype) if isinstance(a, torch.Tensor) else a for a in args]
            self.calls.append((func, shapes, kwargs))
        return func(*args, **kwargs)

    def seconds(self, device: torch.device, repeats: int = 3) -> float:
        """The sum of their times, each alone, on new numbers in the layout that the library likes best."""
        total, known = 0.0, {}
        for func, shapes, kwargs in self.calls:
            key = (func, str(shapes), str(kwargs))
            if key not in known:
                known[key] = min(self._alone(func, shapes, kwargs, device, repeats, best) for best in (True, False))
            total += known[key]
        return total

    @staticmethod
    def _alone(func, shapes, kwargs, device, repeats, channels_last):
        args = []
        for entry in shapes:
            if not (isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], torch.dtype)):
                args.append(entry)
                continue
            value = torch.randn(entry[0], device=device).to(entry[1])
            last = channels_last and value.ndim == 4
            args.append(value.contiguous(memory_format=torch.channels_last) if last else value)
        with torch.no_grad():
            return seconds(lambda: func(*args, **kwargs), device, repeats, warm_up=1)


def floor(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of the bare convolutions and matrix products of a call."""
    with Products() as products:
        call()
    return products.seconds(device)


def under(ops: str, call: Callable[[], object]) -> Callable[[], object]:
    """The call with that choice of implementations, see eg3d.ops.kernels.backend."""

    def run():
        with using(ops):
            return call()

    return run


def peak_bytes(device: torch.device) -> int:
    """Highest memory so far: of the process on a CPU, allocated by PyTorch on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def facts(device: torch.device) -> dict:
    """Where and with what a measurement was made."""
    return {
        "hardware": hardware(device),
        "instructions": {"pytorch": torch.backends.cpu.get_cpu_capability(), "kernels": kernels_instructions()},
        "cpu_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
    }


def kernels_instructions() -> str | None:
    """Those of our kernels for this CPU; None where they cannot be had."""
    kernels, _ = available("cpu")
    return kernels and kernels.instructions()


def hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return f"{model[1] if model else platform.machine()}, {torch.get_num_threads()} threads"


def commit(folder: Path = REPOSITORY) -> str | None:
    """The checked-out commit, `-dirty` when files differ from it; None outside a git repository."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def write_results(folder: Path, what: str, device: torch.device, numbers: dict) -> Path:
    """Writes <what>_<hardware>_<yyyymm>.json and returns its path."""
    name = re.sub(r"[^a-z0-9]+", "-", hardware(device).lower()).strip("-")
    path = folder / f"{what}_{name}_{datetime.date.today():%Y%m}.json"
    atomic_write(path, (json.dumps({**facts(device), "results": numbers}, indent=2) + "\n").encode())
    return path
