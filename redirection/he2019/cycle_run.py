"""A training run of He et al. 2019: its settings, and what a step, a sheet and the weights are (`patch_run.py`)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from groundwork.draws import draw_key
from groundwork.plain import check_one_of, check_within
from redirection.gaze_pairs import GazePairs
from redirection.gaze_sheets import gaze_sheet
from redirection.he2019.angle_file import AngleConfig, save_generator, unit_angles
from redirection.he2019.angle_networks import AngleDiscriminator
from redirection.he2019.angle_redirector import AngleRedirector
from redirection.he2019.cycle_losses import CycleWeights, Losses, discriminator_losses, generator_losses
from redirection.patch_run import PatchRun, PatchRunConfig
from redirection.patch_sets import PatchSet, signed

OPTIMIZERS = {
    "adam": lambda parameters, of: torch.optim.Adam(parameters, lr=of.lr, betas=(of.beta1, of.beta2)),
    "sgd": lambda parameters, of: torch.optim.SGD(parameters, lr=of.lr),
    "adagrad": lambda parameters, of: torch.optim.Adagrad(parameters, lr=of.lr),
    "rmsprop": lambda parameters, of: torch.optim.RMSprop(parameters, lr=of.lr),
}


@dataclass(frozen=True, kw_only=True)
class CycleRunConfig(PatchRunConfig):
    """Settings. generator_every: D moves in every step, G in every so many-th of an epoch, the first included."""

    networks: AngleConfig = field(default_factory=AngleConfig)
    weights: CycleWeights = field(default_factory=CycleWeights)
    optimizer: str = "adam"
    lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    generator_every: int = 5

    def __post_init__(self):
        super().__post_init__()
        check_one_of("--optimizer", self.optimizer, OPTIMIZERS)
        check_within("--generator-every", self.generator_every, 1)
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"--adam_{name}={getattr(self, name)}: must be at least 0 and below 1")
        if not self.lr > 0:
            raise ValueError(f"--lr={self.lr}: must be above 0")


class CycleNetworks(nn.Module):
    """G and D, random by the seed."""

    def __init__(self, config: AngleConfig, seed: int):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.generator, self.critic = config.build(), AngleDiscriminator(config.size, config.width)


class CycleRun(PatchRun):
    """One run. The rate falls from the middle on, in a line to 0, so `steps` is a setting that a run keeps."""

    SHOWN = ("content", "cycle", "reg_d")

    def __init__(
        self,
        config: CycleRunConfig,
        training: PatchSet,
        unseen: PatchSet,
        folder: Path,
        device,
        seen: nn.Module | None = None,
        perceptual: str = "",
    ):
        """seen: losses of content and style, or None; perceptual: what it is made of.

        Errors: ValueError, one line, for a set without pairs, or a state of other settings.
        """
        self.pairs, self.training, self.unseen = GazePairs(training), training, unseen
        if len(self.pairs) < config.batch:
            raise ValueError(f"--batch_size={config.batch}: there are only {len(self.pairs)} pairs for training")
        self.angles = unit_angles(training.angles)
        self.seen = None if seen is None else seen.to(device)
        nets = CycleNetworks(config.networks, config.seed).to(device).train()
        optimizers = {
            name: OPTIMIZERS[config.optimizer](part.parameters(), config) for name, part in nets.named_children()
        }
        super().__init__(config, folder, device, nets, optimizers, (training.names, perceptual))

    def lasting_settings(self) -> dict:
        return asdict(self.config)

    def losses_of_step(self) -> Mapping[str, float]:
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.config.lr * min(1.0, 2 - 2 * self.step / self.config.steps)
        generator, critic = self.networks.generator, self.networks.critic
        source, target = self._batch("critic")
        with torch.no_grad():
            drawn = generator(source[0], target[1])
        draws = torch.Generator().manual_seed(draw_key(self.config.seed, "penalty", 0, self.step))
        u = torch.rand(len(drawn), generator=draws).to(self.device)
        losses = discriminator_losses(critic, source[0], drawn, source[1], u, self.config.weights)
        self._descend("critic", losses["d_total"])
        if self.step % self.pairs.per_epoch(self.config.batch) % self.config.generator_every == 0:
            source, target = self._batch("generator")
            drawn = generator(source[0], target[1])
            more = generator_losses(generator, critic, drawn, source, target, self.config.weights, self.seen)
            self._descend("generator", more["g_total"])
            losses |= more
        return {name: float(value.detach()) for name, value in losses.items()}

    def _batch(self, phase: str) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        """(patches, angles) of the sources, and of the targets."""
        rows = self.pairs.of_step(self.config.seed, self.step, self.config.batch, phase)
        return tuple((signed(self.training.images[r]).to(self.device), self.angles[r].to(self.device)) for r in rows)

    def _descend(self, name: str, loss: Losses) -> None:
        parameters = list(getattr(self.networks, name).parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        self.optimizers[name].step()
        self.optimizers[name].zero_grad()

    def save_weights(self, path: Path, facts: dict) -> None:
        save_generator(path, self.networks.generator, facts)

    def sheet(self) -> np.ndarray:
        return gaze_sheet(AngleRedirector(self.networks.generator, self.device).redirect, self.unseen)
