"""The losses of GazeAnimation, one number for each published name (Zhang et al. 2020, section 3).

x are faces that look at the camera, y others. xo = Gx(x), yo = Gy(y), s = Gx(y) is y corrected, s_again = Gy(s). Faces
are [B, 3, S, S] in [-1, 1], boxes [B, 2, 4].
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from groundwork.plain import check_one_of, check_types, check_within
from redirection.gaze_animation.eye_boxes import both_eyes, eye_crops
from redirection.gaze_animation.face_critic import FaceCritic
from redirection.gaze_animation.gaze_animator import GazeAnimator

Losses = dict[str, torch.Tensor]
Seen = Callable[[torch.Tensor, torch.Tensor], Losses]  # eye crops drawn, true [N, 3, s, s] -> content, style


def _lsgan(score: torch.Tensor, wanted: float) -> torch.Tensor:
    return (score - wanted).square().mean()


def _legacy_lsgan(score: torch.Tensor, wanted: float) -> torch.Tensor:
    """As published: twice what is meant to be squared."""
    return 2 * (score - wanted).mean()


def _softplus_d(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _softplus_g(fake: torch.Tensor) -> torch.Tensor:
    return F.softplus(-fake).mean()


REAL = 0.9  # of least squares
# name -> (loss of D of the logits of real and of painted faces, loss of a painter). gan is softplus by its older name.
ADVERSARIAL = {
    "softplus": (_softplus_d, _softplus_g),
    "gan": (_softplus_d, _softplus_g),
    "hinge": (lambda real, fake: (1 - real).relu().mean() + (1 + fake).relu().mean(), lambda fake: -fake.mean()),
    "wgan": (lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake.mean()),
    "lsgan": (lambda real, fake: _lsgan(real, REAL) + _lsgan(fake, 0), lambda fake: _lsgan(fake, REAL)),
}
LEGACY_LSGAN = (
    lambda real, fake: _legacy_lsgan(real, REAL) + _legacy_lsgan(fake, 0),
    lambda fake: _legacy_lsgan(fake, REAL),
)
CODE_PER_DEGREE = 0.5  # of Er's code where it is told the gaze: about as large as codes get that nobody tells
PENALISED = "wgan"  # the kind that is no distance without a bound on D's gradients


@dataclass(frozen=True, kw_only=True)
class PaintingWeights:
    """Kind of the adversarial terms, and the factors of the others. lam_gp: of the penalty, with wgan alone.

    Not in the paper: lam_gaze, of the distance between Er's code and the gaze that is known, and lam_asked, of the
    distance between the gaze that Gy is asked for and what Er reads of the face that it paints.
    """

    loss_type: str = "softplus"
    lam_r: float = 1.0
    lam_p: float = 100.0
    lam_gp: float = 10.0
    lam_gaze: float = 0.0
    lam_asked: float = 0.0
    legacy_lsgan: bool = False

    def __post_init__(self):
        check_types(self)
        check_one_of("loss_type", self.loss_type, ADVERSARIAL)
        for name in ("lam_r", "lam_p", "lam_gp", "lam_gaze", "lam_asked"):
            check_within(name, getattr(self, name), 0)
        if self.lam_asked and not self.lam_gaze:
            raise ValueError("--asked-gaze needs an Er that reads degrees; give --known-gaze too")

    @property
    def adversarial(self) -> tuple[Callable, Callable]:
        return LEGACY_LSGAN if self.legacy_lsgan and self.loss_type == "lsgan" else ADVERSARIAL[self.loss_type]


@dataclass(frozen=True)
class Faces:
    """A batch of both domains, drawn apart: faces, and the boxes of their eyes.

    Where the gaze is known, in degrees from the lens, yaw and pitch: y_gaze [B, 2], that of y; read [M, 6, s, s] and
    read_gaze [M, 2], eye crops of more faces of both domains and their gaze; asked [B, 2], a gaze to paint y with.
    """

    x: torch.Tensor
    x_boxes: torch.Tensor
    y: torch.Tensor
    y_boxes: torch.Tensor
    y_gaze: torch.Tensor | None = None
    read: torch.Tensor | None = None
    read_gaze: torch.Tensor | None = None
    asked: torch.Tensor | None = None

    def first(self, count: int) -> "Faces":
        return self._each(lambda values: values[:count])

    def to(self, device) -> "Faces":
        return self._each(lambda values: values.to(device))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Faces":
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        return Faces(*(None if one is None else change(one) for one in values))


@dataclass(frozen=True)
class Painted:
    """What the painters make of `Faces`. s has no gradients: for Gy and Er it is data (Synthesis-As-Training)."""

    xo: torch.Tensor
    yo: torch.Tensor
    s: torch.Tensor
    s_again: torch.Tensor


def corrected_x(nets: GazeAnimator, faces: Faces) -> torch.Tensor:
    """xo."""
    return nets.correct(faces.x, faces.x_boxes)


def animated_y(nets: GazeAnimator, faces: Faces, s: torch.Tensor) -> torch.Tensor:
    """yo."""
    boxes = faces.y_boxes
    content = nets.content(s if nets.config.neutral_content else faces.y, boxes)
    return nets.paint(faces.y, boxes, nets.gaze(faces.y, boxes), content)


def synthesised(nets: GazeAnimator, faces: Faces) -> tuple[torch.Tensor, torch.Tensor]:
    """s and s_again: Gy, told the codes of the corrected face, must paint that face."""
    boxes = faces.y_boxes
    with torch.no_grad():
        s = nets.correct(faces.y, boxes)
    return s, nets.paint(faces.y, boxes, nets.gaze(s, boxes), nets.content(s, boxes))


def paint_all(nets: GazeAnimator, faces: Faces) -> Painted:
    s, again = synthesised(nets, faces)
    return Painted(corrected_x(nets, faces), animated_y(nets, faces, s), s, again)


def box_l1(a: torch.Tensor, b: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Mean over the batch of sum |a - b| / (numbers in one box). A face has two boxes; the divisor is as published."""
    left, top, right, bottom = boxes[:, 0].unbind(-1)
    return ((a - b).abs().sum((1, 2, 3)) / ((bottom - top) * (right - left) * 3)).mean()


def perception(seen: Seen, true: torch.Tensor, drawn: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Content and style of both eyes, added."""
    return 2 * sum(seen(both_eyes(eye_crops(drawn, boxes)), both_eyes(eye_crops(true, boxes))).values())


def gradient_penalty(
    critic: FaceCritic, real: torch.Tensor, fake: torch.Tensor, boxes: torch.Tensor, u: torch.Tensor
) -> torch.Tensor:
    """mean((|gradient of D| - 1)^2) between real faces and painted ones (Gulrajani et al. 2017); u [B] in [0, 1]."""
    u = u.view(-1, 1, 1, 1)
    between = (u * real + (1 - u) * fake).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between, boxes).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def critic_x_losses(critic: FaceCritic, faces: Faces, painted: Painted, weights: PaintingWeights) -> Losses:
    """Of Dx, against faces without gradients: those of Gx, and those of Gy that look at the camera."""
    of_d, real = weights.adversarial[0], critic(faces.x, faces.x_boxes)
    terms = {
        "dx_gan_loss": of_d(real, critic(painted.xo.detach(), faces.x_boxes)),
        "dyx_gan_loss": of_d(real, critic(painted.s_again.detach(), faces.y_boxes)),
    }
    return terms | {"Dx_loss": sum(terms.values())}


def critic_y_losses(critic: FaceCritic, faces: Faces, painted: Painted, weights: PaintingWeights) -> Losses:
    """Of Dy."""
    real = critic(faces.y, faces.y_boxes)
    loss = weights.adversarial[0](real, critic(painted.yo.detach(), faces.y_boxes))
    return {"dy_gan_loss": loss, "Dy_loss": loss}


def correction_losses(
    critic_x: FaceCritic, faces: Faces, xo: torch.Tensor, weights: PaintingWeights, seen: Seen | None
) -> Losses:
    """Of Gx, on faces that look at the camera already."""
    terms = {
        "gx_gan_loss": weights.adversarial[1](critic_x(xo, faces.x_boxes)),
        "recon_loss_x": box_l1(xo, faces.x, faces.x_boxes),
    }
    total = terms["gx_gan_loss"] + weights.lam_r * terms["recon_loss_x"]
    if seen is not None:
        terms["percep_loss_x"] = perception(seen, faces.x, xo, faces.x_boxes)
        total = total + weights.lam_p * terms["percep_loss_x"]
    return terms | {"Gx_loss": total}


def animation_losses(
    nets: GazeAnimator,
    critics: tuple[FaceCritic, FaceCritic],
    faces: Faces,
    painted: Painted,
    weights: PaintingWeights,
    seen: Seen | None,
) -> Losses:
    """Of Gy and Er: yo is y, and s_again is s. critics: Dx, Dy.

    With lam_gaze codes are degrees (`code_distance`); with lam_asked Gy must paint a gaze that y has not, so that Er,
    which does not learn from this, reads it.
    """
    of_g, boxes, again = weights.adversarial[1], faces.y_boxes, painted.s_again
    content = sum(
        F.l1_loss(nets.content(drawn, boxes), nets.content(true, boxes))
        for drawn, true in ((again, painted.s), (painted.yo, faces.y))
    )
    terms = {
        "gy_gan_loss": of_g(critics[1](painted.yo, boxes)),
        "gyx_gan_loss": of_g(critics[0](again, boxes)),
        "recon_loss_y": box_l1(painted.yo, faces.y, boxes),
        "recon_loss_y_angle": box_l1(again, painted.s, boxes),
        "recon_fp_content": content,
    }
    reconstruction = terms["recon_loss_y"] + terms["recon_loss_y_angle"]
    total = terms["gy_gan_loss"] + terms["gyx_gan_loss"] + weights.lam_r * reconstruction + content
    if weights.lam_gaze:
        terms["gaze_code_loss"] = code_distance(nets, faces, painted.s)
        total = total + weights.lam_gaze * terms["gaze_code_loss"]
    if weights.lam_asked:
        asked = faces.asked * CODE_PER_DEGREE
        moved = nets.paint(faces.y, boxes, asked, nets.content(painted.s, boxes))
        still = {name: value.detach() for name, value in nets.encode.named_parameters()}
        read = torch.func.functional_call(nets.encode, still, (eye_crops(moved, boxes),))
        terms |= {"gaze_asked_loss": F.l1_loss(read, asked), "moved_gan_loss": of_g(critics[1](moved, boxes))}
        total = total + weights.lam_asked * terms["gaze_asked_loss"] + terms["moved_gan_loss"]
    if seen is not None:
        own = perception(seen, faces.y, painted.yo, boxes)
        terms["percep_loss_y"] = own + perception(seen, painted.s, again, boxes)
        total = total + weights.lam_p * terms["percep_loss_y"]
    return terms | {"Gy_loss": total}


def code_distance(nets: GazeAnimator, faces: Faces, s: torch.Tensor) -> torch.Tensor:
    """L1 between Er's codes and known gazes: of faces.read, or else of y, whose corrections count as looking at the
    camera."""
    if faces.read is not None:
        return F.l1_loss(nets.encode(faces.read), faces.read_gaze * CODE_PER_DEGREE)
    known = faces.y_gaze * CODE_PER_DEGREE
    return F.l1_loss(nets.gaze(faces.y, faces.y_boxes), known) + nets.gaze(s, faces.y_boxes).abs().mean()
