"""Which implementation an op takes: the plain-PyTorch definition, or a kernel compiled for the tensor's device.

    with using("torch"):      # auto | torch | kernels
        pictures = G(z, c)

`auto` takes the kernels where they can be had and says once, in one line, where they cannot; `kernels` insists on them.
Kernels know float32, and on a GPU the 16-bit formats; anything else takes the definition.
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
    """The present choice, for processes and threads to be started, which do not inherit it."""
    return _choice.get()


def kernels_for(x: torch.Tensor) -> ModuleType | None:
    """The compiled functions for tensors like x, or None: use the definition.

    Both modules offer the same functions (`act`, `act_backward`, `field_density`, ...); see `eg3d.ops.kernels.native`.
    Raises: ValueError when kernels were insisted on and cannot be had.
    """
    choice = _choice.get()
    formats = (torch.float32, torch.float16, torch.bfloat16) if x.is_cuda else (torch.float32,)
    if choice == "torch" or x.dtype not in formats:
        return None
    kernels, obstacle = available(x.device.type)
    if kernels is None:
        if choice == "kernels":
            raise ValueError(f"--ops=kernels: {obstacle}; use --ops=torch, or see what `eg3d doctor` says")
        _say_once(obstacle)
    return kernels


@functools.cache
def available(device_type: str) -> tuple[ModuleType | None, str]:
    """The compiled functions for a kind of device, built on first use, and else why there are none."""
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
