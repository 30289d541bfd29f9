"""Training of gaze networks: cross-entropy on the bins plus regression on the angle (L2CS-Net, section 3.2)."""

import hashlib
import io
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from groundwork.files import atomic_write
from l2cs.augmented_crops import Augmentation, augment
from l2cs.decode import Binning, binning_of, decode_degrees, digitize
from l2cs.estimator import GazeEstimator
from l2cs.gaze_sets import FaceImages, to_float
from l2cs.measuring import measure
from l2cs.model import L2CS, Architecture
from l2cs.preprocess import preprocess
from l2cs.swapped_backgrounds import backgrounds_of, swap_backgrounds
from l2cs.view_sets import LabelledFaces, ViewImages
from l2cs.weights import load_weights, read_tensors, save_weights

STATE_FILE, WEIGHTS_FILE = "state.pt", "weights.safetensors"
SMALL_DEFAULTS = {"num_epochs": 16, "batch_size": 32, "lr": 2e-3}  # 2.9 degrees on the embedded world


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Settings of one run.

    recipe: "published" trains as L2CS-Net did (`prepare`), "scratch" trains every parameter, lr falling as a cosine.
    """

    num_epochs: int = 60
    batch_size: int = 16
    lr: float = 1e-5
    alpha: float = 1.0  # weight of the regression term, in squared degrees
    recipe: str = "published"
    augment: bool = False
    seed: int = 0
    swap_backgrounds: float = 0.0  # share of the images that get another background; needs face masks
    zoom: float = Augmentation.zoom  # largest change of size, as a fraction, if augmented

    @classmethod
    def for_network(cls, small: bool, recipe: str | None, augment: bool | None, **given) -> "TrainingConfig":
        """As published for a ResNet, or as suits the small network; what is given and not None counts instead."""
        values = (SMALL_DEFAULTS if small else {}) | {name: value for name, value in given.items() if value is not None}
        recipe, augment = recipe or ("scratch" if small else "published"), small if augment is None else augment
        return cls(**values, recipe=recipe, augment=augment)

    def __post_init__(self):
        if self.recipe not in ("published", "scratch"):
            raise ValueError(f"recipe '{self.recipe}': must be published or scratch")
        if self.num_epochs < 1 or self.batch_size < 2 or not self.lr > 0 or not self.alpha >= 0:
            raise ValueError(
                f"--num_epochs={self.num_epochs} --batch_size={self.batch_size} --lr={self.lr} --alpha={self.alpha}: "
                "epochs must be at least 1, a batch at least 2 (batch norm), lr above 0 and alpha not negative"
            )
        if not 0 <= self.swap_backgrounds <= 1:
            raise ValueError(f"--swap-backgrounds={self.swap_backgrounds}: is a share of the images, 0 to 1")
        if not 0 <= self.zoom <= 0.5:
            raise ValueError(f"--zoom={self.zoom}: is a fraction of the size, 0 to 0.5")

    def facts(self) -> dict:
        """All settings; those that came later are left out at their defaults, so that older runs can go on."""
        later = {"swap_backgrounds": 0.0, "zoom": Augmentation.zoom}
        return {name: value for name, value in asdict(self).items() if name not in later or value != later[name]}


def gaze_loss(logits: torch.Tensor, degrees: torch.Tensor, binning: Binning, alpha: float) -> torch.Tensor:
    """One head: cross-entropy of the bin + alpha * mean squared error of the decoded angle, in degrees squared."""
    regression = F.mse_loss(decode_degrees(logits, binning), degrees)
    return F.cross_entropy(logits, digitize(degrees, binning)) + alpha * regression


def prepare(model: L2CS, recipe: str) -> list[torch.nn.Parameter]:
    """Sets train and evaluation modes and returns the parameters to optimise.

    "published": the stem keeps its weights (learning rate 0), and the batch norms called bn1..bn3 inside the layers
    keep their statistics, but not those of the shortcuts nor the stem's (an inherited inconsistency, kept).
    """
    model.train()
    if recipe == "published":
        frozen = [*model.conv1.parameters(), *model.bn1.parameters()]
        for parameter in frozen:
            parameter.requires_grad_(False)
        for name, module in model.named_modules():
            if name.startswith("layer") and "bn" in name:
                module.eval()
    for name, parameter in model.named_parameters():
        if name.startswith("fc_finetune"):
            parameter.requires_grad_(False)
    return [p for p in model.parameters() if p.requires_grad]


def load_pretrained(model: L2CS, path: Path) -> None:
    """Copies the trunk from a torchvision ResNet state dict, without its classifier; ValueError if it does not fit."""
    state, own = read_tensors(path), model.state_dict()
    for name, value in own.items():
        if name.startswith("fc_") or name.endswith("num_batches_tracked"):
            continue
        if name not in state or state[name].shape != value.shape:
            raise ValueError(f"{path}: no '{name}' of shape {list(value.shape)}, so it is no trunk for this --arch")
        own[name] = state[name]
    model.load_state_dict(own)


def _generator(*place) -> torch.Generator:
    """Draws keyed by their place in the run, so that a continued run draws what an unbroken one would."""
    digest = hashlib.blake2s("/".join(map(str, place)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


class Trainer:
    """One run in one folder: `state.pt` (to continue), `weights.safetensors` (to use). Both are replaced every epoch.

    A folder that holds the state of the same run is continued; one of another run is an error.
    """

    def __init__(
        self, model: L2CS, images: FaceImages | ViewImages, angles: torch.Tensor, config: TrainingConfig,
        folder: Path, device, backgrounds: torch.Tensor | None = None,
    ):  # fmt: skip
        if len(images) < config.batch_size:
            raise ValueError(f"--batch_size={config.batch_size}: there are only {len(images)} training images")
        self.model = model.to(device, memory_format=torch.channels_last)  # a quarter faster on CPUs
        self.images, self.angles = images, angles
        self.config, self.folder, self.device, self.backgrounds = config, folder, device, backgrounds
        self.epoch = 0
        self._parameters = prepare(model, config.recipe)
        self._optimizer = torch.optim.Adam(self._parameters, lr=config.lr)
        pictures = () if backgrounds is None else (len(backgrounds),)
        self._identity = repr((config.facts(), asdict(model.architecture), len(images), *pictures))
        if (folder / STATE_FILE).is_file():
            self._continue(folder / STATE_FILE)

    @property
    def steps_per_epoch(self) -> int:
        return len(self.images) // self.config.batch_size  # the incomplete last batch is dropped; epochs are shuffled

    def run(self, facts: dict, progress: bool = True) -> Iterator[dict]:
        """Trains the epochs that are left; after each one saves everything and yields its mean losses."""
        total = self.config.num_epochs * self.steps_per_epoch
        bar = tqdm(total=total, initial=self.epoch * self.steps_per_epoch, unit="step", disable=not progress)
        with bar:
            while self.epoch < self.config.num_epochs:
                loss = self._train_epoch(bar)
                self.epoch += 1
                bar.set_description(f"epoch {self.epoch} loss {loss:.2f}")
                facts_now = {**facts, **self.config.facts(), "epochs_done": self.epoch}
                save_weights(self.folder / WEIGHTS_FILE, self.model, facts_now)
                self._save_state()
                yield {"epoch": self.epoch, "loss": loss}

    def _train_epoch(self, bar) -> float:
        order = torch.randperm(len(self.images), generator=_generator(self.config.seed, "order", self.epoch))
        losses = []
        for step in range(self.steps_per_epoch):
            chosen = order[step * self.config.batch_size : (step + 1) * self.config.batch_size]
            losses.append(self._step(chosen, step))
            bar.update()
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise ValueError(f"the loss of epoch {self.epoch + 1} is {mean}; lower --lr={self.config.lr:g}")
        return mean

    def _step(self, chosen: torch.Tensor, step: int) -> torch.Tensor:
        config, architecture = self.config, self.model.architecture
        images, angles = self._pictures(chosen, step), self.angles[chosen].to(self.device)
        if config.augment:
            images, angles = augment(
                images, angles, Augmentation(zoom=config.zoom), _generator(config.seed, "augment", self.epoch, step)
            )
        done = (self.epoch * self.steps_per_epoch + step) / (config.num_epochs * self.steps_per_epoch)
        for group in self._optimizer.param_groups:
            group["lr"] = config.lr * (0.5 * (1 + math.cos(math.pi * done)) if config.recipe == "scratch" else 1)
        faces = preprocess(images, architecture.input_size, architecture.window)
        logits, degrees = self.model(faces.contiguous(memory_format=torch.channels_last)), angles.rad2deg()
        binning = binning_of(architecture.bins)
        loss = sum(gaze_loss(logits[i], degrees[:, i], binning, config.alpha) for i in range(2))
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def _pictures(self, chosen: torch.Tensor, step: int) -> torch.Tensor:
        """Images [B, 3, S, S] in [-1, 1], some of them before other backgrounds."""
        if not self.config.swap_backgrounds:
            return to_float(self.images[chosen].to(self.device))
        images, masks = (layers.to(self.device) for layers in self.images.with_masks(chosen))
        draws = _generator(self.config.seed, "background", self.epoch, step)
        share = self.config.swap_backgrounds
        return swap_backgrounds(to_float(images), masks.float() / 255, share, self.backgrounds, draws)

    def _save_state(self) -> None:
        optimizer = self._optimizer.state_dict()["state"]
        state = {
            "identity": self._identity,
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": {i: dict(values) for i, values in optimizer.items()},
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        atomic_write(self.folder / STATE_FILE, buffer.getvalue())

    def _continue(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            identity = state["identity"]
        except Exception:  # a torn or foreign file fails in many ways; all mean the same to the user
            raise ValueError(
                f"{path}: not the state of a gaze training; remove it or choose another --output"
            ) from None
        if identity != self._identity:
            raise ValueError(f"{path}: belongs to a run with other settings; choose another --output or remove it")
        self.model.load_state_dict(state["model"])
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state["optimizer"], "param_groups": groups})
        self.epoch = state["epoch"]


def initial_model(architecture: Architecture, snapshot: Path | None, pretrained: Path | None, seed: int) -> L2CS:
    """A network of this architecture: random, or from gaze weights, or with a torchvision trunk."""
    if snapshot is not None:
        model = load_weights(snapshot)[0]
        if model.architecture != architecture:
            holds, asked = (
                f"{one.name} with {one.bins} bins at {one.input_size} px, window {one.window}"
                for one in (model.architecture, architecture)
            )
            raise ValueError(f"{snapshot}: holds {holds}; the flags ask for {asked}")
        return model
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = L2CS(architecture)
    if pretrained is not None:
        load_pretrained(model, pretrained)
    return model


def train_and_measure(
    architecture: Architecture,
    config: TrainingConfig,
    training: LabelledFaces,
    held_out: LabelledFaces | None,
    folder: Path,
    device: torch.device,
    snapshot: Path | None = None,
    pretrained: Path | None = None,
    facts: dict | None = None,
    backgrounds: Path | None = None,
) -> dict:
    """A whole run: trains (or continues) in `folder`, measures on `held_out`, notes all of it in the weights' header.

    `facts` goes into the header too (where the data came from, the command). `backgrounds` is a folder of pictures.
    """
    model = initial_model(architecture, snapshot, pretrained, config.seed)
    images = training.images(architecture.input_size, masks=config.swap_backgrounds > 0)
    pictures = backgrounds_of(backgrounds, images.size)
    trainer = Trainer(model, images, training.angles, config, folder, device, pictures)
    result = {"architecture": architecture.name, "training_images": len(training)}
    for epoch in trainer.run(facts or {}):
        result["loss"] = epoch["loss"]
    if held_out is not None:
        estimator = GazeEstimator.load(folder / WEIGHTS_FILE, device, check=False)  # what is stored is measured
        measured = measure(estimator, held_out.images(architecture.input_size), held_out.angles)
        result["held_out"] = {key: value for key, value in measured.items() if not isinstance(value, torch.Tensor)}
    save_weights(folder / WEIGHTS_FILE, model, {**(facts or {}), **config.facts(), **result})
    return result
