"""Which implementation an op takes: the plain-PyTorch definition, or a kernel compiled for the tensor's device.

    with using("torch"):      # auto | torch | kernels
        pictures = G(z, c)

`torch` takes the definitions, and `kernels` insists on the kernels. `auto` takes the kernels on the devices and with
the instructions that `PROVEN` names, and says in one line if they cannot be had there; else it takes the definitions.
Kernels know float32, and on a GPU the 16-bit formats too. Every other format takes the definition.
"""

import contextlib
import functools
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from types import ModuleType

import torch
from tqdm import tqdm

CHOICES = ("auto", "torch", "kernels")

# Devices, and the instructions of kernels for them, with which measurements have shown that our kernels are right, and
# faster than plain PyTorch. A CPU's instructions belong here if benchmarks/results/instructions_*.json has them at
# least FASTER times as fast in every case. "cuda" belongs here as soon as a results file of `make gpu-check` says so:
# benchmarks/results/gpu_*.json, "verdict". tests/ops/kernels/test_backend.py compares this with those files.
PROVEN = {"cpu": {"AVX-512", "AVX2"}}
FASTER = 1.1

_choice: ContextVar[str] = ContextVar("ops", default="auto")


@contextlib.contextmanager
def using(choice: str) -> Iterator[None]:
    """Sets the choice for the calls inside; their gradients keep it."""
    if choice not in CHOICES:
        raise ValueError(f"ops {choice!r} are unknown; use one of {', '.join(CHOICES)}")
    before = _choice.set(choice)
    try:
        yield
    finally:
        _choice.reset(before)


def chosen() -> str:
    """The present choice. New processes and threads do not inherit it: give it to them."""
    return _choice.get()


def kernels_for(x: torch.Tensor) -> ModuleType | None:
    """The compiled functions for tensors like x, or None: use the definition.

    Both modules offer the same functions (`act`, `act_backward`, `field_density`, ...); see `eg3d.ops.kernels.native`.
    Raises: ValueError if the choice is `kernels` and they cannot be had.
    """
    choice, device_type = _choice.get(), x.device.type
    formats = (torch.float32, torch.float16, torch.bfloat16) if device_type == "cuda" else (torch.float32,)
    if choice == "torch" or x.dtype not in formats or (choice == "auto" and device_type not in PROVEN):
        return None
    kernels, obstacle = available(device_type)
    if kernels is None:
        if choice == "kernels":
            raise ValueError(f"--ops=kernels: {obstacle}; use --ops=torch, or see what `eg3d doctor` says")
        _say_once(obstacle)
    return None if kernels and choice == "auto" and not proven(device_type, kernels) else kernels


def proven(device_type: str, kernels: ModuleType) -> bool:
    """Whether `auto` takes these kernels for that kind of device."""
    return kernels.instructions() in PROVEN.get(device_type, ())


@functools.cache
def available(device_type: str) -> tuple[ModuleType | None, str]:
    """The compiled functions for a kind of device, built on first use; or None and the reason why there are none."""
    try:
        if device_type == "cpu":
            from eg3d.ops.kernels import native

            native.library()
            return native, ""
        if device_type == "cuda":
            from eg3d.ops.kernels import triton_kernels

            return triton_kernels, ""
    except (ImportError, OSError, RuntimeError, AttributeError, ValueError) as error:
        return None, " ".join(str(error).split()) or type(error).__name__
    return None, f"there are no kernels for {device_type}"


@functools.cache
def _say_once(obstacle: str) -> None:
    tqdm.write(f"note: plain PyTorch computes, slower than kernels would: {obstacle}", file=sys.stderr)
