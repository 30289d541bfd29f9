"""Networks, optimisers and one training step: `Trainer.step` -> the four phases.

A step takes one global batch through the phases that are due: Gmain, Greg, Dmain, Dreg. Each phase sums up the mean
gradient over its micro-batches and over all processes, and ends with an optimiser step. Every random draw is keyed by
seed, phase, index of the sample in the global batch, and images seen. So what is drawn depends neither on the number of
processes, nor on the size of a micro-batch, nor on a stop in between.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from eg3d.checkpoints import loading as checkpoint
from eg3d.config.run import TrainConfig, check_same_run, to_dict
from eg3d.data.dataset import EpochOrder, ImageDataset
from eg3d.data.prefetch import Batches
from eg3d.gaze.term import GazeTerm
from eg3d.geometry.head_gaze import gaze_direction
from eg3d.running import distributed
from eg3d.training import losses, pairs, schedules
from eg3d.training.ada import AugmentStrength, count_signs
from eg3d.training.augment_pipe import AugmentPipe
from eg3d.training.ema import update_ema, update_mean_latent
from eg3d.training.latents import FakeBatches, Fakes, Reals, style_mix
from eg3d.training.saved_state import check_fits, restore_optimiser
from eg3d.training.setup import build_networks, build_optimisers
from eg3d.training.sizes import first_sizes, saved_config, sizes_from_here
from eg3d.training.snapshots import git_commit
from eg3d.training.stats import Stats
from groundwork.draw_keys import draw_key
from groundwork.draws import KeyedDraws


class Trainer:
    """Networks, optimisers and the position in the run.

    Attributes:
        G, D, G_ema: the networks; G_ema is the average of G.
        images_seen, batch_index: position before the coming step.
        finite: whether all losses of the last step were.
        block: the indices in the global batch that this process works on.
        source, notes: facts about the checkpoint that the run started from; lines for the user about it.
        sizes: batches and processes since the start (sizes.py).
    """

    def __init__(
        self, config: TrainConfig, dataset: ImageDataset, device, state: dict | None = None, gaze_estimator=None
    ):
        self.config, self.dataset, self.device = config, dataset, torch.device(device)
        self.gaze = GazeTerm(config.gaze, gaze_estimator)
        assert config.gpus == distributed.size(), f"{config.gpus} processes asked for, {distributed.size()} are here"
        self.block = distributed.block(config.batch)
        self.images_seen, self.batch_index, self.stats = 0, 0, Stats()
        self.sizes = first_sizes(config)
        self._total = torch.zeros((), device=self.device)  # sum of all losses of a step: not finite if one is not
        self.strength = AugmentStrength(config.augment)
        self.augment = AugmentPipe(config.augment.transforms, self.strength.p) if config.augment.on else None
        self.order = EpochOrder(len(dataset), config.seed)
        self.batches = Batches(dataset, self.order, config.batch, self.block, pin=self.device.type == "cuda")
        self.dataset_identity = distributed.from_first(lambda: dataset.identity(state))
        self.git_commit = git_commit()  # of the code that runs, which may be edited before the next snapshot
        found, self.source, self.notes = build_networks(config, dataset.labels, self.device, resume=state is None)
        self.G_ema, self.G, self.D = found["G_ema"], found["G"], found["D"]
        self.fake_batches = FakeBatches(config, dataset, self.block, self.G.z_dim, self.device)
        self.raw_resolution = config.schedule.raw_resolution_initial
        self.frozen = list(getattr(self.G, "untrained", []))
        self.frozen += self.G.early_layers(config.freeze_g) if config.freeze_g else []
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
        for group in self.G_optimiser.param_groups:
            group["lr"] = self.G_optimiser.defaults["lr"] * schedules.rate_left(n, config.schedule.glr_fade_kimg)

        self._run_phase("Gmain", self.G, self.G_optimiser, self.generator_main)
        if loss.density_reg > 0 and self.batch_index % loss.density_reg_every == 0:
            self._run_phase("Greg", self.G, self.G_optimiser, self.generator_density, gain=loss.density_reg_every)
        self._run_phase("Dmain", self.D, self.D_optimiser, self.discriminator_main, real)
        if loss.r1_gamma > 0 and self.batch_index % loss.r1_every == 0:
            self._run_phase("Dreg", self.D, self.D_optimiser, self.discriminator_r1, real, gain=loss.r1_every)

        beta = schedules.ema_beta(n, config.batch, config.schedule.ema_kimg, config.schedule.ema_rampup)
        update_ema(self.G_ema, self.G, beta)
        self._set_rays()
        self.finite = bool(self._total.isfinite())
        self.images_seen += config.batch
        self.batch_index += 1
        self.strength.after_batch(self.batch_index)

    def _set_rays(self) -> None:
        """The average draws as many rays as the last step did."""
        if hasattr(self.G_ema, "neural_rendering_resolution"):
            self.G_ema.neural_rendering_resolution = self.raw_resolution

    def _blur_sigma(self, n: int) -> float:
        return schedules.blur_sigma(n, self.config.schedule.blur_init_sigma, self.config.schedule.blur_fade_kimg)

    # -------------------------------------------------------------- the four phases
    # Each yields loss terms [N] of a micro-batch; each term is differentiated before the next is computed.

    def generator_main(self, fakes: Fakes) -> Iterator[torch.Tensor]:
        """Adversarial term, and the gaze term on the same pictures."""
        ws = self._ws(fakes)
        images = self._generate(fakes, ws, keep_planes=self.gaze.config.mask)
        logits = self._discriminate(self._fake_pair(images, fakes), fakes, images["image"])
        term = losses.generator_adversarial(logits)
        self._log(**{"Loss/scores/fake": logits, "Loss/signs/fake": logits.sign(), "Loss/G/loss": term})
        if "image_depth" in images:
            self._log(**{"Fakes/depth_spread": images["image_depth"].detach().flatten(1).std(dim=1)})
        if self.gaze.on:
            seen = self.gaze.picture(images, fakes.labels, self.G, ws, self._draws("eyes", fakes.samples))
            wanted = None if fakes.gaze is None else gaze_direction(fakes.gaze)
            error = self.gaze.error(seen, fakes.labels, self._draws("gaze", fakes.samples), wanted)
            if fakes.others is not None:
                draws = self._draws("gaze, other camera", fakes.samples)
                error = (error + self.gaze.error(images["other"], fakes.others, draws, wanted)) / 2
            term = term + self.gaze.weighted(error, self.images_seen)
            self._log(**{"Loss/G/gaze_loss": error})
        if "rig" in images:
            term = term + self.config.control.rig * images["rig"]
            self._log(**{"Loss/G/rig_loss": images["rig"]})
        self._log(**{"Loss/G/total_loss": term})
        yield term

    def generator_density(self, fakes: Fakes) -> Iterator[torch.Tensor]:
        """Density regularisation: near points have near densities; if monotonic, none falls behind a surface."""
        loss = self.config.loss
        draws = self._draws("density", fakes.samples)
        reach = self.G.options.box_warp / 2 if loss.density_in_box else 1.0
        ws = self._ws(fakes)
        points = self._points(draws, len(ws), reach)
        distance = loss.density_reg_p_dist
        if loss.reg_type != "l1":
            distance = self.G.options.box_warp / 256
            front = self._points(draws, len(ws), reach, factor=2)
            term = losses.density_monotony(self.G, ws, front, distance, loss.reg_type == "monotonic-detach", draws)
            self._log(**{"Loss/G/density_monotony": term})
            yield term
            ws = self._ws(fakes)
        shifted = points + draws.normal(points.shape, points.device) * distance
        term = losses.density_smoothness(self.G, ws, points, shifted, draws) * loss.density_reg
        self._log(**{"Loss/G/density_reg": term})
        yield term

    def discriminator_main(self, fakes: Fakes, real: Reals) -> Iterator[torch.Tensor]:
        """Adversarial terms of generated and of real images."""
        with torch.no_grad():
            ws = self._ws(fakes, average=True)
            images = self._generate(fakes, ws)
        logits = self._discriminate(self._fake_pair(images, fakes), fakes, images["image"])
        fake_term = losses.discriminator_fake(logits)
        self._log(**{"Loss/scores/fake": logits, "Loss/signs/fake": logits.sign()})
        yield fake_term
        logits = self._discriminate(self._real_pair(real), real, real.images)
        real_term = losses.discriminator_real(logits)
        self._sum("signs", count_signs(logits))
        self._log(**{"Loss/scores/real": logits, "Loss/signs/real": logits.sign()})
        self._log(**{"Loss/D/loss": fake_term + real_term})
        yield real_term

    def discriminator_r1(self, fakes: None, real: Reals) -> Iterator[torch.Tensor]:
        """R1 on real images, of both halves of the pair."""
        pair = {name: image.detach().requires_grad_(True) for name, image in self._real_pair(real).items()}
        logits = self._discriminate(pair, real, real.images)
        term, penalty = losses.r1_penalty(logits, list(pair.values()), self.config.loss.r1_gamma)
        self._log(**{"Loss/r1_penalty": penalty, "Loss/D/reg": term})
        yield term

    # -------------------------------------------------------------- what the phases share

    def _run_phase(self, phase, network, optimiser, terms_of, real: Reals | None = None, gain: float = 1.0) -> None:
        """One optimiser step by the mean gradient over the global batch, times `gain`.

        The published code sums over micro-batches instead of taking the mean (docs/published_defects.md, D-23). A phase
        that runs once in k steps has gain k (StyleGAN2, appendix B). Numbers that are not finite are replaced after the
        sum over all processes, so all processes replace the same ones.
        """
        self.phase = phase
        # Nothing should draw from the global generator. If something does, its draws are keyed too.
        torch.manual_seed(draw_key(self.config.seed, phase, 0, self.images_seen))
        optimiser.zero_grad(set_to_none=True)
        network.requires_grad_(True)
        for module in self.frozen:
            module.requires_grad_(False)
        fakes = self.fake_batches.at(phase, self.images_seen) if phase != "Dreg" else None
        self._sums: dict[str, torch.Tensor] = {}  # over the global batch, of other things than gradients
        size, batch = self.config.micro_batch, self.config.batch
        for start in range(0, len(self.block), size):
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
            update_mean_latent(self.G.mapping_network, self._sums["latent"])
        if "signs" in self._sums:
            self.strength.observe(self._sums["signs"].double())

    def _real_batch(self) -> Reals:
        """The real images of this step, as many as this process works on."""
        images, labels = self.batches.at(self.images_seen)
        images = images.to(self.device, non_blocking=True).float() / 127.5 - 1
        return Reals(images, labels.to(self.device, non_blocking=True), self.block)

    def _ws(self, fakes: Fakes, average: bool = False) -> torch.Tensor:
        """ws [N, T, w_dim], mixed if style mixing is on; `average`: they count for the mean latent."""
        ws = self.G.mapping(fakes.z, fakes.conditioning_labels)
        if average and hasattr(self.G, "mapping_network"):
            self._sum("latent", ws[:, 0].contiguous().mean(dim=0) * (len(ws) / self.config.batch))
        if fakes.z_mix is not None:
            other = self.G.mapping(fakes.z_mix, fakes.conditioning_labels)
            ws = style_mix(ws, other, fakes.u_mix, self.config.loss.style_mixing_prob)
        return ws

    def _generate(self, fakes: Fakes, ws: torch.Tensor, keep_planes: bool = False) -> dict[str, torch.Tensor]:
        """Images from the cameras of `labels`, whatever camera the mapping network was told.

        With `others`, these cameras' image is `other`, and `rig` is the mean of both.
        """
        extras, labels, gaze = {}, fakes.labels, fakes.gaze
        if fakes.others is not None:
            labels = torch.stack([labels, fakes.others], dim=1).flatten(0, 1)
            gaze = gaze.repeat_interleave(2, dim=0)
        if hasattr(self.G, "neural_rendering_resolution"):
            extras["neural_rendering_resolution"] = self.raw_resolution
        if self.config.loss.raw_image == "legacy":
            extras["legacy_raw"] = True
        if fakes.gaze is not None:
            extras |= {"gaze": gaze, "rig_from": self.config.control.looked_at}
        if keep_planes and hasattr(self.G, "kept_depth"):
            extras["cache_backbone"] = True
        images = self.G.synthesis(ws, labels, draws=self._draws("render", fakes.samples), **extras)
        if fakes.others is not None:
            pairs_of = {name: value.unflatten(0, (-1, 2)) for name, value in images.items()}
            images = {name: value[:, 0] for name, value in pairs_of.items()} | {"other": pairs_of["image"][:, 1]}
            if "rig" in images:
                images["rig"] = pairs_of["rig"].mean(dim=1)
        raw, side = images.get("image_raw"), self.raw_resolution
        if raw is None or raw.shape[-1] != side:
            raise ValueError(
                f"this {type(self.G).__name__} must draw an image_raw of {side} px beside its image, as "
                "--neural_rendering_resolution_initial and _final say; give its size there"
            )
        return images

    def _discriminate(self, pair: dict[str, torch.Tensor], batch: Fakes | Reals, image: torch.Tensor) -> torch.Tensor:
        """Logits [N, 1]; D always knows the true camera and, with --gaze-cond-d, where the eyes of `image` look."""
        label = self.gaze.discriminator_label(image, batch.labels)
        return self.D(pair, label, draws=self._draws("label noise", batch.samples))

    def _fake_pair(self, images: dict[str, torch.Tensor], fakes: Fakes) -> dict[str, torch.Tensor]:
        """Generated pictures as D sees them, blurred and augmented."""
        pair = pairs.fake_pair(images, self.blur_sigma, self.config.loss.blur_raw)
        return self._augmented(pair, "fake", fakes)

    def _real_pair(self, real: Reals) -> dict[str, torch.Tensor]:
        """Images of the data set as D sees them, blurred and augmented."""
        pair = pairs.real_pair(real.images, self.raw_resolution, self.config.loss.filter_mode, self.blur_sigma)
        return self._augmented(pair, "real", real)

    def _augmented(self, pair: dict[str, torch.Tensor], kind: str, batch: Fakes | Reals) -> dict[str, torch.Tensor]:
        if self.augment is None:
            return pair
        return self.augment.pair(pair, self._draws(f"augment {kind}", batch.samples))

    def _sum(self, name: str, value: torch.Tensor) -> None:
        """Adds to a sum over the global batch. The end of the phase adds what other processes have."""
        value = value.to(next(self.G.parameters()).dtype)  # it travels in one message with gradients
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

    # -------------------------------------------------------------- saving and restoring

    def networks(self) -> dict[str, nn.Module]:
        return {"G_ema": self.G_ema, "G": self.G, "D": self.D}

    def facts(self) -> dict:
        """What a snapshot's header says about its making."""
        config = self.config
        return {
            "images_seen": self.images_seen,
            **(self.source or {"images_seen_before": 0}),
            "preset": config.preset,
            "seed": config.seed,
            "dataset": {"name": Path(config.data.path).name, "digest": self.dataset_identity["dataset_digest"]},
            "gaze": self.gaze.facts(),
            "git_commit": self.git_commit,
        }

    def state(self) -> dict:
        """What the trainer needs to go on, as tensors and plain values."""
        return {
            "format": checkpoint.STATE_FORMAT,
            "config": json.dumps(to_dict(self.config)),
            **self.dataset_identity,
            "images_seen": self.images_seen,
            "batch_index": self.batch_index,
            "sizes": self.sizes,
            "raw_resolution": self.raw_resolution,
            "augment": self.strength.state(),
            "gaze_network": self.gaze.digest,
            "source": self.source,
            "networks": {name: network.state_dict() for name, network in self.networks().items()},
            "optimisers": [self.G_optimiser.state_dict(), self.D_optimiser.state_dict()],
            "stats": self.stats.pending(),
        }

    def _restore(self, state: dict) -> None:
        saved = saved_config(state)
        check_same_run(saved, self.config)
        if state["gaze_network"] != self.gaze.digest:
            raise ValueError(
                f"--l2cs-path={self.config.gaze.l2cs_path}: holds other weights than when the run was stopped; "
                "give those, or start another --outdir"
            )
        optimisers = self.G_optimiser, self.D_optimiser
        check_fits(state, self.networks(), optimisers)
        for name, network in self.networks().items():
            network.load_state_dict(state["networks"][name])
        for optimiser, kept in zip(optimisers, state["optimisers"], strict=True):
            restore_optimiser(optimiser, kept)
        self.images_seen, self.batch_index = state["images_seen"], state["batch_index"]
        self.raw_resolution = state["raw_resolution"]
        self._set_rays()
        self.sizes = sizes_from_here(state, self.config)
        self.blur_sigma = self._blur_sigma(max(self.images_seen - saved.batch, 0))  # of the last step
        self.strength.restore(state["augment"])
        self.source, self.stats = state["source"], Stats(state["stats"] if distributed.rank() == 0 else None)
