"""The gaze term: one comparison of "where the eyes look" with "where the face looks", for the loss and the score.

Angles follow `l2cs`: of a unit direction d in the camera frame (x image right, y image down, z forward)

    yaw = atan2(-d_x, -d_z)      pitch = asin(-d_y)      d = (-cos p sin y, -sin p, -cos p cos y)

so (0, 0) looks into the lens, positive yaw toward the image's left edge and positive pitch up.

Choosing the weight (`--gaze-weight`): docs/gaze_term.md, "Choosing the weight".
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from eg3d.geometry.cameras import split_label
from groundwork.settings import Need, check_settings, contradiction, non_negative, one_of, setting
from l2cs.estimator import GazeAngles, GazeEstimator, gaze_vector

KINDS = ("mse", "euclid", "angular")
TARGETS = ("correct", "legacy")
CROPS = ("none", "face")
GAZE_DIM = 2  # numbers of a gaze: yaw, pitch
HEAD_AXIS = (0.0, 0.0, 1.0)  # the head looks along +z of the world

# A canonical face in world units, from the mean landmarks of the 512 px FFHQ crop (eyes (188, 192) and (324, 192),
# mouth corners at row 340) put at the depth of the pivot, z = 0.2: pixel offset / 512 * 2.5 / 4.2647.
FACE_CENTRE = (0.0, -0.0114, 0.2)
FACE_WIDTH = 2.1 * 0.1557  # 2.1 x the distance of the eyes


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """Largest disturbances of an image before the loss looks at it, so that texture cannot fool the gaze network.

    Each is drawn per image, from 0 to this bound.
    """

    shift: float = 0.03  # each way, as a fraction of the side
    blur: float = 1 / 64  # sigma as a fraction of the side: 1 px at 64 px
    noise: float = 0.05  # standard deviation, images span [-1, 1]

    def __post_init__(self):
        for name in ("shift", "blur", "noise"):
            value = getattr(self, name)
            if not 0 <= value <= 0.25:
                raise ValueError(f"the gaze loss's jitter {name} is {value}; use a value from 0 (off) to 0.25")


_TERM = Need(lambda run: run.gaze.weight > 0, "the gaze term, whose weight is 0: add {gaze.weight:1}")


@dataclass(frozen=True, kw_only=True)
class GazeLossConfig:
    """How the gaze term enters the generator's loss."""

    weight: float = setting(
        1.0,  # the published loss has no factor
        flag="--gaze-weight",
        help="Weight of the gaze term; 0 turns it off, and a gaze network then only scores snapshots.",
        check=non_negative("0 trains without the gaze term"),
    )
    l2cs_path: str | None = setting(
        None,
        flag="--l2cs-path",
        help="Gaze network of the term and of the scores at snapshots: a weights file, embedded or embedded-judge.",
        metavar="FILE",
    )
    kind: str = setting(
        "mse",
        flag="--gaze-loss",
        help="mse: published code; euclid: paper, Eq. (1); angular: 1 - cos of the 3-D angle.",
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
        help="face: only the face reaches the gaze network.",
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
        False, flag="--gaze-mask", help="Let the term change only what lies round the eyes (gaze/eye_region.py)."
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
        if not 0 < self.mask_radius < 1:
            raise ValueError(f"the gaze mask's radius {self.mask_radius} is not a length inside the volume; use 0.06")
        if self.mask and self.weight == 0:
            raise contradiction(
                self, "{mask:flag} says what the gaze term may change, but its weight is 0: drop one of the two"
            )
        if self.cond_d and not self.l2cs_path:
            raise contradiction(self, "{cond_d:flag} needs a gaze network that reads the images: pass {l2cs_path:FILE}")
        self.jitter  # noqa: B018  raises for values out of range

    @property
    def jitter(self) -> Jitter:
        return Jitter(shift=self.jitter_shift, blur=self.jitter_blur, noise=self.jitter_noise)

    def weight_at(self, images_seen: float) -> float:
        """The weight after so many images of this run."""
        return self.weight * min(1.0, images_seen / (1000 * self.warmup_kimg)) if self.warmup_kimg > 0 else self.weight


def _check_choice(flag: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{flag}={value} is unknown; choose one of {', '.join(choices)}")


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
    """The targets of the published code, defects included (spec gaze.md 8): only to compare with published numbers.

    Both are rounded to 2 decimals; roll leaks into yaw; pitch is EG3D's look-at *parameter* with the wrong sign, so a
    camera above the head asks for eyes that look up.
    """
    pose = split_label(labels.double())[0]
    rotation, origin = pose[:, :3, :3], pose[:, :3, 3]
    yaw = torch.atan2(-rotation[:, 0, 2], rotation[:, :2, 0].norm(dim=1))
    pitch = math.pi / 2 * origin[:, 1] / origin.norm(dim=1)
    return GazeAngles(yaw=yaw.round(decimals=2).to(labels), pitch=pitch.round(decimals=2).to(labels))


def target_of(labels: torch.Tensor, targets: str = "correct") -> GazeAngles:
    """`gaze_target` or `legacy_target` by name."""
    _check_choice("--gaze-targets", targets, TARGETS)
    return gaze_target(labels) if targets == "correct" else legacy_target(labels)


def angle_error(a: GazeAngles, b: GazeAngles, kind: str = "mse") -> torch.Tensor:
    """Distance [N] of two sets of angles.

    mse: mean of the two squared differences, rad^2 (published code); euclid: root of their sum, rad (paper, Eq. 1),
    with gradient zero where the error is zero; angular: 1 - cos of the angle between the two directions.
    """
    _check_choice("--gaze-loss", kind, KINDS)
    if kind == "angular":
        # For unit vectors |a - b|^2 / 2 = 1 - a.b, without the cancellation that 1 - cos suffers near zero.
        return (gaze_vector(a) - gaze_vector(b)).square().sum(dim=1) / 2
    squares = torch.stack([_wrapped(a.yaw - b.yaw), _wrapped(a.pitch - b.pitch)], dim=1).square()
    if kind == "mse":
        return squares.mean(dim=1)
    total = squares.sum(dim=1)
    away = total > 0  # the root's slope is infinite at 0, and where() alone would still give NaN there
    return torch.where(away, torch.where(away, total, 1.0).sqrt(), 0.0)


def _wrapped(difference: torch.Tensor) -> torch.Tensor:
    """The same angle in [-pi, pi], with slope 1."""
    return torch.atan2(difference.sin(), difference.cos())


def estimate_gaze(images, labels, estimator: GazeEstimator, crop="none", draws=None, jitter=None) -> GazeAngles:
    """What the gaze network reads in images [N, 3, H, W] in [-1, 1] (float32 whatever the images are).

    Args as for `gaze_error`. Gradients reach the images.
    """
    _check_choice("--gaze-crop", crop, CROPS)
    images = images.float()
    if draws is not None:
        images = disturb(images, draws, jitter or Jitter())
    if crop == "face":
        images = crop_face(images, labels)
    return estimator(images)


def gaze_error(
    images: torch.Tensor,
    labels: torch.Tensor,
    estimator: GazeEstimator,
    kind: str = "mse",
    targets: str = "correct",
    crop: str = "none",
    draws=None,
    jitter: Jitter | None = None,
) -> torch.Tensor:
    """How far the eyes are from looking along the face: [N], differentiable in the images.

    Args:
        images: [N, 3, H, W] in [-1, 1].
        labels: [N, 25], the cameras the images were rendered from.
        estimator: frozen gaze network.
        kind, targets, crop: see `GazeLossConfig`.
        draws: source of randomness (groundwork.draws) of shifts, blur and noise; None, as in scores, adds none.
        jitter: how large those are; default `Jitter()`.
    """
    estimate = estimate_gaze(images, labels, estimator, crop, draws, jitter)
    return angle_error(estimate, target_of(labels.to(images.device, torch.float32), targets), kind)


def disturb(images: torch.Tensor, draws, jitter: Jitter) -> torch.Tensor:
    """Small random shift, blur and noise of each image [N, 3, H, W]; relative to the size, differentiable."""
    n, _, height, width = images.shape
    u = draws.uniform((n, 4), images.device)
    if jitter.shift > 0:
        theta = torch.eye(2, 3, device=images.device).repeat(n, 1, 1)
        theta[:, :, 2] = (2 * u[:, :2] - 1) * (2 * jitter.shift)  # grid coordinates span 2
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if jitter.blur > 0:
        images = _blur(images, u[:, 2] * jitter.blur * max(height, width), jitter.blur * max(height, width))
    if jitter.noise > 0:
        images = images + u[:, 3, None, None, None] * jitter.noise * draws.normal(images.shape, images.device)
    return images


def _blur(images: torch.Tensor, sigma_px: torch.Tensor, largest_px: float) -> torch.Tensor:
    """Gaussian blur of each image with its own sigma [N], separable; edges repeat."""
    n, channels, height, width = images.shape
    radius = min(math.ceil(3 * largest_px), min(height, width) - 1)
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-0.5 * (offsets / sigma_px[:, None].clamp_min(1e-3)).square())
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)[:, None]
    x = images.reshape(1, n * channels, height, width)
    x = F.conv2d(F.pad(x, (radius, radius, 0, 0), "replicate"), kernel[:, :, None, :], groups=n * channels)
    x = F.conv2d(F.pad(x, (0, 0, radius, radius), "replicate"), kernel[:, :, :, None], groups=n * channels)
    return x.reshape(images.shape)


def crop_face(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Square crops [N, 3, S, S] of the face, S fixed by the image size; differentiable in the images.

    The box lies round the projection of a canonical FFHQ face into each label's camera, 2.1 eye distances wide, at
    about the image's own resolution. Outside the image the edge repeats.
    """
    cam2world, intrinsics = split_label(labels.to(images.device, torch.float32))
    centre = torch.tensor(FACE_CENTRE, device=images.device) - cam2world[:, :3, 3]
    x, y, depth = (cam2world[:, :3, :3] * centre[:, :, None]).sum(dim=1).unbind(dim=1)  # camera frame
    homogeneous = torch.stack([x / depth, y / depth, torch.ones_like(depth)], dim=1)
    uv = (intrinsics @ homogeneous[:, :, None])[:, :2, 0]  # 0..1 across the image
    width = FACE_WIDTH * intrinsics[:, [0, 1], [0, 1]] / depth[:, None]  # [N, 2], fraction of the image
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1] = width[:, 0], width[:, 1]
    theta[:, :, 2] = 2 * uv - 1
    side = max(8, round(0.56 * images.shape[-1]))  # the box of a frontal camera at radius 2.7
    grid = F.affine_grid(theta, [len(images), images.shape[1], side, side], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
