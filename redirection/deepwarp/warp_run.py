"""A training run of DeepWarp: its settings, and what a step, a sheet and the weights are (`patch_run.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from redirection.deepwarp.gaze_warp import GazeWarp, WarpConfig, warp_losses
from redirection.deepwarp.rate_schedule import rate_at
from redirection.deepwarp.warp_file import angle_difference, box_rows, save_warp
from redirection.deepwarp.warp_redirector import WarpRedirector
from redirection.gaze_pairs import GazePairs
from redirection.gaze_sheets import gaze_sheet
from redirection.patch_run import PatchRun, PatchRunConfig
from redirection.patch_sets import PatchSet

EPOCH_STEPS = 100  # published


@dataclass(frozen=True, kw_only=True)
class WarpRunConfig(PatchRunConfig):
    """Settings. schedule: (epoch, rate) of each change; an epoch has 100 steps."""

    networks: WarpConfig = field(default_factory=WarpConfig)
    batch: int = 64
    schedule: tuple[tuple[int, float], ...] = ((0, 1e-3),)
    legacy_schedule: bool = False


class WarpRun(PatchRun):
    """One run."""

    LEARNING_RATE, SHOWN = "rate in --scheduler", ("output_loss",)

    def __init__(self, config: WarpRunConfig, training: PatchSet, unseen: PatchSet, folder: Path, device):
        """training, unseen: squares as wide as the box.

        Errors: ValueError, one line, for a set without pairs, or a state of other settings.
        """
        self.pairs, self.training, self.unseen = GazePairs(training), training, unseen
        if len(self.pairs) < config.batch:
            raise ValueError(f"--batch_size={config.batch}: there are only {len(self.pairs)} pairs for training")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = GazeWarp(config.networks).to(device).train()
        optimizer = torch.optim.Adam(network.parameters(), lr=config.schedule[0][1])
        super().__init__(config, folder, device, network, {"warp": optimizer}, (training.names,))

    def losses_of_step(self) -> Mapping[str, float]:
        config, optimizer = self.config, self.optimizers["warp"]
        for group in optimizer.param_groups:
            group["lr"] = rate_at(config.schedule, self.step // EPOCH_STEPS, config.legacy_schedule)
        source, target = self.pairs.of_step(config.seed, self.step, config.batch, "warp")
        rows, angles = box_rows(config.networks), self.training.angles
        x, y = (self.training.images[of][:, :, rows].float().to(self.device) / 255 for of in (source, target))
        difference = angle_difference(angles[source], angles[target], config.networks).to(self.device)
        losses = warp_losses(self.networks(x, difference), y)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def save_weights(self, path: Path, facts: dict) -> None:
        save_warp(path, self.networks, facts)

    def sheet(self) -> np.ndarray:
        self.networks.eval()
        drawn = gaze_sheet(WarpRedirector(self.networks, self.device).redirect, self.unseen)
        self.networks.train()
        return drawn
