"""Kernels for NVIDIA GPUs, in Triton, which comes with PyTorch on Linux. Each kernel is compiled on first use.

Imported by `backend.py` when the first tensor on a GPU comes by. Offers what `native.py` offers for CPUs,
and `upfirdn2d`.
"""

import torch

try:
    import triton
except ImportError as error:
    raise ImportError(f"Triton is not installed, which PyTorch's packages for Linux bring along ({error})") from error

from eg3d.ops.kernels.triton_act import act, act_backward, suits
from eg3d.ops.kernels.triton_field import field_backward, field_density, field_fits, field_pixels, field_pixels_backward
from eg3d.ops.kernels.triton_upfirdn2d import upfirdn2d

__all__ = [
    "act", "act_backward", "field_backward", "field_density", "field_fits", "field_pixels", "field_pixels_backward",
    "instructions", "suits", "upfirdn2d",
]  # fmt: skip

OLDEST = (7, 0)  # compute capability that Triton compiles for


def instructions() -> str:
    return "CUDA"


def check_gpu() -> None:
    """Raises: RuntimeError with a line to show if Triton cannot compile for the present GPU."""
    name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    if capability < OLDEST:
        raise RuntimeError(
            f"{name} has compute capability {'.'.join(map(str, capability))}, Triton needs {'.'.join(map(str, OLDEST))}"
        )
    try:
        triton.runtime.driver.active.get_current_target()  # compiles Triton's own C stub the first time
    except Exception as error:  # no C compiler, no Python.h, no libcuda: each its own kind of error
        raise RuntimeError(f"Triton cannot reach {name}: {error}") from error


if torch.cuda.is_available():  # else only tests import this, for Triton's interpreter
    check_gpu()
