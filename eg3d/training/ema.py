"""Moving averages: of the generator's weights, for all pictures and scores, and of its latents, for truncation."""

import torch
from torch import nn


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, beta: float) -> None:
    """average <- beta * average + (1 - beta) * model for parameters; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - beta)
    for kept, new in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(new)


@torch.no_grad()
def update_mean_latent(mapping: nn.Module, mean: torch.Tensor) -> None:
    """w_avg <- lerp toward `mean` [w_dim], the mean latent of one global batch; once a step."""
    mapping.w_avg.lerp_(mean, 1 - mapping.w_avg_beta)
