"""The weights of the decoder, the small network from tri-plane features to density and colour, as kernels take them."""

from typing import NamedTuple

import torch


class FieldWeights(NamedTuple):
    """hidden = softplus(w1 f + b1), (sigma, colours before the sigmoid) = w2 hidden + b2, for f summed over the planes.

    The weights include the gains of the layers and the division by the number of planes.
    """

    w1: torch.Tensor  # [H, C]
    b1: torch.Tensor  # [H]
    w2: torch.Tensor  # [1 + O, H]
    b2: torch.Tensor  # [1 + O]
