"""The averaged generator, which draws every picture."""

import torch
from torch import nn


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, beta: float) -> None:
    """average <- beta * average + (1 - beta) * model for parameters; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - beta)
    for kept, new in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(new)
