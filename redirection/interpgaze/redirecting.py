"""InterpGaze as a redirector (`redirection.methods`): many patches at once, led by a gallery."""

from pathlib import Path

import torch

from redirection.attributes import ANGLES, Attributes
from redirection.interpgaze.gallery import Gallery, gallery_of, load_gallery
from redirection.interpgaze.redirector import InterpGaze, network_input, picture
from redirection.interpgaze.redirector_file import read_redirector
from redirection.patch_sets import PatchSet

CHUNK = 64
FURTHEST = 2.0  # a step beyond a reference is an extrapolation; the method is meant for less than 2
NEAR_DEG = (15.0, 10.0, 20.0)  # P, V, H: so far from the wanted look a reference counts 0.6 of one that is there
BACKWARD = 0.25  # of the way to a reference, by which an eye may turn away from it
OTHER_SIDE = 0.01  # weight of references to whose other side the eye shall turn; they lead if no others can
UNSEEN_DEG = 1.5  # a decoder that blends keeps the source if the gaze moves by less than about 2 degrees
NAMES = {"P": "head yaw", "V": "vertical gaze", "H": "horizontal gaze"}


class PatchRedirector:
    """The protocol's `redirect` by InterpGaze."""

    name = "InterpGaze"

    def __init__(self, network: InterpGaze, gallery: Gallery, device):
        """gallery: patches of others, at many angles."""
        self.network, self.device, self.angles = network.to(device), device, gallery.angles
        self.size = network.config.size
        self._encoded = torch.cat([self._features(part) for part in gallery.images.split(CHUNK)])

    @torch.no_grad()
    def _features(self, patches: torch.Tensor) -> torch.Tensor:
        return self.network.encoder(network_input(patches, self.network.config).to(self.device))

    @torch.no_grad()
    def redirect(self, patches: torch.Tensor, shown: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        network = self.network
        shown, wanted = shown.float(), wanted.float()
        if network.decoder.blends:
            wanted = prolonged(shown, wanted)
        factors = leading(self.angles, network.config.groups, shown, wanted)
        drawn = []
        for part in torch.arange(len(patches)).split(CHUNK):
            source, of_part = network_input(patches[part], network.config).to(self.device), factors[part]
            before = after = network.encoder(source)
            for n, k in (of_part != 0).any(0).nonzero().tolist():  # none if nothing moves: the reconstruction
                added = network.controller.branch[k](self._encoded[n] - before)
                after = after + of_part[:, n, k, None, None, None].to(self.device) * added
            drawn.append(picture(network.draw(source, before, after), network.config).cpu())
        return (torch.cat(drawn) * 255).round().byte()


def prolonged(shown: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """What a decoder that blends must be asked for, [B, 3], so that a small move is seen; a large one hardly changes.

    Measured on 480 patches of people of another split than all others: of 1.2 degrees nothing was seen, of 2.3 one
    half, of 3.2 nine tenths.
    """
    way = wanted - shown
    size = way.norm(dim=1, keepdim=True)
    return shown + way * torch.hypot(size, torch.full_like(size, UNSEEN_DEG)) / size.clamp(min=torch.finfo().tiny)


def leading(angles: torch.Tensor, attributes: Attributes, shown: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """By how much each branch goes toward each reference [B, N, branches], so that an eye goes from shown to wanted.

    A reference alone would give v = (wanted - shown) / (reference - shown) (poster of Controllable Continuous Gaze
    Redirection). Of several the slope is that of least squares: what each one adds counts by the square of its way,
    for errors of a short way grow when it is prolonged. It also counts by how near the reference is to the wanted
    look, so all change evenly with it. Nothing goes on the whole more than FURTHEST times as far as the references.
    Angles that no branch moves stay.
    Args:  angles [N, 3] of the references; shown, wanted [B, 3]; P, V, H in degrees
    """
    far = (angles - wanted[:, None]) / torch.tensor(NEAR_DEG)
    near = torch.softmax(-0.5 * far.square().sum(2), 1)
    factors = torch.zeros(len(shown), len(angles), attributes.branches)
    for a, name in enumerate(ANGLES):
        if (branch := attributes.branch_of(name)) is not None:
            way, between = (wanted - shown)[:, a, None], angles[:, a] - shown[:, a, None]
            weight = near * torch.where(between * way > 0, 1.0, OTHER_SIDE)
            weight = weight / weight.sum(1, keepdim=True)
            square = (weight * between.square()).sum(1, keepdim=True)
            least = (way / FURTHEST).square().clamp(min=torch.finfo().tiny)
            factors[:, :, branch] = weight * between * way / torch.maximum(square, least)
    return factors


def check_reach(angles: torch.Tensor, attributes: Attributes, shown: torch.Tensor, wanted: torch.Tensor) -> None:
    """ValueError, one line, if an angle [3] of `wanted` lies beyond what references and branches can lead to."""
    for a, name in enumerate(ANGLES):
        way, between = (wanted - shown)[a].item(), (angles[:, a] - shown[a]) * (wanted - shown)[a].sign()
        if way and attributes.branch_of(name) is None:
            raise ValueError(f"no branch of these weights moves {name} ({NAMES[name]}); leave it as the source has it")
        if way and abs(way) > max(FURTHEST * between.max(), -BACKWARD * between.min()):
            raise ValueError(
                f"{name}={wanted[a]:g}: no reference leads there from {shown[a]:g} degrees of {NAMES[name]}; give "
                "others (--references), or an angle nearer to theirs"
            )


def open_interpgaze(weights: Path | None, device, references: PatchSet | None) -> PatchRedirector:
    """For `redirection.methods`; without weights or references the embedded ones. Errors: ValueError, one line."""
    gallery = load_gallery() if references is None else gallery_of(references)
    return PatchRedirector(read_redirector(weights or "embedded")[0].requires_grad_(False), gallery, device)
