"""The gaze term: one comparison of "where the eyes look" with "where the face looks", for the loss and the score.

Angles follow `l2cs`: of a unit direction d in the camera frame (x image right, y image down, z forward)

    yaw = atan2(-d_x, -d_z)      pitch = asin(-d_y)      d = (-cos p sin y, -sin p, -cos p cos y)

so (0, 0) looks into the lens, positive yaw toward the image's left edge and positive pitch up.

Nothing here knows what draws the pictures: `GazeTerm` takes images and the cameras they were rendered from. Its use in
another training loop, a new distance and the choice of the weight: docs/gaze_term.md.
"""

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F

from eg3d.gaze import eye_region
from eg3d.gaze.crop import CROPS, crop_for
from eg3d.gaze.jitter import Jitter, disturb
from eg3d.gaze.networks import (
    GazeNetwork,
    check_always_answers,
    check_differentiable,
    check_name_for_loss,
    load_gaze_network,
)
from eg3d.geometry.cameras import LABEL_DIM, split_label
from groundwork.draws import GlobalDraws
from groundwork.places import FILE, GAZE_NETWORK, NamedInput
from groundwork.settings import Need, check_settings, check_value, contradiction, non_negative, one_of, setting
from l2cs.estimator import GazeAngles, gaze_vector

GAZE_DIM = 2  # numbers of a gaze: yaw, pitch
HEAD_AXIS = (0.0, 0.0, 1.0)  # the head looks along +z of the world


def _wrapped(difference: torch.Tensor) -> torch.Tensor:
    """The same angle in [-pi, pi], with slope 1."""
    return torch.atan2(difference.sin(), difference.cos())


def _squares(a: GazeAngles, b: GazeAngles) -> torch.Tensor:
    """The two squared differences [N, 2], rad^2."""
    return torch.stack([_wrapped(a.yaw - b.yaw), _wrapped(a.pitch - b.pitch)], dim=1).square()


# Distances of two sets of angles, [N]. The first line of each is its help text.


def mean_square(a: GazeAngles, b: GazeAngles) -> torch.Tensor:
    """Mean of the two squared differences, rad^2 (published code)."""
    return _squares(a, b).mean(dim=1)


def euclidean(a: GazeAngles, b: GazeAngles) -> torch.Tensor:
    """Root of the sum of squares, rad (paper, Eq. 1).

    Its gradient is zero at zero.
    """
    total = _squares(a, b).sum(dim=1)
    away = total > 0  # the root's slope is infinite at 0, and where() alone would still give NaN there
    return torch.where(away, torch.where(away, total, 1.0).sqrt(), 0.0)


def one_minus_cosine(a: GazeAngles, b: GazeAngles) -> torch.Tensor:
    """1 - cos of the angle between the two directions."""
    # For unit vectors |a - b|^2 / 2 = 1 - a.b, without the cancellation that 1 - cos suffers near zero.
    return (gaze_vector(a) - gaze_vector(b)).square().sum(dim=1) / 2


KINDS = {"mse": mean_square, "euclid": euclidean, "angular": one_minus_cosine}


def kinds_help() -> str:
    """A line for `--help`: every kind with the first line of its docstring."""
    lines = ((name, function.__doc__.splitlines()[0].rstrip(".")) for name, function in KINDS.items())
    return "; ".join(f"{name}: {line[0].lower()}{line[1:]}" for name, line in lines) + "."


def gaze_target(labels: torch.Tensor, head_axis=HEAD_AXIS) -> GazeAngles:
    """The angles the eyes should have in the picture when they look along the face.

    A label holds R = cam2world[:3, :3]; its transpose takes the world direction h of the face into the camera frame,
    d = R^T h. For h = (0, 0, 1) that is the last row of R, so yaw* = atan2(-R[2, 0], -R[2, 2]) and
    pitch* = asin(-R[2, 1]). Nothing here depends on the pivot, on roll being zero or on how the label was made.

    Args:
        labels: [N, 25], the *rendering* cameras.
        head_axis: world direction of the face, (3,) or [N, 3]; any length.
    """
    rotation = split_label(labels)[0][:, :3, :3]
    axis = F.normalize(
        torch.as_tensor(head_axis, dtype=labels.dtype, device=labels.device).expand(len(labels), 3), dim=1
    )
    d = (rotation * axis[:, :, None]).sum(dim=1)  # R^T h
    return GazeAngles(yaw=torch.atan2(-d[:, 0], -d[:, 2]), pitch=torch.asin((-d[:, 1]).clamp(-1, 1)))


def legacy_target(labels: torch.Tensor) -> GazeAngles:
    """The targets of the published code, defects included: only to compare with published numbers.

    Both are rounded to 2 decimals; roll leaks into yaw; pitch is EG3D's look-at *parameter* with the wrong sign, so a
    camera above the head asks for eyes that look up (G-1, G-2, G-3 and B-6a of docs/published_defects.md).
    """
    pose = split_label(labels.double())[0]
    rotation, origin = pose[:, :3, :3], pose[:, :3, 3]
    yaw = torch.atan2(-rotation[:, 0, 2], rotation[:, :2, 0].norm(dim=1))
    pitch = math.pi / 2 * origin[:, 1] / origin.norm(dim=1)
    return GazeAngles(yaw=yaw.round(decimals=2).to(labels), pitch=pitch.round(decimals=2).to(labels))


TARGETS = {"correct": gaze_target, "legacy": legacy_target}


_TERM = Need(lambda run: run.gaze.weight > 0, "the gaze term, whose weight is 0: add {gaze.weight:1}")


@dataclass(frozen=True, kw_only=True)
class GazeLossConfig:
    """How the gaze term enters the generator's loss."""

    weight: float = setting(
        1.0,  # the published loss has no factor
        flag="--gaze-weight",
        help="Weight of the gaze term; 0 turns it off, and a gaze network then only scores snapshots.",
        check=non_negative("0 trains without the gaze term"),
        shown=lambda run: run.gaze.weight or "1 with --l2cs-path, else 0",
    )
    l2cs_path: str | None = setting(
        None,
        flag="--l2cs-path",
        help="Gaze network of the term and of the scores at snapshots: a weights file, embedded, people, or a "
        "judge: embedded-judge, people-judge.",
        metavar="FILE",
        place=NamedInput(FILE, [*GAZE_NETWORK.names, ""]),  # empty: none, of a preset that has one
    )
    kind: str = setting(
        "mse",
        flag="--gaze-loss",
        help=kinds_help(),
        check=one_of(KINDS),
        needs=(_TERM,),
    )
    targets: str = setting(
        "correct",
        flag="--gaze-targets",
        help="legacy: the published targets, wrong in pitch, for comparison only.",
        check=one_of(TARGETS),
        needs=(_TERM,),
    )
    warmup_kimg: float = setting(
        0.0,
        flag="--gaze-warmup-kimg",
        help="Thousand images over which the weight rises linearly.",
        check=non_negative("0 starts at full weight"),
        needs=(Need(lambda run: run.gaze.weight > 0 or run.gaze.warmup_kimg == 0, _TERM.of),),
    )
    crop: str = setting(
        "none",
        flag="--gaze-crop",
        help="face: only the face reaches the gaze network, as it always does if the network's file asks for it.",
        check=one_of(CROPS),
        needs=(
            Need(
                lambda run: run.gaze.l2cs_path is not None,
                "a gaze network, which also scores snapshots: add {gaze.l2cs_path:FILE}",
            ),
        ),
    )
    jitter_shift: float = Jitter.shift
    jitter_blur: float = Jitter.blur
    jitter_noise: float = Jitter.noise
    mask: bool = setting(
        False,
        flag="--gaze-mask",
        help="Let the term change only what lies round the eyes (gaze/eye_region.py).",
        needs=(_TERM,),
    )
    mask_radius: float = 0.06  # of that region, world units
    eye_x: float = 0.0779  # where the eyes are in a frontal view, world units: of the FFHQ crop's mean landmarks
    eye_y: float = 0.0733
    cond_d: bool = setting(
        False, flag="--gaze-cond-d", help="Tell the discriminator where the eyes look, besides the camera."
    )

    def __post_init__(self):
        check_settings(self)
        if self.weight > 0 and not self.l2cs_path:
            raise contradiction(
                self,
                "the gaze loss is on (weight {weight:value}) but has no L2CS-Net weights: pass {l2cs_path:FILE}, "
                "or {weight:0} to train without it",
            )
        if self.l2cs_path:
            check_always_answers(self.l2cs_path, f"--l2cs-path={self.l2cs_path}")
        if self.weight > 0:
            check_name_for_loss(self.l2cs_path, f"--l2cs-path={self.l2cs_path}")
        if not 0 < self.mask_radius < 1:
            raise ValueError(f"the gaze mask's radius {self.mask_radius} is not a length inside the volume; use 0.06")
        if self.cond_d and not self.l2cs_path:
            raise contradiction(self, "{cond_d:flag} needs a gaze network that reads the images: pass {l2cs_path:FILE}")
        self.jitter  # noqa: B018  raises for values out of range

    @property
    def jitter(self) -> Jitter:
        return Jitter(shift=self.jitter_shift, blur=self.jitter_blur, noise=self.jitter_noise)

    def weight_at(self, images_seen: float) -> float:
        """The weight after so many images of this run."""
        return self.weight * min(1.0, images_seen / (1000 * self.warmup_kimg)) if self.warmup_kimg > 0 else self.weight


def target_of(labels: torch.Tensor, targets: str = "correct") -> GazeAngles:
    """`gaze_target` or `legacy_target` by name."""
    check_value(GazeLossConfig, "targets", targets)
    return TARGETS[targets](labels)


def angle_error(a: GazeAngles, b: GazeAngles, kind: str = "mse") -> torch.Tensor:
    """Distance [N] of two sets of angles, by its name in KINDS."""
    check_value(GazeLossConfig, "kind", kind)
    return KINDS[kind](a, b)


def estimate_gaze(images, labels, network: GazeNetwork, crop="none", draws=None, jitter=None) -> GazeAngles:
    """What the gaze network reads in images [N, 3, H, W] in [-1, 1] (float32 whatever the images are).

    Args as for `gaze_error`. Gradients reach the images.
    """
    check_value(GazeLossConfig, "crop", crop)
    images = images.float()
    if draws is not None:
        images = disturb(images, draws, jitter or Jitter())
    return network(CROPS[crop_for(network, crop)](images, labels))


def gaze_error(
    images: torch.Tensor,
    labels: torch.Tensor,
    network: GazeNetwork,
    kind: str = "mse",
    targets: str = "correct",
    crop: str = "none",
    draws=None,
    jitter: Jitter | None = None,
    wanted=None,
) -> torch.Tensor:
    """How far the eyes are from looking along the face: [N], differentiable in the images.

    Args:
        images: [N, 3, H, W] in [-1, 1].
        labels: [N, 25], the cameras the images were rendered from.
        network: frozen gaze network.
        kind, targets, crop: see `GazeLossConfig`; with crop none, a network that asks for a crop gets it.
        draws: source of randomness (groundwork.draws) of shifts, blur and noise; None, as in scores, adds none.
        jitter: how large those are; default `Jitter()`.
        wanted: world directions [N, 3] that the eyes shall look along instead; `targets` then has no say.
    Raises: ValueError if the shapes do not fit.
    """
    if images.ndim != 4 or images.shape[1] != 3 or labels.shape != (len(images), LABEL_DIM):
        raise ValueError(
            f"the gaze term takes images [N, 3, H, W] and labels [N, {LABEL_DIM}] of their cameras, not "
            f"{list(images.shape)} and {list(labels.shape)}"
        )
    estimate = estimate_gaze(images, labels, network, crop, draws, jitter)
    labels = labels.to(images.device, torch.float32)
    target = target_of(labels, targets) if wanted is None else gaze_target(labels, wanted)
    return angle_error(estimate, target, kind)


class GazeTerm:
    """All of the gaze term of a training: target, jitter, crop, mask, warm-up, reading for the discriminator, facts.

    The pictures may come from any generator; only `config.mask` asks the generator for more, see `picture`.
    """

    def __init__(self, config: GazeLossConfig, network: GazeNetwork | None = None):
        """`network` may be None if the configuration has no use for it. ValueError for one that no loss can use."""
        self.config, self.network = config, network
        assert network is not None or not self.reads, "the configuration uses a gaze network, but there is none"
        if self.on:
            check_differentiable(network, f"--l2cs-path={config.l2cs_path}")

    @classmethod
    def load(cls, config: GazeLossConfig, device="cpu") -> "GazeTerm":
        """The term with the network that `config.l2cs_path` names.

        At weight 0 the network only scores.
        """
        return cls(config, load_gaze_network(config.l2cs_path, device) if config.l2cs_path else None)

    @property
    def on(self) -> bool:
        """Whether the term is part of the loss."""
        return self.config.weight > 0

    @property
    def reads(self) -> bool:
        """Whether training depends on the network: by the loss, or by what the discriminator is told."""
        return self.on or self.config.cond_d

    def __call__(self, images, labels, images_seen: float = math.inf, draws=None) -> torch.Tensor:
        """What to add to the generator's loss: [N], the error times the weight after `images_seen`; 0 if it is off.

        Args: as of `error`; without `draws` the disturbances come from PyTorch's global generator.
        """
        if not self.on:
            return images.new_zeros(len(images))
        return self.weighted(self.error(images, labels, draws or GlobalDraws()), images_seen)

    def weighted(self, error: torch.Tensor, images_seen: float) -> torch.Tensor:
        """The error [N] times the weight after so many images, which rises from 0 over the warm-up."""
        return self.config.weight_at(images_seen) * error

    def error(self, images, labels, draws, wanted=None) -> torch.Tensor:
        """How far the eyes of disturbed pictures are from looking along the face: [N], before the weight.

        Args: images [N, 3, H, W] in [-1, 1], labels [N, 25] of their cameras, draws (groundwork.draws); wanted: world
            directions [N, 3] to look along instead of the face.
        """
        c = self.config
        return gaze_error(images, labels, self.network, c.kind, c.targets, c.crop, draws, c.jitter, wanted)

    def picture(self, drawn: dict, labels, G, ws, draws) -> torch.Tensor:
        """The image of `drawn` that `error` looks at. With the mask, gradients pass only round the eyes.

        The mask needs `eye_region.KeepsPlanes` of a generator, and frees the planes that the generator has kept.
        Args: drawn, what `G.synthesis(ws, labels, ...)` gave; draws, those of the eyes' depth.
        """
        if not self.config.mask:
            return drawn["image"]
        return eye_region.masked(drawn, labels, G, ws, self.config, draws)

    @torch.no_grad()
    def discriminator_label(self, images, labels) -> torch.Tensor:
        """The cameras [N, 25]; with `cond_d` [N, 27], for the discriminator is told where the eyes look."""
        if not self.config.cond_d:
            return labels
        angles = estimate_gaze(images, labels, self.network, self.config.crop)
        return torch.cat([labels, torch.stack([angles.yaw, angles.pitch], dim=1).to(labels)], dim=1)

    @property
    def digest(self) -> str | None:
        """SHA-256 of the gaze network's weights if training depends on them."""
        return self.network.sha256 if self.reads else None

    def facts(self) -> dict:
        """For a snapshot's header: the settings and the network's digest."""
        return asdict(self.config) | {"network_sha256": self.digest}
