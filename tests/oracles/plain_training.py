"""The training step in the order of the published loop, on `plain_networks`: the twin of `eg3d.training.trainer`.

To compare with, in results and in time. The phases Gmain, Greg, Dmain and Dreg have networks, draws and gradients of
their own. Dmain generates again and goes backward twice. R1 is lazy and taken on the tensors that D is given. The
density term is l1 of 1,000 points. Adam has PyTorch's own defaults but for the corrected rates. Gradients are
flattened, cleaned of infinities and cut up again, and the average is taken parameter by parameter. One micro-batch, no
augmentation, no gaze term, and no blur: a run past its fades.

What the published loop also does is left out, in its favour: statistics, timing events, random viewing directions.
"""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from oracles import plain_networks as plain

from eg3d.training import schedules
from groundwork.draws import GlobalDraws


@dataclass(frozen=True)
class Latents:
    """z [N, z_dim], the rendered and the conditioning cameras [N, 25]."""

    z: torch.Tensor
    cameras: torch.Tensor
    conditioning: torch.Tensor


class PublishedDraws:
    """Latents and cameras as the published loop draws them, from PyTorch's global generator."""

    def __init__(self, labels, batch: int, z_dim: int, swap: float):
        self.labels, self.batch, self.z_dim, self.swap = labels, batch, z_dim, swap

    def latents(self, phase) -> Latents:
        del phase
        c = self.labels[torch.randint(len(self.labels), (self.batch,))]
        swapped = torch.rand(self.batch, 1, device=c.device) < self.swap
        z = torch.randn(self.batch, self.z_dim, device=c.device)
        return Latents(z, c, torch.where(swapped, c.roll(1, 0), c))

    def draws(self, phase, what):
        del phase, what
        return GlobalDraws()


class PlainTraining:
    """Own copies of the networks, and their optimisers. Config: a TrainConfig; `source`: draws, see PublishedDraws."""

    def __init__(self, G, D, G_ema, config, source):
        assert config.micro_batch == config.batch and not config.augment.on and config.gaze.weight == 0
        assert config.loss.reg_type == "l1" and config.loss.style_mixing_prob == 0
        self.G, self.D, self.G_ema = (copy.deepcopy(m) for m in (G, D, G_ema))
        self.config, self.source, self.batch_index = config, source, 0
        self.side = config.schedule.raw_resolution_initial
        self.losses: dict[str, float | torch.Tensor] = {}
        optim, loss = config.optim, config.loss
        self.optimisers = {}
        for network, lr, every in (
            (self.G, optim.generator_lr, loss.density_reg_every if loss.density_reg > 0 else None),
            (self.D, optim.discriminator_lr, loss.r1_every),
        ):
            lr, betas = schedules.lazy_adam(lr, optim.betas, every)
            self.optimisers[network] = torch.optim.Adam(network.parameters(), lr=lr, betas=betas, eps=optim.eps)

    def step(self, images, labels, images_seen: int) -> None:
        """Real images uint8 [N, 3, S, S] and their cameras [N, 25] through all phases that are due."""
        real, loss = images.to(labels.dtype) / 127.5 - 1, self.config.loss
        self._phase("Gmain", self.G, self.generator_main)
        if loss.density_reg > 0 and self.batch_index % loss.density_reg_every == 0:
            self._phase("Greg", self.G, self.generator_density)
        self._phase("Dmain", self.D, self.discriminator_main, real, labels)
        if self.batch_index % loss.r1_every == 0:
            self._phase("Dreg", self.D, self.discriminator_r1, real, labels)
        self._average(images_seen)
        self.batch_index += 1

    def generator_main(self):
        latents = self.source.latents("Gmain")
        self._backward("Gmain", F.softplus(-self._judge_fakes("Gmain", latents)))

    def generator_density(self):
        latents, draws = self.source.latents("Greg"), self.source.draws("Greg", "density")
        ws = plain.styles_of(self.G, latents.z, latents.conditioning)
        points = draws.uniform((len(ws), self.config.loss.density_points, 3), ws.device) * 2 - 1
        shifted = points + draws.normal(points.shape, ws.device) * self.config.loss.density_reg_p_dist
        sigma = plain.density(self.G, ws, torch.cat([points, shifted], dim=1), draws)
        here, there = sigma.split(points.shape[1], dim=1)
        term = F.l1_loss(here, there) * self.config.loss.density_reg
        self._backward("Greg", term, gain=self.config.loss.density_reg_every)

    def discriminator_main(self, real, labels):
        latents = self.source.latents("Dmain")
        self._backward("Dmain fake", F.softplus(self._judge_fakes("Dmain", latents, average=True)))
        logits = plain.judge(self.D, plain.real_pair(real, self.side), labels)
        self._backward("Dmain real", F.softplus(-logits))

    def discriminator_r1(self, real, labels):
        pair = {name: t.detach().requires_grad_(True) for name, t in plain.real_pair(real, self.side).items()}
        logits = plain.judge(self.D, pair, labels)
        gradients = torch.autograd.grad(logits.sum(), list(pair.values()), create_graph=True)
        penalty = sum(g.square().sum(dim=(1, 2, 3)) for g in gradients)
        self._backward("Dreg", penalty * (self.config.loss.r1_gamma / 2), gain=self.config.loss.r1_every)

    def _judge_fakes(self, phase, latents, average=False):
        ws = plain.styles_of(self.G, latents.z, latents.conditioning)
        if average:
            m = self.G.backbone.mapping
            m.w_avg.copy_(ws[:, 0].detach().mean(dim=0).lerp(m.w_avg, m.w_avg_beta))
        pair = plain.synthesis(self.G, ws, latents.cameras, self.side, self.source.draws(phase, "render"))
        return plain.judge(self.D, pair, latents.cameras)

    def _backward(self, name, term, gain=1.0):
        self.losses[name] = term.detach()
        (term.mean() * gain).backward()

    def _phase(self, name, network, terms, *arguments):
        optimiser = self.optimisers[network]
        optimiser.zero_grad(set_to_none=True)
        network.requires_grad_(True)
        terms(*arguments)
        network.requires_grad_(False)
        used = [p for p in network.parameters() if p.grad is not None]
        flat = torch.cat([p.grad.flatten() for p in used])
        torch.nan_to_num(flat, nan=0.0, posinf=1e5, neginf=-1e5, out=flat)
        for p, gradient in zip(used, flat.split([p.numel() for p in used]), strict=True):
            p.grad = gradient.reshape(p.shape)
        optimiser.step()

    @torch.no_grad()
    def _average(self, images_seen):
        schedule = self.config.schedule
        beta = schedules.ema_beta(images_seen, self.config.batch, schedule.ema_kimg, schedule.ema_rampup)
        for kept, new in zip(self.G_ema.parameters(), self.G.parameters(), strict=True):
            kept.copy_(new.lerp(kept, beta))
        for kept, new in zip(self.G_ema.buffers(), self.G.buffers(), strict=True):
            kept.copy_(new)
