"""The numbers of the small network that turns tri-plane features into density and colour, as kernels take them."""

from typing import NamedTuple

import torch


class FieldWeights(NamedTuple):
    """hidden = softplus(w1 f + b1), (sigma, colours before the sigmoid) = w2 hidden + b2, for f summed over the planes.

    The gains of the layers, and the mean over the planes, are multiplied in already.
    """

    w1: torch.Tensor  # [H, C]
    b1: torch.Tensor  # [H]
    w2: torch.Tensor  # [1 + O, H]
    b2: torch.Tensor  # [1 + O]
