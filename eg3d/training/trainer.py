"""Networks, optimisers and one training step: `Trainer.step` -> the four phases.

A step sees one global batch and runs, as due, Gmain, Greg, Dmain and Dreg; each accumulates the mean gradient of its
micro-batches, adds those of all processes and ends with an optimiser step. Every random draw is keyed by (seed, phase,
index of the sample in the global batch, images seen): neither the number of processes, nor the micro-batch size, nor a
stop in between changes what is drawn.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from eg3d.checkpoints import loading as checkpoint
from eg3d.config.run import TrainConfig, check_same_run, from_dict, to_dict
from eg3d.data.dataset import EpochOrder, ImageDataset
from eg3d.data.prefetch import Batches
from eg3d.gaze import eye_region
from eg3d.gaze.term import estimate_gaze, gaze_error
from eg3d.running import distributed
from eg3d.training import losses, schedules
from eg3d.training.ada import AugmentStrength, count_signs
from eg3d.training.augment_pipe import AugmentPipe
from eg3d.training.ema import update_ema, update_mean_latent
from eg3d.training.latents import Fakes, Reals
from eg3d.training.setup import build_networks, build_optimisers, early_layers
from eg3d.training.snapshots import git_commit
from eg3d.training.stats import Stats
from groundwork.draws import KeyedDraws, draw_key

STATE_FILE = "training-state.pt"


class Trainer:
    """Networks, optimisers and the position in the run.

    Attributes: G, D, G_ema; images_seen and batch_index, both before the coming step; share, this process's part of
    the global batch; finite, whether all losses of the last step were; source, facts about the checkpoint this run
    started from, and notes, what its reader had to decide.
    """

    def __init__(
        self, config: TrainConfig, dataset: ImageDataset, device, state: dict | None = None, gaze_estimator=None
    ):
        self.config, self.dataset, self.device = config, dataset, torch.device(device)
        self.gaze_estimator = gaze_estimator
        assert not (config.gaze.weight > 0 or config.gaze.cond_d) or gaze_estimator is not None
        assert config.gpus == distributed.size(), f"{config.gpus} processes asked for, {distributed.size()} are here"
        self.share = distributed.share(config.batch)
        self.images_seen, self.batch_index, self.stats = 0, 0, Stats()
        self._total = torch.zeros((), device=self.device)  # of all losses of a step: infinite when one of them is
        self.stop_code = 0  # exit code of a run that ends before its kimg are seen
        self.tick_unfinished = False  # whether the tick at this position is still to be written, see Records
        self.images_saved = None if state is None else state["images_seen"]  # of the state that a stop would leave
        self.strength = AugmentStrength(config.augment, config.batch)
        self.augment = AugmentPipe(config.augment.transforms, self.strength.p) if config.augment.on else None
        self.order = EpochOrder(len(dataset), config.seed)
        self.batches = Batches(dataset, self.order, config.batch, self.share, pin=self.device.type == "cuda")
        self.dataset_identity = distributed.from_first(lambda: dataset.identity(state))
        self.git_commit = git_commit()  # of the code that runs, which may be edited before the next snapshot
        found, self.source, self.notes = build_networks(config, dataset.labels, self.device, resume=state is None)
        self.G_ema, self.G, self.D = found["G_ema"], found["G"], found["D"]
        self.frozen = early_layers(self.G, config.freeze_g)
        self.G_optimiser, self.D_optimiser = build_optimisers(config, self.G, self.D)
        if state is not None:
            self._restore(state)

    # -------------------------------------------------------------- one step

    def step(self) -> None:
        """One global batch through all the phases that are due, then the average."""
        config, loss, n = self.config, self.config.loss, self.images_seen
        if self.augment is not None:
            self.augment.p = self.strength.p
        self.blur_sigma = self._blur_sigma(n)
        self.raw_resolution = schedules.neural_rendering_resolution(
            n, config.schedule.raw_resolution_initial, config.schedule.raw_resolution_final,
            config.schedule.raw_resolution_fade_kimg,
        )  # fmt: skip
        real, self._total = self._real_batch(), torch.zeros((), device=self.device)

        self._run_phase("Gmain", self.G, self.G_optimiser, self.generator_main)
        if loss.density_reg > 0 and self.batch_index % loss.density_reg_every == 0:
            self._run_phase("Greg", self.G, self.G_optimiser, self.generator_density, gain=loss.density_reg_every)
        self._run_phase("Dmain", self.D, self.D_optimiser, self.discriminator_main, real)
        if loss.r1_gamma > 0 and self.batch_index % loss.r1_every == 0:
            self._run_phase("Dreg", self.D, self.D_optimiser, self.discriminator_r1, real, gain=loss.r1_every)

        beta = schedules.ema_beta(n, config.batch, config.schedule.ema_kimg, config.schedule.ema_rampup)
        update_ema(self.G_ema, self.G, beta)
        self.G_ema.neural_rendering_resolution = self.raw_resolution
        self.finite = bool(self._total.isfinite())
        self.images_seen += config.batch
        self.batch_index += 1
        self.strength.after_batch(self.batch_index)

    def _blur_sigma(self, n: int) -> float:
        return schedules.blur_sigma(n, self.config.schedule.blur_init_sigma, self.config.schedule.blur_fade_kimg)

    # -------------------------------------------------------------- the four phases
    # Each yields loss terms [N] of a micro-batch; each term is differentiated before the next is computed.

    def generator_main(self, fakes: Fakes) -> Iterator[torch.Tensor]:
        """Adversarial term, and the gaze term on the same pictures."""
        gaze = self.config.gaze
        ws = self._styles(fakes)
        images = self._generate(fakes, ws, keep_planes=gaze.mask)
        logits = self._judge(self._fake_pair(images, fakes), fakes, images["image"])
        term = losses.generator_adversarial(logits)
        self._log(**{"Loss/scores/fake": logits, "Loss/signs/fake": logits.sign(), "Loss/G/loss": term})
        self._log(**{"Fakes/depth_spread": images["image_depth"].detach().flatten(1).std(dim=1)})
        if gaze.weight > 0:
            seen = self._round_the_eyes(images, ws, fakes) if gaze.mask else images["image"]
            error = gaze_error(
                seen, fakes.cameras, self.gaze_estimator, gaze.kind, gaze.targets, gaze.crop,
                self._draws("gaze", fakes.samples), gaze.jitter,
            )  # fmt: skip
            term = term + gaze.weight_at(self.images_seen) * error
            self._log(**{"Loss/G/gaze_loss": error})
        self._log(**{"Loss/G/total_loss": term})
        yield term

    def generator_density(self, fakes: Fakes) -> Iterator[torch.Tensor]:
        """Density regularisation: near points have near densities (and none falls behind a surface)."""
        loss, box = self.config.loss, self.G.options.box_warp
        draws = self._draws("density", fakes.samples)
        reach = box / 2 if loss.density_in_box else 1.0
        ws = self._styles(fakes)
        points = self._points(draws, len(ws), reach)
        distance = loss.density_reg_p_dist
        if loss.reg_type != "l1":
            distance = box / 256
            front = self._points(draws, len(ws), reach, factor=2)
            term = losses.density_monotony(self.G, ws, front, distance, loss.reg_type == "monotonic-detach", draws)
            self._log(**{"Loss/G/density_monotony": term})
            yield term
            ws = self._styles(fakes)
        shifted = points + draws.normal(points.shape, points.device) * distance
        term = losses.density_smoothness(self.G, ws, points, shifted, draws) * loss.density_reg
        self._log(**{"Loss/G/density_reg": term})
        yield term

    def discriminator_main(self, fakes: Fakes, real: Reals) -> Iterator[torch.Tensor]:
        """Adversarial terms of generated and of real images."""
        with torch.no_grad():
            ws = self._styles(fakes, average=True)
            images = self._generate(fakes, ws)
        logits = self._judge(self._fake_pair(images, fakes), fakes, images["image"])
        fake_term = losses.discriminator_fake(logits)
        self._log(**{"Loss/scores/fake": logits, "Loss/signs/fake": logits.sign()})
        yield fake_term
        logits = self._judge(self._real_pair(real), real, real.images)
        real_term = losses.discriminator_real(logits)
        self._sum("signs", count_signs(logits))
        self._log(**{"Loss/scores/real": logits, "Loss/signs/real": logits.sign()})
        self._log(**{"Loss/D/loss": fake_term + real_term})
        yield real_term

    def discriminator_r1(self, fakes: None, real: Reals) -> Iterator[torch.Tensor]:
        """R1 on real images, of both halves of the pair."""
        pair = {name: image.detach().requires_grad_(True) for name, image in self._real_pair(real).items()}
        logits = self._judge(pair, real, real.images)
        term, penalty = losses.r1_penalty(logits, list(pair.values()), self.config.loss.r1_gamma)
        self._log(**{"Loss/r1_penalty": penalty, "Loss/D/reg": term})
        yield term

    # -------------------------------------------------------------- what the phases share

    def _run_phase(self, phase, network, optimiser, terms_of, real: Reals | None = None, gain: float = 1.0) -> None:
        """Mean gradient over the global batch (published: the sum over micro-batches, D-23); one optimiser step.

        `gain`: the phase's interval, which makes up for its being run lazily. Infinite numbers are cleaned out of the
        sum over all processes, so that all clean alike.
        """
        self.phase = phase
        # Nothing should draw from the global generator; if something does, it is keyed by its place too.
        torch.manual_seed(draw_key(self.config.seed, phase, 0, self.images_seen))
        optimiser.zero_grad(set_to_none=True)
        network.requires_grad_(True)
        for module in self.frozen:
            module.requires_grad_(False)
        fakes = self._draw_fakes() if phase != "Dreg" else None
        self._sums: dict[str, torch.Tensor] = {}  # over the global batch, of what the phase notes by the way
        size, batch = self.config.micro_batch, self.config.batch
        for start in range(0, len(self.share), size):
            part = slice(start, start + size)
            arguments = [fakes and fakes.part(part)] + ([real.part(part)] if real is not None else [])
            for term in terms_of(*arguments):
                (term.mean() * (gain * size / batch)).backward()
                self._total += term.detach().sum()
        network.requires_grad_(False)
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        distributed.add_up([*gradients, *self._sums.values()])
        for gradient in gradients:
            torch.nan_to_num(gradient, nan=0.0, posinf=1e5, neginf=-1e5, out=gradient)
        optimiser.step()
        if "latent" in self._sums:
            update_mean_latent(self.G.backbone.mapping, self._sums["latent"])
        if "signs" in self._sums:
            self.strength.observe(self._sums["signs"].double())

    def _draw_fakes(self) -> Fakes:
        """Latents and cameras of this process's share of the phase's global batch.

        The conditioning camera is the rendered one or, with the swap probability, that of the previous sample
        (EG3D, section 4.4), so that identity cannot depend on the view; of the *global* batch, so that neither
        processes nor micro-batches matter: the sample before this share, which others generate, is drawn too.
        """
        samples = [(self.share.start - 1) % self.config.batch, *self.share]
        draws, n = self._draws("latent", samples), len(samples)
        z = draws.normal((n, self.G.z_dim), self.device)
        u = draws.uniform((n, 4))  # which camera, swap or not, mix or not, where to mix
        cameras = self._random_cameras(u[:, 0])
        previous, cameras = cameras[:-1], cameras[1:]
        probability = schedules.swap_probability(
            self.images_seen, self.config.schedule.gpc_reg_prob, self.config.schedule.gpc_reg_fade_kimg
        )
        if probability is None:
            conditioning = torch.zeros_like(cameras)
        else:
            conditioning = torch.where((u[1:, 1] < probability)[:, None].to(self.device), previous, cameras)
        z_mix = None
        if self.config.loss.style_mixing_prob > 0:
            z_mix = draws.normal((n, self.G.z_dim), self.device)[1:]
        return Fakes(z[1:], cameras, conditioning, u[1:, 2:].to(self.device), z_mix, self.share)

    def _random_cameras(self, u: torch.Tensor) -> torch.Tensor:
        """Labels [N, 25] drawn uniformly from the data set by u [N] in [0, 1)."""
        indices = (u.double() * len(self.dataset)).long().clamp(max=len(self.dataset) - 1)
        return self.dataset.label_rows(indices).to(self.device)

    def _real_batch(self) -> Reals:
        """This process's share of the images whose turn it is."""
        images, cameras = self.batches.at(self.images_seen)
        images = images.to(self.device, non_blocking=True).float() / 127.5 - 1
        return Reals(images, cameras.to(self.device, non_blocking=True), self.share)

    def _styles(self, fakes: Fakes, average: bool = False) -> torch.Tensor:
        """ws [N, T, w_dim], with style mixing where it is on; `average`: they count for the mean latent."""
        ws = self.G.mapping(fakes.z, fakes.conditioning)
        if average:
            self._sum("latent", ws[:, 0].contiguous().mean(dim=0) * (len(ws) / self.config.batch))
        if fakes.z_mix is not None:
            other = self.G.mapping(fakes.z_mix, fakes.conditioning)
            ws = losses.style_mix(ws, other, fakes.u_mix, self.config.loss.style_mixing_prob)
        return ws

    def _generate(self, fakes: Fakes, ws: torch.Tensor, keep_planes: bool = False) -> dict[str, torch.Tensor]:
        """Pictures from the true cameras, whatever camera conditioned the latents."""
        draws = self._draws("render", fakes.samples)
        return self.G.synthesis(ws, fakes.cameras, self.raw_resolution, cache_backbone=keep_planes, draws=draws)

    def _round_the_eyes(self, images: dict[str, torch.Tensor], ws: torch.Tensor, fakes: Fakes) -> torch.Tensor:
        """The pictures, through which gradients reach only what lies round the eyes; frees the kept planes."""
        gaze = self.config.gaze
        centres = eye_region.eye_centres(self.G, ws, (gaze.eye_x, gaze.eye_y), self._draws("eyes", fakes.samples))
        self.G.forget_planes()
        region = eye_region.soft_region(images["image_depth"], fakes.cameras, centres, gaze.mask_radius)
        return eye_region.gated(images["image"], region)

    def _judge(self, pair: dict[str, torch.Tensor], batch: Fakes | Reals, image: torch.Tensor) -> torch.Tensor:
        """Logits [N, 1]; D always knows the true camera and, with --gaze-cond-d, where the eyes of `image` look."""
        label = batch.cameras
        if self.config.gaze.cond_d:
            with torch.no_grad():
                angles = estimate_gaze(image, batch.cameras, self.gaze_estimator, self.config.gaze.crop)
            label = torch.cat([label, torch.stack([angles.yaw, angles.pitch], dim=1).to(label)], dim=1)
        return self.D(pair, label, draws=self._draws("label noise", batch.samples))

    def _fake_pair(self, images: dict[str, torch.Tensor], fakes: Fakes) -> dict[str, torch.Tensor]:
        """Generated pictures as D sees them, blurred and augmented."""
        pair = losses.fake_pair(images, self.blur_sigma, self.config.loss.blur_raw)
        return self._augmented(pair, "fake", fakes)

    def _real_pair(self, real: Reals) -> dict[str, torch.Tensor]:
        """Images of the data set as D sees them, blurred and augmented."""
        pair = losses.real_pair(real.images, self.raw_resolution, self.config.loss.filter_mode, self.blur_sigma)
        return self._augmented(pair, "real", real)

    def _augmented(self, pair: dict[str, torch.Tensor], kind: str, batch: Fakes | Reals) -> dict[str, torch.Tensor]:
        if self.augment is None:
            return pair
        return self.augment.pair(pair, self._draws(f"augment {kind}", batch.samples))

    def _sum(self, name: str, value: torch.Tensor) -> None:
        """Adds to a sum over the global batch, which the end of the phase completes."""
        value = value.to(next(self.G.parameters()).dtype)  # goes into one message with gradients
        self._sums[name] = self._sums[name] + value if name in self._sums else value

    def _points(self, draws, n: int, reach: float, factor: int = 1) -> torch.Tensor:
        """Points [N, P, 3], uniform in the cube [-reach, reach]^3."""
        return (draws.uniform((n, factor * self.config.loss.density_points, 3), self.device) * 2 - 1) * reach

    def _draws(self, what: str, samples: Sequence[int]) -> KeyedDraws:
        phase = f"{self.phase}/{what}"
        return KeyedDraws.at(self.config.seed, phase, samples, self.images_seen, self.device)

    def _log(self, **values: torch.Tensor) -> None:
        for name, value in values.items():
            self.stats.add(name, value)

    # -------------------------------------------------------------- ticks

    @property
    def tick(self) -> int:
        """Ticks passed: 0 after the first batch."""
        return int(self.images_seen // (self.config.tick * 1000))

    @property
    def at_tick(self) -> bool:
        """Whether the step just made crossed a tick; the first step always does. A function of images seen alone."""
        before = self.images_seen - self.config.batch
        return before == 0 or self.tick > int(before // (self.config.tick * 1000))

    # -------------------------------------------------------------- building and saving

    def networks(self) -> dict[str, nn.Module]:
        return {"G_ema": self.G_ema, "G": self.G, "D": self.D}

    def facts(self) -> dict:
        """What a snapshot's header says about its making."""
        config = self.config
        gaze = to_dict(config)["gaze"]
        gaze["network_sha256"] = self._gaze_digest()
        return {
            "images_seen": self.images_seen,
            **(self.source or {"images_seen_before": 0}),
            "preset": config.preset,
            "seed": config.seed,
            "dataset": {"name": Path(config.data.path).name, "digest": self.dataset_identity["dataset_digest"]},
            "gaze": gaze,
            "git_commit": self.git_commit,
        }

    def _gaze_digest(self) -> str | None:
        """SHA-256 of the gaze network's weights where training depends on them."""
        used = self.config.gaze.weight > 0 or self.config.gaze.cond_d
        return getattr(self.gaze_estimator, "sha256", None) if used else None

    def state(self) -> dict:
        """Everything a run needs to go on, as tensors and plain values."""
        return {
            "format": checkpoint.STATE_FORMAT,
            "config": json.dumps(to_dict(self.config)),
            **self.dataset_identity,
            "images_seen": self.images_seen,
            "batch_index": self.batch_index,
            "tick_unfinished": self.tick_unfinished,
            "raw_resolution": self.G_ema.neural_rendering_resolution,
            "augment": self.strength.state(),
            "gaze_network": self._gaze_digest(),
            "source": self.source,
            "networks": {name: network.state_dict() for name, network in self.networks().items()},
            "optimisers": [self.G_optimiser.state_dict(), self.D_optimiser.state_dict()],
            "stats": self.stats.pending(),
        }

    def _restore(self, state: dict) -> None:
        check_same_run(from_dict(json.loads(state["config"])), self.config)
        if state.get("gaze_network", self._gaze_digest()) != self._gaze_digest():  # states before 2026-11-21 have none
            raise ValueError(
                f"--l2cs-path={self.config.gaze.l2cs_path}: holds other weights than when the run was stopped; "
                "give those, or start another --outdir"
            )
        for name, network in self.networks().items():
            network.load_state_dict(state["networks"][name])
        for optimiser, saved in zip((self.G_optimiser, self.D_optimiser), state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.images_seen, self.batch_index = state["images_seen"], state["batch_index"]
        self.tick_unfinished = state.get("tick_unfinished", False)  # states before 2026-11-21 have none
        self.G_ema.neural_rendering_resolution = self.raw_resolution = state["raw_resolution"]
        self.blur_sigma = self._blur_sigma(max(self.images_seen - self.config.batch, 0))  # of the last step
        if "augment" in state:  # states of before 2026-11-21 have none, and no augmentation
            self.strength.restore(state["augment"])
        self.source, self.stats = state["source"], Stats(state["stats"] if distributed.rank() == 0 else None)
