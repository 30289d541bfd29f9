"""A training run of a redirector in one folder: the loop, what it writes, and how it goes on after a stop.

options.json      the settings
state.pt          everything, to go on; replaced at every snapshot and at the end
weights.safetensors   what redirects, to use
stats.jsonl       means of the losses, one line a tick
samples/          sheets of unseen people

A method says in a class of its own what a step, a sheet and the weights are (`PatchRun`).
"""

import dataclasses
import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from eg3d.pictures.layout import write_png
from eg3d.training.loop import stop_requests
from eg3d.training.saved_state import restore_optimiser
from eg3d.training.stats import Stats, append_line, drop_lines_after
from groundwork.command import write_json
from groundwork.files import atomic_write
from groundwork.plain import check_types, check_within
from groundwork.torch_file import read_torch

STATE, WEIGHTS, STATS, OPTIONS, SAMPLES = "state.pt", "weights.safetensors", "stats.jsonl", "options.json", "samples"
WRITES = (STATE, WEIGHTS, STATS, OPTIONS, f"{SAMPLES}/*.png")


@dataclass(frozen=True, kw_only=True)
class PatchRunConfig:
    """Settings of any run. tick, snapshot: steps between lines of numbers, and between states, weights and sheets."""

    steps: int = 100_000
    batch: int = 32
    tick: int = 100
    snapshot: int = 2000
    seed: int = 0

    def __post_init__(self):
        check_types(self)
        for name, flag in (("steps", "--steps"), ("batch", "--batch_size"), ("tick", "--tick"), ("snapshot", "--snap")):
            check_within(flag, getattr(self, name), 1)


class PatchRun:
    """One run. step: how many steps have been made. A method fills in what raises NotImplementedError.

    LEARNING_RATE: the flag that a loss which is not finite asks to lower. SHOWN: losses of which the bar shows the
    first that there is. SEES, FOLDER: what the run learns from, and what else to give, in messages.
    """

    LEARNING_RATE, SHOWN, SEES, FOLDER = "--lr", (), "patches", "another folder"

    def __init__(
        self,
        config: PatchRunConfig,
        folder: Path,
        device,
        networks: nn.Module,
        optimizers: Mapping[str, torch.optim.Optimizer],
        about: tuple,
    ):
        """networks: all that is trained, on its device. about: what else a run that goes on must have in common.

        Errors: ValueError, one line, for a state of other settings, or a damaged one.
        """
        self.config, self.folder, self.device, self.step = config, folder, device, 0
        self.networks, self.optimizers = networks, optimizers
        self.stats, self._seconds = Stats(), 0.0
        self._identity = repr((self.lasting_settings(), *about))
        if self.state_file.is_file():
            self._go_on(self.state_file)

    @property
    def state_file(self) -> Path:
        return self.folder / STATE

    def lasting_settings(self) -> dict:
        """Those that a run which goes on must have in common."""
        return dataclasses.asdict(self.config) | {"steps": None}

    def losses_of_step(self) -> Mapping[str, float]:
        """Makes step number `self.step`, whose draws are keyed by it; returns its losses."""
        raise NotImplementedError

    def save_weights(self, path: Path, facts: dict) -> None:
        raise NotImplementedError

    def sheet(self) -> np.ndarray:
        """uint8 [H, W, 3]: what the network makes of unseen people."""
        raise NotImplementedError

    def train(self, facts: dict, progress: bool = True) -> int:
        """Makes the steps that are left; returns 0, or the exit code of the signal that stopped it, with all saved."""
        if self.step == 0:
            write_json(self.folder / OPTIONS, dataclasses.asdict(self.config) | {"facts": facts})
        drop_lines_after(self.folder / STATS, self.step * self.config.batch)
        bar = tqdm(total=self.config.steps, initial=self.step, unit="step", disable=not progress, mininterval=2)
        with stop_requests() as stop, bar:
            for _ in self._steps(bar, facts):
                if stop.code:
                    break
            self.save(facts)
        return stop.code

    def _steps(self, bar, facts: dict) -> Iterator[None]:
        while self.step < self.config.steps:
            began = time.monotonic()
            for name, value in self.losses_of_step().items():
                self.stats.add(f"Loss/{name}", value)
            self.step += 1
            self._seconds += time.monotonic() - began
            bar.update()
            if self.step % self.config.tick == 0 or self.step == self.config.steps:
                self._tick(bar)
            self.after_step()
            if self.step % self.config.snapshot == 0 and self.step < self.config.steps:
                self.save(facts)
            yield

    def after_step(self) -> None:
        """What else is written, and when, is each method's own."""

    def _tick(self, bar) -> None:
        if (name := self.stats.not_finite()) is not None:
            raise ValueError(
                f"{name} is not finite at step {self.step}; give a smaller {self.LEARNING_RATE}, in a new folder"
            )
        means = self.stats.line()
        done = self.config.tick if self.step % self.config.tick == 0 else self.step % self.config.tick
        line = {"step": self.step, "images_seen": self.step * self.config.batch, "sec_per_step": self._seconds / done}
        append_line(self.folder / STATS, line | {key: entry["mean"] for key, entry in means.items()})
        if shown := next((name for name in self.SHOWN if f"Loss/{name}" in means), None):
            bar.set_postfix_str(f"{shown} {means[f'Loss/{shown}']['mean']:.4f}")
        self._seconds = 0.0

    def save(self, facts: dict) -> None:
        """State, weights and a sheet; each file is replaced when it is whole."""
        self.save_weights(self.folder / WEIGHTS, facts | {"step": self.step})
        write_png(self.folder / SAMPLES / f"{self.step:08d}.png", self.sheet())
        self.save_state()

    def save_state(self) -> None:
        state = {
            "identity": self._identity,
            "step": self.step,
            "seconds": self._seconds,
            "stats": self.stats.pending(),
            "networks": {name: value.cpu() for name, value in self.networks.state_dict().items()},
            "optimizers": {name: one.state_dict() for name, one in self.optimizers.items()},
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        atomic_write(self.state_file, buffer.getvalue())

    def _go_on(self, path: Path) -> None:
        try:
            state = read_torch(path)
            identity = state["identity"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}: is no state of a run ({error}); remove it, or give {self.FOLDER}") from None
        if identity != self._identity:
            raise ValueError(f"{path}: belongs to a run with other settings or {self.SEES}; give {self.FOLDER}")
        try:
            self.networks.load_state_dict(state["networks"])
            for name, optimizer in self.optimizers.items():
                restore_optimiser(optimizer, state["optimizers"][name])
            self.step, self._seconds, self.stats = state["step"], state["seconds"], Stats(state["stats"])
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{path}: is damaged ({reason}); remove it, or give {self.FOLDER}") from None
