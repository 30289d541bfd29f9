"""One step of training: of the auto-encoder of eyes (PAM), or of painters and discriminators (GCM and GAM)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from groundwork.plain import check_one_of, check_types, check_within
from redirection.gaze_animation import painting_losses as losses
from redirection.gaze_animation.eye_boxes import both_eyes, eye_crops
from redirection.gaze_animation.eye_codes import ContentEncoder
from redirection.gaze_animation.gaze_animator import AnimatorConfig, GazeAnimator, make_critic, make_eye_decoder
from redirection.gaze_animation.row_spectral import FORMS

BETAS = (0.5, 0.999)  # of all Adams
PRECISIONS = ("fp32", "bf16")
STAIRS = 90  # in which the learning rates fall: of 2,000 steps each in the published 180,000


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """Settings of a step. lr_d, lr_g: of discriminators and painters; lr_r: of the auto-encoder.

    spectral: of the discriminators, None or one of `row_spectral.FORMS`; the auto-encoder's decoder has the latter
    in any case.
    decay_from: step from which the learning rates fall to 0 in a straight line. reuse_synthesis: Gy learns from what Gx
    made of y before the step of Gx, not after it as published; that saves an eighth of the time.
    precision: of the second training; bf16 takes 0.6 of the time on processors that have it. Weights stay float32.
    """

    lr_d: float = 1e-4
    lr_g: float = 1e-4
    lr_r: float = 5e-4
    decay_from: int = 20_000
    reuse_synthesis: bool = False
    spectral: str | None = None
    precision: str = PRECISIONS[0]
    weights: losses.PaintingWeights = field(default_factory=losses.PaintingWeights)

    def __post_init__(self):
        check_types(self)
        check_within("decay_from", self.decay_from, 0)
        check_one_of("--precision", self.precision, PRECISIONS)
        if self.spectral is not None:
            check_one_of("spectral", self.spectral, FORMS)

    def factor(self, step: int, steps: int) -> float:
        """Of the learning rates: it falls in stairs, as published."""
        if step < self.decay_from or steps <= self.decay_from:
            return 1.0
        length = max(1, (steps - self.decay_from) // STAIRS)
        stair = step - (step - self.decay_from) % length
        return (steps - stair) / (steps - self.decay_from)


class EyeAutoEncoder(nn.Module):
    """Gr and its decoder (PAM)."""

    def __init__(self, config: AnimatorConfig, spectral: str | None = None):
        super().__init__()
        self.config = self.architecture = config
        self.Gr = ContentEncoder(config.side, config.content_widths, config.content)
        self.decoder = make_eye_decoder(config, spectral or FORMS[0])

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.decoder(*self.Gr.code_and_maps(crops))


def mirror_losses(autoencoder: EyeAutoEncoder, faces: losses.Faces) -> losses.Losses:
    """Each eye from itself, and from the mirrored other eye of its face, whose gaze is another: L1, eight terms."""
    terms = {}
    for name, pictures, boxes in (("x", faces.x, faces.x_boxes), ("y", faces.y, faces.y_boxes)):
        eyes = both_eyes(eye_crops(pictures, boxes))
        others = eyes.unflatten(0, (-1, 2)).flip(1).flatten(0, 1).flip(-1)  # of each eye the other one, mirrored
        drawn = autoencoder(torch.cat([eyes, others])).unflatten(0, (2, -1))
        for i, side in enumerate(("left", "right")):
            terms[f"{name}_{side}_self"] = F.l1_loss(drawn[0, i::2], eyes[i::2])
            terms[f"{name}_{side}_mirror"] = F.l1_loss(drawn[1, i::2], eyes[i::2])
    return terms | {"pam_loss": sum(terms.values())}


class EyeTraining:
    """Pre-training: networks, optimiser, step."""

    def __init__(self, config: AnimatorConfig, step: StepConfig, seed: int = 0):
        self.nets, self._config = _drawn(seed, lambda: EyeAutoEncoder(config, step.spectral)), step
        self.optimizers: dict[str, torch.optim.Optimizer] = {}

    def begin(self) -> None:
        """Makes the optimiser; the networks lie on their device now."""
        self.optimizers["Gr"] = _adam(self.nets.parameters(), self._config.lr_r)

    def step(self, faces: losses.Faces, factor: float, u: torch.Tensor) -> losses.Losses:
        """factor: of the learning rate. u: not used here."""
        terms = mirror_losses(self.nets, faces)
        _descend(self.optimizers["Gr"], terms["pam_loss"], self._config.lr_r * factor)
        return {name: value.detach() for name, value in terms.items()}


class Trainees(nn.Module):
    """All networks of the second training. Gr stays as it is."""

    def __init__(self, config: AnimatorConfig, spectral: str | None):
        super().__init__()
        self.config = self.architecture = config
        self.animator = GazeAnimator(config)
        self.animator.Gr.requires_grad_(False)
        self.Dx, self.Dy = make_critic(config, spectral), make_critic(config, spectral)


class PaintingTraining:
    """Dx, Dy, Gx, then Gy and Er, each by its own Adam, in this order, as published."""

    def __init__(self, config: AnimatorConfig, step: StepConfig, seen: losses.Seen | None, seed: int = 0):
        """seen: VGG-16 or what stands for it. seed: of the weights at the start."""
        self.nets = _drawn(seed, lambda: Trainees(config, step.spectral))
        self._config, self._seen = step, seen
        self.optimizers: dict[str, torch.optim.Optimizer] = {}

    def begin(self) -> None:
        nets, rates = self.nets, self._config
        of = nets.animator
        self.optimizers |= {
            "Dx": _adam(nets.Dx.parameters(), rates.lr_d),
            "Dy": _adam(nets.Dy.parameters(), rates.lr_d),
            "Gx": _adam(of.Gx.parameters(), rates.lr_g),
            "Gy": _adam([*of.Gy.parameters(), *of.encode.parameters()], rates.lr_g),
        }

    def step(self, faces: losses.Faces, factor: float, u: torch.Tensor) -> losses.Losses:
        """Returns the published losses. factor: of the learning rates; u [B] in [0, 1): where wgan's penalty is."""
        with torch.autocast(u.device.type, torch.bfloat16, enabled=self._config.precision == "bf16"):
            return self._step(faces, factor, u)

    def _step(self, faces: losses.Faces, factor: float, u: torch.Tensor) -> losses.Losses:
        nets, weights = self.nets, self._config.weights
        of, critics, found = nets.animator, (nets.Dx, nets.Dy), {}
        reuse = self._config.reuse_synthesis
        with torch.set_grad_enabled(reuse):
            s, again = losses.synthesised(of, faces)
        xo, yo = losses.corrected_x(of, faces), losses.animated_y(of, faces, s)
        painted = losses.Painted(xo, yo, s, again)
        terms = losses.critic_x_losses(nets.Dx, faces, painted, weights)
        found |= self._descend("Dx", self._bounded("Dx", terms, faces.x, xo, faces.x_boxes, u), factor)
        terms = losses.critic_y_losses(nets.Dy, faces, painted, weights)
        found |= self._descend("Dy", self._bounded("Dy", terms, faces.y, yo, faces.y_boxes, u), factor)
        found |= self._descend("Gx", losses.correction_losses(nets.Dx, faces, xo, weights, self._seen), factor)
        if not reuse:
            painted = losses.Painted(xo, yo, *losses.synthesised(of, faces))  # by the Gx that has just moved
        terms = losses.animation_losses(of, critics, faces, painted, weights, self._seen)
        return found | self._descend("Gy", terms, factor)

    def _bounded(self, name: str, terms: losses.Losses, real, fake, boxes, u: torch.Tensor) -> losses.Losses:
        """The losses of a discriminator, with the penalty that wgan needs."""
        weights = self._config.weights
        if weights.loss_type != losses.PENALISED:
            return terms
        penalty = losses.gradient_penalty(getattr(self.nets, name), real, fake, boxes, u)
        total = terms[f"{name}_loss"] + weights.lam_gp * penalty
        return terms | {f"{name.lower()}_penalty": penalty, f"{name}_loss": total}

    def _descend(self, name: str, terms: losses.Losses, factor: float) -> losses.Losses:
        rate = self._config.lr_d if name.startswith("D") else self._config.lr_g
        _descend(self.optimizers[name], terms[f"{name}_loss"], rate * factor)
        return {term: value.detach() for term, value in terms.items()}


def _drawn(seed: int, build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _adam(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Adam:
    return torch.optim.Adam(list(parameters), lr=lr, betas=BETAS, eps=1e-8)


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor, lr: float) -> None:
    """One step; only the parameters of this optimiser get gradients."""
    (group,) = optimizer.param_groups
    group["lr"] = lr
    for parameter, gradient in zip(group["params"], torch.autograd.grad(loss, group["params"]), strict=True):
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad()
