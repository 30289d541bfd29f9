"""How every benchmark here measures, and what its results file says."""

import datetime
import json
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from eg3d.files import REPOSITORY, atomic_write


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


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def facts(device: torch.device) -> dict:
    """Where and with what a measurement was made."""
    return {
        "hardware": hardware(device),
        "cpu_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
    }


def hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return f"{model[1] if model else platform.machine()}, {torch.get_num_threads()} threads"


def commit() -> str | None:
    """The checked-out commit, `-dirty` when files differ from it; None outside a git repository."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
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
