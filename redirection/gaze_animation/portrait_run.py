"""A training run in one folder, of GazeAnimation or of the eyes' auto-encoder: the loop, what it writes, and how it
goes on after a stop.

opt.txt, options.json   the settings, as published and in full
CHECKPOINTS/state.pt    everything, to go on; replaced at every snapshot and at the end
CHECKPOINTS/WEIGHTS     what is used afterwards
SAMPLES/                sheets of pictures
stats.jsonl             means of the losses, one line a tick
"""

import dataclasses
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from eg3d.training.loop import stop_requests
from eg3d.training.saved_state import restore_optimiser
from eg3d.training.stats import Stats, append_line, drop_lines_after
from groundwork.command import write_json
from groundwork.draws import draw_key
from groundwork.files import atomic_write
from groundwork.plain import check_types, check_within
from groundwork.torch_file import read_torch
from redirection.gaze_animation.domain_batches import DomainBatches
from redirection.gaze_animation.gaze_animator import AnimatorConfig
from redirection.gaze_animation.painting_losses import Faces, Losses
from redirection.gaze_animation.painting_steps import StepConfig

STATE, STATS, OPTIONS = "state.pt", "stats.jsonl", "options.json"
LARGEST_SHEET = 8  # rows


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings of a run. box: width and height in pictures of 256 px, () if the eyes' distance says them.

    tick, sample, snapshot: steps between lines of numbers, sheets, and states.
    """

    networks: AnimatorConfig = field(default_factory=AnimatorConfig)
    step: StepConfig = field(default_factory=StepConfig)
    steps: int = 200_000
    batch: int = 16
    box: tuple[float, ...] = ()
    legacy_mirror: bool = False
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


class PortraitRun:
    """One run. step: how many steps have been made."""

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
        self.config, self.training, self.batches, self.places = config, training, batches, places
        self.device, self._save_weights, self._sheets = device, save_weights, sheets
        training.nets.to(device).train()
        training.begin()
        self.step, self.stats, self._seconds = 0, Stats(), 0.0
        settings = dataclasses.asdict(config) | {"steps": None, "tick": None, "sample": None, "snapshot": None}
        self._identity = repr((settings, batches.x.names, batches.y.names, identity))
        if (state := places.checkpoints / STATE).is_file():
            self._go_on(state)

    def train(self, facts: dict, progress: bool = True) -> int:
        """Makes the steps that are left; returns 0, or the exit code of the signal that stopped it, with all saved."""
        if self.step == 0:
            write_json(self.places.folder / OPTIONS, dataclasses.asdict(self.config) | {"facts": facts})
        drop_lines_after(self.places.folder / STATS, self.step * self.config.batch)
        bar = tqdm(total=self.config.steps, initial=self.step, unit="step", disable=not progress, mininterval=2)
        with stop_requests() as stop, bar:
            for _ in self._steps(bar, facts):
                if stop.code:
                    break
            self.save(facts)
        return stop.code

    def _steps(self, bar, facts: dict) -> Iterator[None]:
        config = self.config
        while self.step < config.steps:
            began = time.monotonic()
            faces = self.batches.of_step(self.step).to(self.device)
            key = draw_key(config.seed, "penalty", 0, self.step)
            u = torch.rand(config.batch, generator=torch.Generator().manual_seed(key)).to(self.device)
            for name, value in self.training.step(faces, config.step.factor(self.step, config.steps), u).items():
                self.stats.add(f"Loss/{name}", value)
            self.step += 1
            self._seconds += time.monotonic() - began
            bar.update()
            if self.step % config.tick == 0 or self.step == config.steps:
                self._tick(bar)
            if self.step % config.sample == 0 or self.step == config.steps:
                self._write_sheets()
            if self.step % config.snapshot == 0 and self.step < config.steps:
                self.save(facts)
            yield

    def _tick(self, bar) -> None:
        if (name := self.stats.not_finite()) is not None:
            raise ValueError(f"{name} is not finite at step {self.step}; give smaller learning rates, in a new folder")
        means = self.stats.line()
        done = self.config.tick if self.step % self.config.tick == 0 else self.step % self.config.tick
        line = {"step": self.step, "images_seen": self.step * self.config.batch, "sec_per_step": self._seconds / done}
        append_line(self.places.folder / STATS, line | {key: entry["mean"] for key, entry in means.items()})
        totals = {name: means[f"Loss/{name}"]["mean"] for name in ("Gx_loss", "Gy_loss", "pam_loss")
                  if f"Loss/{name}" in means}  # fmt: skip
        bar.set_postfix_str(" ".join(f"{name} {value:.3f}" for name, value in totals.items()))
        self._seconds = 0.0

    @torch.no_grad()
    def _write_sheets(self) -> None:
        self.training.nets.eval()
        for kind, sheet in self._sheets().items():
            name = f"{self.step:06d}_{kind}_{self.places.folder.name}.jpg"
            atomic_write(self.places.samples / name, as_jpeg(sheet))
        self.training.nets.train()

    def save(self, facts: dict) -> None:
        """State and weights; each file is replaced when it is whole."""
        self._save_weights(self.places.checkpoints, facts | {"step": self.step})
        state = {
            "identity": self._identity,
            "step": self.step,
            "seconds": self._seconds,
            "stats": self.stats.pending(),
            "networks": {name: value.cpu() for name, value in self.training.nets.state_dict().items()},
            "optimizers": {name: one.state_dict() for name, one in self.training.optimizers.items()},
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        atomic_write(self.places.checkpoints / STATE, buffer.getvalue())

    def _go_on(self, path: Path) -> None:
        try:
            state = read_torch(path)
            identity = state["identity"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}: is no state of a run ({error}); remove it, or give another folder") from None
        if identity != self._identity:
            raise ValueError(f"{path}: belongs to a run with other settings or portraits; give another --exper_name")
        try:
            self.training.nets.load_state_dict(state["networks"])
            for name, optimizer in self.training.optimizers.items():
                restore_optimiser(optimizer, state["optimizers"][name])
            self.step, self._seconds, self.stats = state["step"], state["seconds"], Stats(state["stats"])
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{path}: is damaged ({reason}); remove it, or give another folder") from None


def as_jpeg(sheet: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()
