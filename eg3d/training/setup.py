"""What a run starts with: networks, either random or from a checkpoint, and their optimisers."""

import copy

import torch
from torch import nn

from eg3d.checkpoints.loading import open_checkpoint
from eg3d.config.run import TrainConfig
from eg3d.geometry.cameras import LABEL_DIM
from eg3d.models.architectures import class_of
from eg3d.ops.precision import set_precision
from eg3d.running import distributed
from eg3d.training import schedules
from eg3d.training.resume import start_from
from groundwork.draw_keys import draw_key


def build_networks(
    config: TrainConfig, labels: torch.Tensor, device: torch.device, resume: bool
) -> tuple[dict[str, nn.Module], dict | None, list[str]]:
    """G_ema, G and D, the same in all processes; facts about the checkpoint they start from; lines for the user.

    Args:
        labels: [n, 25], of the data set; their spread is the unit of the label noise.
        resume: whether to read the weights of `config.resume`; a run that goes on from a state does not need them.
    """
    torch.manual_seed(draw_key(config.seed, "initial weights", 0, 0))
    G = class_of(config.generator)(config.generator)
    D = class_of(config.discriminator)(config.discriminator, config.generator.resolution, config.label_dim)
    if hasattr(G, "neural_rendering_resolution"):
        G.neural_rendering_resolution = config.schedule.raw_resolution_initial
    G_ema = copy.deepcopy(G)
    networks = {"G_ema": G_ema.eval(), "G": G.train(), "D": D.train()}
    for network in networks.values():
        network.to(device).requires_grad_(False)
    source, notes = None, []
    if config.resume is not None and resume:
        read = distributed.by_first(lambda: start_from(networks, config.resume, config.resume_partial))
        source, notes = read or (None, [])
        notes += distributed.by_first(lambda: _note_on_raw_images(config)) or []
        distributed.copy_from_first(networks.values())
    if hasattr(D, "label_std"):
        D.label_std.zero_()  # the noise is for the camera label, not for a gaze beside it
        D.label_std[:LABEL_DIM] = labels.std(dim=0, unbiased=False)
    for network in networks.values():
        set_precision(network, config.precision)
    return networks, source, notes


def _note_on_raw_images(config: TrainConfig) -> list[str]:
    """A line for who fine-tunes a published discriminator that would be shown other pictures than it has seen.

    Conversions keep what a published file says of its training; a snapshot of a run here does not have it.
    """
    rays = config.painted_rays
    if config.loss.raw_image == "legacy" or rays is None or "published" not in open_checkpoint(config.resume).facts:
        return []
    return [
        f"the published code paints over raw pictures of {rays} px before its discriminator sees them; "
        "this run does not, --raw-image=legacy does (docs/published_defects.md, D-02)"
    ]


def build_optimisers(config: TrainConfig, G: nn.Module, D: nn.Module) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    """Adam for both, corrected for a regulariser that does not step every time (StyleGAN2, appendix B)."""
    optim, loss = config.optim, config.loss
    return (
        adam(G, optim.generator_lr, optim, loss.density_reg_every if loss.density_reg > 0 else None),
        adam(D, optim.discriminator_lr, optim, loss.r1_every if loss.r1_gamma > 0 else None),
    )


def adam(network: nn.Module, lr: float, optim, interval: int | None) -> torch.optim.Adam:
    """Adam, corrected for a regulariser that steps every `interval` batches."""
    lr, betas = schedules.lazy_adam(lr, optim.betas, interval)
    return torch.optim.Adam(network.parameters(), lr=lr, betas=betas, eps=optim.eps, fused=True)
