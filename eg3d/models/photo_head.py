"""A generator that draws one head: that of a photo, whose latent is stored in the place of the mapping network.

`eg3d/invert.py` makes them. Whatever draws heads of seeds draws this one for every seed; truncation leaves it alone.
"""

import torch
from torch import nn

from eg3d.models.eye_field import EyeField, EyeFieldConfig
from eg3d.models.generator import GeneratorConfig, TriPlaneGenerator


class StoredLatent(nn.Module):
    """Stands where a mapping network stands, and gives the stored ws [num_ws, w_dim] for every latent and camera."""

    def __init__(self, num_ws: int, w_dim: int):
        super().__init__()
        self.num_ws, self.w_dim = num_ws, w_dim
        self.register_buffer("ws", torch.zeros(num_ws, w_dim))

    def forward(self, z, c, truncation_psi=1.0, truncation_cutoff=None, update_emas=False):
        """z [N, z_dim] -> ws [N, num_ws, w_dim]; only N matters."""
        del c, truncation_psi, truncation_cutoff, update_emas
        return self.ws.expand(len(z), -1, -1)


class PhotoHead(TriPlaneGenerator):
    """A generator of one head."""

    def __init__(self, config: GeneratorConfig, neural_rendering_resolution: int = 64):
        super().__init__(config, neural_rendering_resolution)
        self.backbone.mapping = StoredLatent(self.num_ws, self.w_dim)


class PhotoEyeField(EyeField):
    """The same with eyes that can be set; its base is a `PhotoHead`."""

    def __init__(self, config: EyeFieldConfig, neural_rendering_resolution: int = 64):
        super().__init__(config, neural_rendering_resolution)
        self.base = PhotoHead(config.base, neural_rendering_resolution)


@torch.no_grad()
def head_of(G: TriPlaneGenerator | EyeField, ws: torch.Tensor) -> PhotoHead | PhotoEyeField:
    """The generator of one head ws [num_ws, w_dim], with the weights of G; it shares none with G."""
    cls = PhotoEyeField if isinstance(G, EyeField) else PhotoHead
    head = cls(G.config, G.neural_rendering_resolution).to(ws.device)
    place = "base.backbone.mapping." if cls is PhotoEyeField else "backbone.mapping."
    weights = {name: value for name, value in G.state_dict().items() if not name.startswith(place)}
    head.load_state_dict(weights | {f"{place}ws": ws.to(next(G.parameters()))})
    return head.eval().requires_grad_(False)
