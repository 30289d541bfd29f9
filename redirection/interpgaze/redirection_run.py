"""A training run of InterpGaze in one folder: settings, the loop, what it writes, and how it goes on after a stop.

options.json      the settings
state.pt          everything, to go on; replaced at every snapshot and at the end
weights.safetensors   encoder, controller and decoder, to use
stats.jsonl       means of the losses, one line a tick
samples/          sheets of unseen people (`patch_sheets.py`)
"""

import dataclasses
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from eg3d.pictures.layout import write_png
from eg3d.training.loop import stop_requests
from eg3d.training.saved_state import restore_optimiser
from eg3d.training.stats import Stats, append_line, drop_lines_after
from groundwork.command import write_json
from groundwork.files import atomic_write
from groundwork.plain import check_types, check_within
from groundwork.torch_file import read_torch
from redirection.interpgaze.alternation import Alternation, AlternationConfig, Trainees
from redirection.interpgaze.pairing import PairsOfPeople, mixing_of_step
from redirection.interpgaze.patch_sheets import draw_sheet
from redirection.interpgaze.redirector import InterpGaze, InterpGazeConfig, network_input
from redirection.interpgaze.redirector_file import save_redirector
from redirection.patch_sets import PatchSet

STATE, WEIGHTS, STATS, OPTIONS, SAMPLES = "state.pt", "weights.safetensors", "stats.jsonl", "options.json", "samples"
WRITES = (STATE, WEIGHTS, STATS, OPTIONS, f"{SAMPLES}/*.png")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings of a run. tick, snapshot: steps between lines of numbers, and between states with weights and sheets.

    paired: also steps toward true pictures (`Alternation.pair_step`); still_heads: as of `PairsOfPeople`.
    unpaired: whether the published steps are made. cooldown: share of the steps, at the end, in which lr falls to 0.
    """

    networks: InterpGazeConfig = field(default_factory=InterpGazeConfig)
    step: AlternationConfig = field(default_factory=AlternationConfig)
    steps: int = 100_000
    batch: int = 32
    paired: bool = False
    unpaired: bool = True
    still_heads: float = 0.0
    cooldown: float = 0.0
    tick: int = 100
    snapshot: int = 2000
    seed: int = 0

    def __post_init__(self):
        check_types(self)
        for name in ("steps", "tick", "snapshot"):
            check_within(f"--{name}", getattr(self, name), 1)
        if self.batch < 2:
            raise ValueError(f"--batch_size={self.batch}: a batch of one pairs a patch with itself; give 2 or more")
        for name in ("still_heads", "cooldown"):
            check_within(f"--{name.replace('_', '-')}", getattr(self, name), 0, 1)
        if self.networks.decoder == "blend" and (self.unpaired or not self.paired):
            raise ValueError("--dec_type=blend: only true targets train it; also give --only-paired")
        if not (self.paired or self.unpaired):
            raise ValueError("neither the published steps nor those of --paired are made; leave --only-paired out")


class Run:
    """One run. step: how many steps have been made."""

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
        self.config, self.training, self.unseen = config, training, unseen
        self.folder, self.device, self.step = folder, device, 0
        # Channels last: half again as fast on CPUs
        self.images = network_input(training.images, config.networks).contiguous(memory_format=torch.channels_last)
        self._pairs = None
        if config.paired:
            self._pairs = PairsOfPeople(training, config.networks.groups, config.still_heads)
        self.nets = _networks(config, vgg, start).to(device).to(memory_format=torch.channels_last).train()
        self.alternation = Alternation(self.nets, config.step)
        self.stats, self._seconds = Stats(), 0.0
        self._identity = repr((dataclasses.asdict(config) | {"steps": None}, training.names, vgg is not None))
        if (folder / STATE).is_file():
            self._go_on(folder / STATE)

    def train(self, facts: dict, progress: bool = True) -> int:
        """Makes the steps that are left; returns 0, or the exit code of the signal that stopped it, with all saved."""
        if self.step == 0:
            write_json(self.folder / OPTIONS, dataclasses.asdict(self.config) | {"facts": facts})
        drop_lines_after(self.folder / STATS, self.step * self.config.batch)
        bar = tqdm(total=self.config.steps, initial=self.step, unit="step", disable=not progress, mininterval=2)
        with stop_requests() as stop, bar:
            for _ in self._steps(bar):
                if stop.code:
                    break
            self.save(facts)
        return stop.code

    def _steps(self, bar) -> Iterator[None]:
        while self.step < self.config.steps:
            began = time.monotonic()
            self._one_step()
            self._seconds += time.monotonic() - began
            bar.update()
            if self.step % self.config.tick == 0 or self.step == self.config.steps:
                self._tick(bar)
            if self.step % self.config.snapshot == 0 and self.step < self.config.steps:
                self.save({})
            yield

    def _one_step(self) -> None:
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
        for name, value in losses.items():
            self.stats.add(f"Loss/{name}", value)
        self.step += 1

    def _share_of_lr(self) -> float:
        """1, and over the last steps linearly down."""
        last = self.config.cooldown * self.config.steps
        return 1.0 if last == 0 else min(1.0, (self.config.steps - self.step) / last)

    def _tick(self, bar) -> None:
        if (name := self.stats.not_finite()) is not None:
            raise ValueError(
                f"{name} is not finite at step {self.step}; give a smaller --lr than {self.config.step.lr:g}, in a new "
                "folder"
            )
        means = self.stats.line()
        done = self.config.tick if self.step % self.config.tick == 0 else self.step % self.config.tick
        line = {"step": self.step, "images_seen": self.step * self.config.batch, "sec_per_step": self._seconds / done}
        append_line(self.folder / STATS, line | {key: entry["mean"] for key, entry in means.items()})
        shown = means.get("Loss/pair_mse") or means["Loss/dec_mse"]
        bar.set_postfix_str(f"mse {shown['mean']:.4f}")
        self._seconds = 0.0

    def save(self, facts: dict) -> None:
        """State, weights and a sheet; each file is replaced when it is whole."""
        save_redirector(self.folder / WEIGHTS, self.nets.redirector, facts | {"step": self.step})
        write_png(
            self.folder / SAMPLES / f"{self.step:08d}.png", draw_sheet(self.nets.redirector, self.unseen, self.device)
        )
        state = {
            "identity": self._identity,
            "step": self.step,
            "seconds": self._seconds,
            "stats": self.stats.pending(),
            "networks": {name: value.cpu() for name, value in self.nets.state_dict().items()},
            "optimizers": {name: one.state_dict() for name, one in self.alternation.optimizers.items()},
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        atomic_write(self.folder / STATE, buffer.getvalue())

    def _go_on(self, path: Path) -> None:
        try:
            state = read_torch(path)
            identity = state["identity"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}: is no state of a run ({error}); remove it, or give another folder") from None
        if identity != self._identity:
            raise ValueError(f"{path}: belongs to a run with other settings or patches; give another --save_dir")
        try:
            self.nets.load_state_dict(state["networks"])
            for name, optimizer in self.alternation.optimizers.items():
                restore_optimiser(optimizer, state["optimizers"][name])
            self.step, self._seconds, self.stats = state["step"], state["seconds"], Stats(state["stats"])
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{path}: is damaged ({reason}); remove it, or give another folder") from None


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
