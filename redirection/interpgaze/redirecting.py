"""InterpGaze as a redirector (`redirection.methods`): many patches at once, each by its own reference."""

from pathlib import Path

import torch

from redirection.attributes import ANGLES, Attributes
from redirection.interpgaze.moves import FURTHEST, LEAST_BETWEEN_DEG
from redirection.interpgaze.redirector import InterpGaze, network_input, picture
from redirection.interpgaze.redirector_file import read_redirector
from redirection.patch_sets import PatchSet

CHUNK = 64
MOST_REFERENCES = 512
BEYOND, STILL_DEG = 1000.0, 1e-4


class PatchRedirector:
    """The protocol's `redirect` by InterpGaze: the reference is the patch of a gallery that leads there best."""

    def __init__(self, network: InterpGaze, gallery: PatchSet, device):
        """gallery: patches of others, at many angles; at most MOST_REFERENCES of them, evenly taken, are used."""
        rows = torch.linspace(0, len(gallery) - 1, min(len(gallery), MOST_REFERENCES)).round().long()
        self.network, self.device, self.gallery = network.to(device), device, gallery.subset(rows)
        self.name, self.size = "InterpGaze", network.config.size

    @torch.no_grad()
    def redirect(self, patches: torch.Tensor, shown: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        rows, v = references_for(self.gallery.angles, self.network.config.groups, shown, wanted)
        drawn = []
        for part in torch.arange(len(patches)).split(CHUNK):
            both = [patches[part], self.gallery.images[rows[part]]]
            source, reference = (network_input(x, self.network.config).to(self.device) for x in both)
            drawn.append(picture(self.network(source, reference, v[part].to(self.device)), self.network.config).cpu())
        return (torch.cat(drawn) * 255).round().byte()


def references_for(
    angles: torch.Tensor, attributes: Attributes, shown: torch.Tensor, wanted: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows [B] of the gallery, v [B, branches]): references whose fractions are nearest to 1.

    Angles that no branch moves stay. If no reference leads there within FURTHEST of the way, the nearest fraction is
    taken as far as FURTHEST goes.
    Args:  angles [N, 3] of the gallery; shown, wanted [B, 3]
    """
    branches = [attributes.branch_of(name) for name in ANGLES]
    moves = torch.tensor([branch is not None for branch in branches])
    change = (wanted - shown)[:, None]  # [B, 1, 3]
    still = (change.abs() < STILL_DEG) | ~moves
    between = angles - shown[:, None]  # [B, N, 3]
    way = torch.where(still, 1.0, change / torch.where(between.abs() < STILL_DEG, STILL_DEG, between))
    bad = ~still & ((between.abs() < LEAST_BETWEEN_DEG) | (way <= 0) | (way > FURTHEST))
    others = torch.where(still, between.abs() / 10, 0.0).sum(2)
    cost = (way - 1).abs().clamp(max=BEYOND).sum(2) + 0.2 * others + BEYOND * bad.sum(2)
    rows = cost.argmin(1)
    chosen = torch.where(still[:, 0], 0.0, way[torch.arange(len(rows)), rows].clamp(0, FURTHEST))
    v = torch.zeros(len(rows), attributes.branches)
    for k, branch in enumerate(branches):
        if branch is not None:
            v[:, branch] = chosen[:, k]
    return rows, v


def open_interpgaze(weights: Path | None, device, references: PatchSet | None) -> PatchRedirector:
    """For `redirection.methods`. Errors: ValueError, one line."""
    if weights is None:
        raise ValueError("no InterpGaze weights are embedded yet; give interpgaze:FILE, made by interpgaze/train.py")
    if references is None:
        raise ValueError(f"interpgaze:{weights}: also give --references=FOLDER, a set of patches to lead the eyes")
    return PatchRedirector(read_redirector(weights)[0].requires_grad_(False), references, device)
