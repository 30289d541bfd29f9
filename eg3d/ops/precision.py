"""In which number format the convolutional blocks compute. Weights, rendering and pictures stay in float32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

PRECISIONS = {
    "fp32": "float32 throughout",
    "tf32": "float32 with ten-bit mantissas in products (NVIDIA GPUs)",
    "bf16": "bfloat16 blocks (CPUs with AVX512-BF16 or AMX, GPUs)",
    "fp16": "float16 in the blocks the network was built with, on a GPU: as published",
}
FORMATS = "Number format of the convolutions: " + "; ".join(f"{key}: {text}" for key, text in PRECISIONS.items()) + "."

BRAIN_FLOATS = {"avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX", "bf16": "Arm BF16"}  # torch.cpu's names -> ours


def set_precision(network: nn.Module, precision: str | None) -> nn.Module:
    """Sets the format of a generator's or discriminator's blocks and returns the network.

    precision: a key of PRECISIONS; None leaves the network as it was built, which is 'fp16'. For 'tf32' the products of
    the whole process change.
    """
    if precision is None:
        return network
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
    device = next(network.parameters()).device
    if precision == "tf32":
        if device.type != "cuda":
            raise ValueError("--precision=tf32 is for NVIDIA GPUs; use fp32 or bf16 here")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    for module in network.modules():
        if hasattr(module, "use_fp16"):
            module.block_dtype = {"bf16": torch.bfloat16, "fp16": None}.get(precision, torch.float32)
    return network


@contextmanager
def in_precision(network: nn.Module, precision: str) -> Iterator[None]:
    """Inside, the network's blocks compute in this format; afterwards as before."""
    before = [(module, module.block_dtype) for module in network.modules() if hasattr(module, "use_fp16")]
    set_precision(network, precision)
    try:
        yield
    finally:
        for module, dtype in before:
            module.block_dtype = dtype


def bfloat16_units() -> list[str]:
    """What in this machine's CPU computes in bfloat16; empty: PyTorch emulates it, slowly."""
    features = getattr(torch.cpu, "get_capabilities", dict)()
    return [name for key, name in BRAIN_FLOATS.items() if features.get(key)]


def compute_dtype(block: nn.Module, like: torch.Tensor, force_fp32: bool) -> torch.dtype:
    """The format in which a block computes, for weights or latents `like`."""
    if force_fp32 or like.dtype == torch.float64:
        return like.dtype
    if block.block_dtype is not None:
        return block.block_dtype
    return torch.float16 if block.use_fp16 and like.is_cuda else like.dtype
