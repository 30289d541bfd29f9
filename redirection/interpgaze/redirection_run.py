"""A training run of InterpGaze: its settings, and what a step, a sheet and the weights are (`patch_run.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from groundwork.plain import check_within
from redirection.interpgaze.alternation import Alternation, AlternationConfig, Trainees
from redirection.interpgaze.pairing import PairsOfPeople, mixing_of_step
from redirection.interpgaze.patch_sheets import draw_sheet
from redirection.interpgaze.redirector import InterpGaze, InterpGazeConfig, network_input
from redirection.interpgaze.redirector_file import save_redirector
from redirection.patch_run import PatchRun, PatchRunConfig
from redirection.patch_sets import PatchSet

ORDER = (  # in states that exist
    "networks", "step", "steps", "batch", "paired", "unpaired", "still_heads", "cooldown", "tick", "snapshot", "seed",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RunConfig(PatchRunConfig):
    """Settings of a run.

    paired: also steps toward true pictures (`Alternation.pair_step`); still_heads: as of `PairsOfPeople`.
    unpaired: whether the published steps are made. cooldown: share of the steps, at the end, in which lr falls to 0.
    """

    networks: InterpGazeConfig = field(default_factory=InterpGazeConfig)
    step: AlternationConfig = field(default_factory=AlternationConfig)
    paired: bool = False
    unpaired: bool = True
    still_heads: float = 0.0
    cooldown: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if self.batch < 2:
            raise ValueError(f"--batch_size={self.batch}: a batch of one pairs a patch with itself; give 2 or more")
        for name in ("still_heads", "cooldown"):
            check_within(f"--{name.replace('_', '-')}", getattr(self, name), 0, 1)
        if self.networks.decoder == "blend" and (self.unpaired or not self.paired):
            raise ValueError("--dec_type=blend: only true targets train it; also give --only-paired")
        if not (self.paired or self.unpaired):
            raise ValueError("neither the published steps nor those of --paired are made; leave --only-paired out")


class Run(PatchRun):
    """One run."""

    SHOWN = ("pair_mse", "dec_mse")

    def __init__(
        self,
        config: RunConfig,
        training: PatchSet,
        unseen: PatchSet,
        folder: Path,
        device,
        vgg: dict[str, torch.Tensor] | None = None,
        start: InterpGaze | None = None,
    ):
        """vgg: VGG-19, which the encoder then begins with. start: a network to begin with instead.

        Errors: ValueError, one line, for a set that is too small, or a state of other settings.
        """
        if len(training) < config.batch:
            raise ValueError(f"--batch_size={config.batch}: there are only {len(training)} patches for training")
        if len(training.person.unique()) < 2:
            raise ValueError("all patches for training are of one person; the method mixes people, give two or more")
        self.training, self.unseen = training, unseen
        # Channels last: half again as fast on CPUs
        self.images = network_input(training.images, config.networks).contiguous(memory_format=torch.channels_last)
        self._pairs = None
        if config.paired:
            self._pairs = PairsOfPeople(training, config.networks.groups, config.still_heads)
        nets = _networks(config, vgg, start).to(device).to(memory_format=torch.channels_last).train()
        self.alternation = Alternation(nets, config.step)
        about = (training.names, vgg is not None)
        super().__init__(config, folder, device, nets, self.alternation.optimizers, about)

    def lasting_settings(self) -> dict:
        settings = super().lasting_settings()
        return {name: settings[name] for name in ORDER}

    def losses_of_step(self) -> Mapping[str, float]:
        config, branches = self.config, self.config.networks.groups.branches
        draws = mixing_of_step(config.seed, self.step, len(self.training), config.batch, branches)
        losses = {}
        self.alternation.set_lr(config.step.lr * self._share_of_lr())
        if config.unpaired:
            x = self.images[draws.rows].to(self.device)
            labels = [group[draws.rows].to(self.device) for group in self.training.labels]
            order, v, u = (part.to(self.device) for part in (draws.order, draws.v, draws.u))
            losses |= self.alternation.step(x, labels, order, v, u, self.step)
        if self._pairs is not None:
            triples = self._pairs.of_step(config.seed, self.step, draws.rows)
            pictures = (
                self.images[rows].to(self.device) for rows in (triples.source, triples.reference, triples.target)
            )
            losses |= self.alternation.pair_step(*pictures, triples.v.to(self.device))
        return losses

    def _share_of_lr(self) -> float:
        """1, and over the last steps linearly down."""
        last = self.config.cooldown * self.config.steps
        return 1.0 if last == 0 else min(1.0, (self.config.steps - self.step) / last)

    def save_weights(self, path: Path, facts: dict) -> None:
        save_redirector(path, self.networks.redirector, facts)

    def sheet(self) -> np.ndarray:
        return draw_sheet(self.networks.redirector, self.unseen, self.device)


def _networks(config: RunConfig, vgg: dict[str, torch.Tensor] | None, start: InterpGaze | None) -> Trainees:
    """All networks at the start, random by the seed where nothing is given."""
    if start is not None and start.config != config.networks:
        raise ValueError("the weights to start from are of other networks than the flags ask for; give the same flags")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        redirector = InterpGaze(config.networks) if start is None else start.requires_grad_(True)
        if vgg is not None and start is None:
            if config.networks.divisor != 1:
                raise ValueError(
                    f"--divisor={config.networks.divisor}: VGG-19 begins the full width only; leave --vgg out"
                )
            redirector.encoder.model.load_state_dict(vgg)
        return Trainees(redirector, vgg)
