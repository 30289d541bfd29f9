"""Inception score (Salimans et al. 2016): exp of the mean divergence of p(class | image) from p(class)."""

from typing import NamedTuple

import torch

SPLITS = 10


class InceptionScore(NamedTuple):
    """mean and population standard deviation over the splits, and the standard error of the mean."""

    mean: float
    std: float
    standard_error: float


def inception_score(features: torch.Tensor, classifier: torch.Tensor, splits: int = SPLITS) -> InceptionScore:
    """Of features [N, 2048], in their order, in contiguous splits; classifier [1008, 2048], *without* its bias."""
    n = len(features)
    if n < 2 * splits:
        raise ValueError(f"IS in {splits} splits needs at least {2 * splits} images, here are {n}")
    log_p = (features.double() @ classifier.double().T).log_softmax(dim=1)
    scores = []
    for i in range(splits):
        part = log_p[i * n // splits : (i + 1) * n // splits]
        marginal = part.exp().mean(dim=0).clamp(min=torch.finfo(torch.float64).tiny).log()
        scores.append((part.exp() * (part - marginal)).sum(dim=1).mean().exp())
    scores = torch.stack(scores)
    return InceptionScore(float(scores.mean()), float(scores.std(correction=0)), float(scores.std() / splits**0.5))
