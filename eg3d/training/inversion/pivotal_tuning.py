"""Weights tuned until the latent that was found draws the photo: pivotal tuning (Roich et al. 2021), for heads in 3D.

Per step two pictures. The photo's camera: it shall look like the photo (the paper's eq. 3). A latent near the pivot
from a camera drawn at random: it shall look as before, which keeps the change local (eq. 5). The paper knows no camera;
a change that fits one view only would be free to ruin the others.

Of an eye field only the base is tuned. Its eyes have learnt to obey beside a discriminator, which is not here. But what
the base draws round them, and its super-resolution, decide how they are read. So a third picture, the head with eyes
set at random from a camera drawn at random. It shall be read as looking there, by the gaze term of this repository
(eg3d/gaze/term.py). And the surface round its eyes shall stay: where the photo's eyes are not quite where the field has
them, skin and specks of the base would else grow between the photo's camera and the eyes, and paint over them.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch

from eg3d.gaze.eye_region import soft_region
from eg3d.gaze.jitter import Jitter
from eg3d.gaze.term import gaze_error
from eg3d.geometry.head_gaze import gaze_direction
from eg3d.models.eye_field import EyeField, Planes
from eg3d.pictures.views import camera_labels, conditioning_label
from eg3d.training.inversion.latent_search import Spread, ramp
from eg3d.training.inversion.photos_to_invert import Photos, draw, drawn
from eg3d.training.inversion.picture_distance import PictureDistance
from groundwork.draw_keys import draw_key
from groundwork.draws import KeyedDraws, Midpoints
from groundwork.plain import check_types, check_within

YAW, PITCH = 0.4, 0.2  # half-ranges of the cameras drawn, parameters in rad
GAZE_YAW, GAZE_PITCH = 0.6, 0.3  # and of the gazes, as in training (eg3d/config/eye_control.py)
ALONG_FACE = 0.2  # part of the gazes that look along the face instead


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """How the weights are tuned. local: weight of the pictures that shall stay; near: how far from the pivot they are,
    in units of sigma (the paper's 30 is of its generator's w). Of an eye field, obey: weight of the gaze term; depth:
    of the squared change of depth round the eyes, world units; jitter: of what the gaze network sees, so that texture
    cannot fool it.
    """

    steps: int = 500
    learning_rate: float = 1e-3
    rising: float = 1 / 3  # part of the run; at the full rate from the first step on, some heads are ruined
    falling: float = 1 / 2
    local: float = 0.1
    near: float = 1.0
    obey: float = 7.0
    depth: float = 1e4
    jitter: Jitter = Jitter(shift=0.04, blur=0.0, noise=0.0, zoom=0.08)

    def __post_init__(self):
        check_types(self)
        check_within("steps", self.steps, 0)

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return self.learning_rate * ramp(step / self.steps, self.rising, self.falling)


def tuned(
    G, ws: torch.Tensor, photo: Photos, distance: PictureDistance, config: TuningConfig, spread: Spread,
    seed: int = 0, step_done: Callable[[], None] = lambda: None, reader=None,
):  # fmt: skip
    """A copy of G, in evaluation mode without gradients, that draws what is seen of one head from ws
    [1, num_ws, w_dim].

    The mapping network stays, for the copy draws nothing by it, and so do the eyes of an eye field. reader: the gaze
    network to which set eyes shall look as they were told; None: no such term.
    """
    eyes = _kept_eyes(G, ws) if isinstance(G, EyeField) else None
    mine = copy.deepcopy(G)
    head = mine.base if isinstance(mine, EyeField) else mine
    optimizer = torch.optim.Adam(head.requires_grad_(True).parameters())
    for step in range(config.steps):
        optimizer.param_groups[0]["lr"] = config.rate(step)
        draws = KeyedDraws([draw_key(seed, "pivotal tuning", photo.keys[0], step)], "cpu")
        optimizer.zero_grad()
        loss = distance(draw(mine, ws, photo.labels, photo.gaze), photo.images).mean()
        if config.local:
            loss = loss + config.local * _change(G, mine, ws, distance, config, spread, draws)
        if eyes is not None:
            loss = loss + _eye_terms(G, mine, ws, eyes, reader, config, draws)
        loss.backward()
        optimizer.step()
        step_done()
    return mine.eval().requires_grad_(False)


def _camera(G, draws: KeyedDraws) -> torch.Tensor:
    yaw, pitch = (draws.uniform((1, 2))[0] * 2 - 1).tolist()
    return camera_labels(yaw * YAW, pitch * PITCH, G.orbit)


def _gaze(draws: KeyedDraws) -> torch.Tensor:
    yaw, pitch, chance = draws.uniform((1, 3))[0].tolist()
    if chance < ALONG_FACE:
        return torch.zeros(1, 2)
    return torch.tensor([[(2 * yaw - 1) * GAZE_YAW, (2 * pitch - 1) * GAZE_PITCH]])


def _change(G, mine, ws, distance, config, spread, draws) -> torch.Tensor:
    """How far the picture of a latent near the pivot has moved from what G draws (Roich et al. 2021, eq. 5)."""
    camera = _camera(G, draws).to(ws.device)
    with torch.no_grad():
        z = draws.normal((1, G.z_dim)).to(ws)
        way = G.mapping(z, conditioning_label(G).to(ws)) - ws
        near = ws + config.near * spread.sigma * way / way.norm(dim=2, keepdim=True).clamp_min(1e-8)
        gaze = _gaze(draws).to(ws.device)
        before = draw(G, near, camera, gaze)
    return distance(draw(mine, near, camera, gaze), before).sum()


@torch.no_grad()
def _kept_eyes(G: EyeField, ws) -> Planes:
    """Planes of the head before it is tuned, of which eyes that look elsewhere are soon drawn."""
    return G.planes(ws, noise_mode="const", draws=Midpoints(), gaze=torch.zeros(1, 2, device=ws.device))


def _eye_terms(G: EyeField, mine: EyeField, ws, planes: Planes, reader, config: TuningConfig, draws) -> torch.Tensor:
    """Of the head from a camera drawn at random, its eyes set to a gaze drawn at random: the gaze term, and how far the
    surface near the eyes has moved from what G draws, with the weights of both.
    """
    camera, gaze = _camera(G, draws).to(ws.device), _gaze(draws).to(ws.device)
    now = drawn(mine, ws, camera, gaze)
    side = now["image_depth"].shape[-1]
    with torch.no_grad():
        depth = G.rendered(G.with_gaze(planes, ws, gaze), camera, side, Midpoints())[1].view(1, 1, side, side)
    near = soft_region(depth, camera, planes.centres, radius=2 * G.config.eye_x * G.config.inner)
    loss = config.depth * (near * (now["image_depth"] - depth).square()).mean()
    if reader is not None:
        wanted = gaze_direction(gaze)
        off = gaze_error(now["image"], camera, reader, draws=draws, jitter=config.jitter, wanted=wanted)
        loss = loss + config.obey * off.sum()
    return loss
