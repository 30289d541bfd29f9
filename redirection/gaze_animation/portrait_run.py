"""A training run in one folder, of GazeAnimation or of the eyes' auto-encoder: the loop, what it writes, and how it
goes on after a stop (`PatchRun`'s ways, but for the places and the sheets).

opt.txt, options.json   the settings, as published and in full
CHECKPOINTS/state.pt    everything, to go on; replaced at every snapshot and at the end
CHECKPOINTS/WEIGHTS     what is used afterwards
SAMPLES/                sheets of pictures
stats.jsonl             means of the losses, one line a tick
"""

import dataclasses
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import nn

from groundwork.draws import draw_key
from groundwork.files import atomic_write
from groundwork.plain import check_types, check_within
from redirection.gaze_animation.domain_batches import DomainBatches
from redirection.gaze_animation.gaze_animator import AnimatorConfig
from redirection.gaze_animation.painting_losses import Faces, Losses
from redirection.gaze_animation.painting_steps import StepConfig
from redirection.patch_run import STATE, PatchRun

LARGEST_SHEET = 8  # rows


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings of a run. box: width and height in pictures of 256 px, () if the eyes' distance says them.

    reads: how many more faces of each domain Er reads in a step, if the gaze is known.
    tick, sample, snapshot: steps between lines of numbers, sheets, and states.
    """

    networks: AnimatorConfig = field(default_factory=AnimatorConfig)
    step: StepConfig = field(default_factory=StepConfig)
    steps: int = 200_000
    batch: int = 16
    box: tuple[float, ...] = ()
    legacy_mirror: bool = False
    reads: int = 0
    tick: int = 500
    sample: int = 2000
    snapshot: int = 20_000
    seed: int = 0

    def __post_init__(self):
        check_types(self)
        for name in ("steps", "batch", "tick", "sample", "snapshot"):
            check_within(f"--{name}", getattr(self, name), 1)
        if len(self.box) not in (0, 2) or any(not 4 <= side <= 256 for side in self.box):
            raise ValueError(f"box={self.box} must be a width and a height from 4 to 256 px")


class Training(Protocol):
    """What a run trains: `painting_steps.EyeTraining` or `PaintingTraining`."""

    nets: nn.Module
    optimizers: dict[str, torch.optim.Optimizer]

    def begin(self) -> None: ...

    def step(self, faces: Faces, factor: float, u: torch.Tensor) -> Losses: ...


@dataclass(frozen=True)
class Places:
    """Where a run writes."""

    folder: Path
    checkpoints: Path
    samples: Path


class PortraitRun(PatchRun):
    """One run. step: how many steps have been made."""

    LEARNING_RATE, SHOWN = "learning rates", ("Gy_loss", "pam_loss")
    SEES, FOLDER = "portraits", "another --exper_name"

    def __init__(
        self,
        config: RunConfig,
        training: Training,
        batches: DomainBatches,
        places: Places,
        device,
        save_weights: Callable[[Path, dict], None],
        sheets: Callable[[], dict[str, np.ndarray]],
        identity: str = "",
    ):
        """save_weights(folder, facts): writes what is used afterwards. sheets(): kind -> uint8 [H, W, 3], of now.

        identity: what a run that goes on must share besides the settings.
        Errors: ValueError, one line, for a state of other settings.
        """
        self.training, self.batches, self.places = training, batches, places
        self._write_weights, self._sheets = save_weights, sheets
        training.nets.to(device).train()
        training.begin()
        about = (batches.x.names, batches.y.names, identity)
        super().__init__(config, places.folder, device, training.nets, training.optimizers, about)

    @property
    def state_file(self) -> Path:
        return self.places.checkpoints / STATE

    def lasting_settings(self) -> dict:
        return dataclasses.asdict(self.config) | {"steps": None, "tick": None, "sample": None, "snapshot": None}

    def losses_of_step(self) -> Losses:
        config = self.config
        faces = self.batches.of_step(self.step).to(self.device)
        key = draw_key(config.seed, "penalty", 0, self.step)
        u = torch.rand(config.batch, generator=torch.Generator().manual_seed(key)).to(self.device)
        return self.training.step(faces, config.step.factor(self.step, config.steps), u)

    @torch.no_grad()
    def after_step(self) -> None:
        if self.step % self.config.sample and self.step != self.config.steps:
            return
        self.networks.eval()
        for kind, sheet in self._sheets().items():
            name = f"{self.step:06d}_{kind}_{self.folder.name}.jpg"
            atomic_write(self.places.samples / name, as_jpeg(sheet))
        self.networks.train()

    def save(self, facts: dict) -> None:
        """State and weights; each file is replaced when it is whole. Sheets come at steps of their own."""
        self._write_weights(self.places.checkpoints, facts | {"step": self.step})
        self.save_state()


def as_jpeg(sheet: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()
