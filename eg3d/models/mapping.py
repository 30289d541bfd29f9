"""Mapping network: latent and camera -> intermediate latents (StyleGAN2; EG3D section 4.4 for the conditioning)."""

from dataclasses import dataclass

import torch
from torch import nn

from eg3d.models.layers import FullyConnectedLayer
from eg3d.ops.bias_act import ACTIVATIONS
from groundwork.plain import check_one_of, check_types, check_within

MOST_LAYERS = 64


@dataclass(frozen=True, kw_only=True)
class MappingConfig:
    """Fully connected layers of a mapping network. Features None: as wide as its result."""

    num_layers: int = 8
    embed_features: int | None = None
    layer_features: int | None = None
    activation: str = "lrelu"
    lr_multiplier: float = 0.01
    w_avg_beta: float | None = 0.998  # of the mean latent, which only a generator's network keeps; None: it keeps none

    def __post_init__(self):
        check_types(self)
        check_within("num_layers", self.num_layers, 1, MOST_LAYERS)
        check_one_of("activation", self.activation, ACTIVATIONS)


def normalize_second_moment(x):
    """Scales each row of x [N, C] to unit mean square."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class MappingNetwork(nn.Module):
    """z [N, z_dim], c [N, c_dim] -> ws [N, num_ws, w_dim]; with num_ws None one row [N, w_dim] (discriminator)."""

    def __init__(self, z_dim, c_dim, w_dim, num_ws, config: MappingConfig):
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = z_dim, c_dim, w_dim, num_ws
        self.num_layers, self.w_avg_beta = config.num_layers, config.w_avg_beta
        embed_features = 0 if c_dim == 0 else (config.embed_features or w_dim)
        hidden = [config.layer_features or w_dim] * (config.num_layers - 1)
        features = [z_dim + embed_features, *hidden, w_dim]
        if c_dim > 0:
            self.embed = FullyConnectedLayer(c_dim, embed_features)
        for i in range(config.num_layers):
            layer = FullyConnectedLayer(features[i], features[i + 1], config.activation, config.lr_multiplier)
            setattr(self, f"fc{i}", layer)
        if num_ws is not None and config.w_avg_beta is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z, c, truncation_psi=1.0, truncation_cutoff=None, update_emas=False):
        """Truncation pulls the first `truncation_cutoff` rows (None: all) toward the mean latent by 1 - psi."""
        parts, dtype = [], self.fc0.weight.dtype
        if self.z_dim > 0:
            parts.append(normalize_second_moment(z.to(dtype)))
        if self.c_dim > 0:
            parts.append(normalize_second_moment(self.embed(c.to(dtype))))
        x = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            x = getattr(self, f"fc{i}")(x)
        if update_emas:
            self.w_avg.lerp_(x.detach().mean(dim=0), 1 - self.w_avg_beta)
        if self.num_ws is None:
            return x
        x = x[:, None].repeat(1, self.num_ws, 1)
        if truncation_psi != 1:
            rows = self.num_ws if truncation_cutoff is None else truncation_cutoff
            x = torch.cat([self.w_avg.lerp(x[:, :rows], truncation_psi), x[:, rows:]], dim=1)
        return x
