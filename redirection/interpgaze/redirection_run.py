"""A training run of InterpGaze: its settings, and what a step, a sheet and the weights are (`patch_run.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from redirection.interpgaze.alternation import Alternation, AlternationConfig, Trainees
from redirection.interpgaze.pairing import PairsOfPeople, mixing_of_step
from redirection.interpgaze.patch_sheets import draw_sheet
from redirection.interpgaze.redirector import InterpGaze, InterpGazeConfig, network_input
from redirection.interpgaze.redirector_file import save_redirector
from redirection.patch_run import PatchRun, PatchRunConfig
from redirection.patch_sets import PatchSet

ORDER = ("networks", "step", "steps", "batch", "paired", "unpaired", "tick", "snapshot", "seed")  # in states that exist


@dataclass(frozen=True, kw_only=True)
class RunConfig(PatchRunConfig):
    """Settings of a run.

    paired: also steps toward true pictures (`Alternation.pair_step`). unpaired: whether the published steps are made.
    """

    networks: InterpGazeConfig = field(default_factory=InterpGazeConfig)
    step: AlternationConfig = field(default_factory=AlternationConfig)
    paired: bool = False
    unpaired: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.batch < 2:
            raise ValueError(f"--batch_size={self.batch}: a batch of one pairs a patch with itself; give 2 or more")
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
        self.images = network_input(training.images, config.networks)
        self._pairs = PairsOfPeople(training, config.networks.groups) if config.paired else None
        nets = _networks(config, vgg, start).to(device).train()
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
