"""InterpGaze as a redirector (`redirection.methods`): many patches at once, each by its own reference."""

from pathlib import Path

import torch

from redirection.attributes import ANGLES, Attributes
from redirection.interpgaze.gallery import Gallery, load_gallery
from redirection.interpgaze.moves import FURTHEST, LEAST_BETWEEN_DEG
from redirection.interpgaze.redirector import InterpGaze, network_input, picture
from redirection.interpgaze.redirector_file import read_redirector
from redirection.patch_sets import PatchSet

CHUNK = 64
MOST_REFERENCES = 512
TOGETHER = 90  # references for one patch: all embedded ones
FAR = 5.0  # a cost at which a reference has no share
BEYOND, STILL_DEG = 1000.0, 1e-4


class PatchRedirector:
    """The protocol's `redirect` by InterpGaze: the references are the patches of a gallery that lead there best."""

    def __init__(self, network: InterpGaze, gallery: PatchSet | Gallery, device):
        """gallery: patches of others, at many angles; at most MOST_REFERENCES of them, evenly taken, are used."""
        rows = torch.linspace(0, len(gallery) - 1, min(len(gallery), MOST_REFERENCES)).round().long()
        self.network, self.device = network.to(device), device
        self.angles = gallery.angles[rows]
        self.name, self.size = "InterpGaze", network.config.size
        self._encoded = torch.cat([self._features(part) for part in gallery.images[rows].split(CHUNK)])

    @torch.no_grad()
    def _features(self, patches: torch.Tensor) -> torch.Tensor:
        return self.network.encoder(network_input(patches, self.network.config).to(self.device))

    @torch.no_grad()
    def redirect(self, patches: torch.Tensor, shown: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        network, groups = self.network, self.network.config.groups
        rows, v, share = references_for(self.angles, groups, shown, wanted, TOGETHER)
        drawn = []
        for part in torch.arange(len(patches)).split(CHUNK):
            source = network_input(patches[part], network.config).to(self.device)
            before = after = network.encoder(source)
            leading = (share[part, :, None] * v[part]).any(2).any(0)
            for k in leading.nonzero()[:, 0].tolist():  # none where nothing moves: the reconstruction, bit for bit
                control, weight = v[part, k].to(self.device), share[part, k].to(self.device)
                moved = network.controller(before, self._encoded[rows[part, k]], control)
                after = after + weight[:, None, None, None] * (moved - before)
            drawn.append(picture(network.draw(source, before, after), network.config).cpu())
        return (torch.cat(drawn) * 255).round().byte()


def references_for(
    angles: torch.Tensor, attributes: Attributes, shown: torch.Tensor, wanted: torch.Tensor, most: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(rows [B, K] of the gallery, v [B, K, branches], share [B, K]): references whose fractions are nearest to 1.

    Several of them together err less than one. Their shares fall with their cost, to 0 at that of the first one left
    out: so which ones lead, and how much, changes evenly with the wanted angles. Angles that no branch moves stay. If
    no reference leads there within FURTHEST of the way, the nearest fraction is taken as far as FURTHEST goes.
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
    cost, rows = cost.topk(min(most + 1, len(angles)), largest=False)  # the best one first
    limit = cost[:, most:].clamp(max=FAR) if len(angles) > most else FAR
    cost, rows = cost[:, :most], rows[:, :most]
    leads = (limit - cost).clamp(min=0).float()
    leads[:, 0] = leads[:, 0].clamp(min=1e-6)  # some one leads
    chosen = torch.where(still, 0.0, way.gather(1, rows[..., None].expand(-1, -1, 3)).clamp(0, FURTHEST))
    v = torch.zeros(*rows.shape, attributes.branches)
    for k, branch in enumerate(branches):
        if branch is not None:
            v[..., branch] = chosen[..., k]
    return rows, v, leads / leads.sum(1, keepdim=True)


def open_interpgaze(weights: Path | None, device, references: PatchSet | None) -> PatchRedirector:
    """For `redirection.methods`; without weights or references the embedded ones. Errors: ValueError, one line."""
    gallery = load_gallery() if references is None else references
    return PatchRedirector(read_redirector(weights or "embedded")[0].requires_grad_(False), gallery, device)
