"""Networks for pictures of twice the side start as the same functions (Net2Net, Chen et al. 2016).

Karras et al. 2018 fade new layers in. Here the new block of a network starts as a filter that enlarges or shrinks, and
learns from there. Random weights would spoil what the other blocks know: a discriminator that grew so from 64 to 128 px
gave all pictures the same score, and had not recovered after 5,000.
"""

import math

import torch
from torch import nn

from eg3d.models.backbone import SynthesisNetwork
from eg3d.models.discriminator import CameraDiscriminator
from eg3d.models.generator import TriPlaneGenerator
from eg3d.ops.bias_act import ACTIVATIONS


@torch.no_grad()
def grow(network: nn.Module, smaller: dict[str, torch.Tensor]) -> str | None:
    """Sets the one block that a smaller network lacks, so that both start as the same function.

    Args:
        network: a generator with planes, or a discriminator of pictures, of twice the smaller one's side; its other
            blocks hold the smaller one's weights.
        smaller: tensors of the smaller one, by name.
    Returns: a line for the user. None, and nothing is changed, if the sizes differ otherwise, or the new block is
        clamped, too narrow or of another architecture.
    """
    if isinstance(network, TriPlaneGenerator):
        return _grow_planes(network.backbone.synthesis, smaller)
    return _grow_discriminator(network, smaller) if isinstance(network, CameraDiscriminator) else None


def _grow_planes(synthesis: SynthesisNetwork, smaller: dict) -> str | None:
    """The new block enlarges the planes of the block before, and adds nothing to them."""
    before, largest = synthesis.resolutions[-2:]
    block, prefix = getattr(synthesis, f"b{largest}"), "backbone.synthesis."
    own = {name: value.shape for name, value in synthesis.state_dict().items() if not name.startswith(f"b{largest}.")}
    theirs = {name.removeprefix(prefix): v.shape for name, v in smaller.items() if name.startswith(prefix)}
    if block.architecture != "skip" or own != theirs:
        return None
    block.torgb.weight.zero_()
    return f"planes of {largest} px start as those of {before} px, enlarged"


def _grow_discriminator(network: CameraDiscriminator, smaller: dict) -> str | None:
    """The new block shrinks the picture, and gives what the smaller one's layer from RGB makes of it.

    Two layers with leaky ReLUs keep a number x as a pair, whose difference is a multiple of x. So the layer from RGB
    makes pairs, conv0 keeps them, and conv1 shrinks, takes the differences, and acts as the smaller one's layer.
    """
    largest, before = network.resolutions[:2]
    block, config = getattr(network, f"b{largest}"), network.config
    if config.architecture != "resnet" or config.blocks.activation != "lrelu" or config.conv_clamp is not None:
        return None
    weight, bias = (smaller.get(f"b{before}.fromrgb.{name}") for name in ("weight", "bias"))
    width, colours = block.fromrgb.weight.shape[:2]
    wanted = (block.conv1.weight.shape[0], colours, 1, 1)  # of a layer from RGB to what the next block takes
    if weight is None or bias is None or weight.shape != wanted or bias.shape != wanted[:1] or width < 2 * colours:
        return None
    for layer in (block.conv0, block.conv1, block.skip):
        layer.weight.zero_()
    one = torch.eye(width, device=weight.device)
    pairs = torch.cat([one[:colours, :colours], -one[:colours, :colours]])
    block.fromrgb.weight[: 2 * colours, :, 0, 0] = pairs / block.fromrgb.weight_gain
    block.conv0.weight[:, :, 1, 1] = one / block.conv0.weight_gain
    _, slope, gain = ACTIVATIONS["lrelu"]
    difference = gain**2 * (1 + slope**2)  # times x: of a pair gain^2 x and -(gain slope)^2 x, in either order
    # The block ends with gain * sqrt(1/2) = 1, the smaller one's layer with gain; bias and weights make up for that.
    weight = gain * weight[:, :, 0, 0] / math.sqrt(colours) / (difference * block.conv1.weight_gain)
    block.conv1.weight[:, : 2 * colours, 1, 1] = torch.cat([weight, -weight], dim=1)
    block.conv1.bias.copy_(gain * bias)
    return f"pictures of {largest} px are shrunk at first, then read as those of {before} px"
