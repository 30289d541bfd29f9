"""One step of InterpGaze's training: decoder, discriminator, KG transform; every fifth time encoder and controller."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from groundwork.plain import check_types, check_within
from redirection.attributes import mixed_labels
from redirection.interpgaze.latent_discriminator import LatentDiscriminator
from redirection.interpgaze.latent_losses import (
    Losses,
    arrival_loss,
    critic_losses,
    distillation,
    eye_error,
    mixing_losses,
    reconstruction,
)
from redirection.interpgaze.redirector import InterpGaze, make_critic, make_transform
from redirection.interpgaze.vgg_encoder import VggFeatures, frozen_vgg


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Factor of each loss, by its logged name; the logged number includes it. Defaults: those of the published code."""

    dec_per: float = 1.0
    dec_mse: float = 1.0
    discrim_gan: float = 1.0
    discrim_gp: float = 100.0
    discrim_cls: float = 1.0
    KGTransform: float = 1.0
    enc_int_gan: float = 1.0
    enc_int_cls: float = 1.0
    enc_int_all: float = 1.0
    enc_int_mse: float = 1.0
    enc_int_per: float = 1.0
    enc_int_KG: float = 1.0
    pair_mse: float = 1.0  # with true targets only (`Alternation.pair_step`)
    pair_per: float = 1.0
    pair_own_mse: float = 1.0
    pair_own_per: float = 1.0
    pair_eye: float = 0.0  # of ours: `eye_error`

    def __post_init__(self):
        check_types(self)
        for field in dataclasses.fields(self):
            check_within(field.name, getattr(self, field.name), 0)


@dataclass(frozen=True, kw_only=True)
class AlternationConfig:
    """lr: of all Adams. encoder_every: E and C move in every so many-th step, the first one included.

    legacy_heads_on_mixed: the attribute heads of D are trained as published (`critic_losses`).
    """

    lr: float = 1e-4
    encoder_every: int = 5
    weights: LossWeights = dataclasses.field(default_factory=LossWeights)
    legacy_heads_on_mixed: bool = False

    def __post_init__(self):
        check_types(self)
        check_within("encoder_every", self.encoder_every, 1)
        if not self.lr > 0:
            raise ValueError(f"lr={self.lr} must be above 0")


class Trainees(nn.Module):
    """All networks of a training. vgg: weights of VGG-19; without them there is no teacher and no perceptual term."""

    def __init__(self, redirector: InterpGaze, vgg: dict[str, torch.Tensor] | None = None):
        super().__init__()
        self.redirector, self.config = redirector, redirector.config
        self.critic: LatentDiscriminator = make_critic(self.config)
        self.transform = make_transform(self.config) if vgg else None
        self.teacher: VggFeatures | None = frozen_vgg(vgg) if vgg else None
        self.perceptual: VggFeatures | None = frozen_vgg(vgg, blocks=1) if vgg else None


class Alternation:
    """The optimisers, and the step. Every draw is an argument, so that a continued run can repeat it.

    on_gradients: called with the name of what is about to step ("decoder", "discrim", "KGTransform", "enc_int").
    """

    def __init__(self, nets: Trainees, config: AlternationConfig, on_gradients: Callable = lambda name: None):
        self.nets, self.config, self._on_gradients = nets, config, on_gradients
        of = nets.redirector
        parts = {"decoder": of.decoder, "discrim": nets.critic, "KGTransform": nets.transform}
        self._parameters = {name: list(part.parameters()) for name, part in parts.items() if part is not None}
        self._parameters["enc_int"] = [*of.encoder.parameters(), *of.controller.parameters()]
        self.optimizers = {
            name: torch.optim.Adam(
                parameters, lr=config.lr, betas=(0.5 if name in ("discrim", "enc_int") else 0.9, 0.999)
            )
            for name, parameters in self._parameters.items()
        }

    def set_lr(self, lr: float) -> None:
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = lr

    def step(
        self,
        x: torch.Tensor,
        labels: Sequence[torch.Tensor],
        order: torch.Tensor,
        v: torch.Tensor,
        u: torch.Tensor,
        number: int,
    ) -> dict[str, float]:
        """One iteration. Returns the losses by their published names, weighted, and their sums (dec, discrim, enc_int).

        Args:
            x: normalised patches [B, 3, S, S]; labels: a tensor [B, n] for each group
            order: whose features are mixed into whose, a permutation [B]; v [B, branches]; u [B]: where the penalty is
            number: of this step, from 0
        """
        of, encoder, controller = self.nets.redirector, self.nets.redirector.encoder, self.nets.redirector.controller
        moves_encoder, losses = number % self.config.encoder_every == 0, {}
        with torch.set_grad_enabled(moves_encoder):
            features = encoder(x)
            mixed = controller(features, features[order], v)
        real, fake = features.detach(), mixed.detach()
        wanted = None if self.nets.teacher is None else self.nets.teacher(x)[-1]

        again = self.nets.redirector.draw(x, real, real)
        losses |= self._descend("decoder", "dec", reconstruction(again, x, self.nets.perceptual, "dec"))
        critic_terms = critic_losses(self.nets.critic, real, fake, labels, u, self.config.legacy_heads_on_mixed)
        losses |= self._descend("discrim", "discrim", critic_terms)
        if wanted is not None:
            terms = distillation(self.nets.transform, real, wanted, "KGTransform")
            losses |= self._descend("KGTransform", None, terms)
        if moves_encoder:
            terms = mixing_losses(self.nets.critic, mixed, mixed_labels(labels, order, v))
            terms |= arrival_loss(controller, features, features[order], v.shape[1])
            terms |= reconstruction(of.draw(x, features, features), x, self.nets.perceptual, "enc_int")
            if wanted is not None:
                terms |= distillation(self.nets.transform, features, wanted, "enc_int_KG")
            losses |= self._descend("enc_int", "enc_int", terms)
        return {name: float(value) for name, value in losses.items()}

    def pair_step(
        self, source: torch.Tensor, reference: torch.Tensor, target: torch.Tensor, v: torch.Tensor
    ) -> dict[str, float]:
        """Encoder, controller and decoder together, toward the true picture: not in the published method.

        Args: normalised patches [B, 3, S, S]; the target shows the source moved by v [B, branches] to the reference
        """
        of, half, weights = self.nets.redirector, len(source), self.config.weights
        features = of.encoder(torch.cat([source, reference]))
        of_source, of_reference = features[:half], features[half:]
        mixed = of.controller(of_source, of_reference, v)
        before = [(source, of_source, mixed)]
        if weights.pair_own_mse or weights.pair_own_per:
            before.append((source, of_source, of_source))
        drawn = of.draw(*(torch.cat(parts) for parts in zip(*before, strict=True)))
        terms = reconstruction(drawn[:half], target, self.nets.perceptual, "pair")
        if weights.pair_eye:
            terms["pair_eye"] = eye_error(drawn[:half], target)
        if len(before) > 1:
            terms |= reconstruction(drawn[half:], source, self.nets.perceptual, "pair_own")
        losses = self._descend(("decoder", "enc_int"), "pair", terms)
        return {name: float(value) for name, value in losses.items()}

    def _descend(self, names: str | tuple[str, ...], total: str | None, terms: Losses) -> Losses:
        """One step of one optimiser or several. Only their own parameters get gradients."""
        names = (names,) if isinstance(names, str) else names
        weighted = {term: getattr(self.config.weights, term) * loss for term, loss in terms.items()}
        loss, parameters = sum(weighted.values()), [p for name in names for p in self._parameters[name]]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for name in names:
            self._on_gradients(name)
            self.optimizers[name].step()
            self.optimizers[name].zero_grad()
        return {term: value.detach() for term, value in (weighted | ({total: loss} if total else {})).items()}
