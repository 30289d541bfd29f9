"""Weights tuned until the latent that was found draws the photo: pivotal tuning (Roich et al. 2021), for heads in 3D.

Per step three pictures. The photo's camera: it shall look like the photo (the paper's eq. 3). A latent near the pivot
from a camera drawn at random: it shall look as before, which keeps the change local (eq. 5); the paper knows
no camera, and a change that fits one view only would be free to ruin the others. For a generator whose gaze can be set,
the photo's head with a gaze and a camera drawn at random: a gaze network shall read that gaze, else the tuned eyes
would learn to look as in the photo for ever.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch

from eg3d.gaze.term import estimate_gaze, gaze_target, one_minus_cosine
from eg3d.geometry.head_gaze import gaze_direction
from eg3d.models.eye_field import EyeField
from eg3d.pictures.views import camera_labels, conditioning_label
from eg3d.training.inversion.latent_search import Spread
from eg3d.training.inversion.photos_to_invert import Photos, draw
from eg3d.training.inversion.picture_distance import PictureDistance
from groundwork.draw_keys import draw_key
from groundwork.draws import KeyedDraws
from groundwork.plain import check_types, check_within

YAW, PITCH = 0.4, 0.2  # half-ranges of the cameras drawn, parameters in rad
GAZE_YAW, GAZE_PITCH = 0.6, 0.3  # and of the gazes, as in training (eg3d/config/eye_control.py)
ALONG_FACE = 0.2  # part of the gazes that look along the face instead


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """How the weights are tuned. local: weight of the pictures that shall stay; near: how far from the pivot they are,
    in units of sigma (the paper's 30 is of its generator's w); gaze: weight of the gaze term."""

    steps: int = 200
    learning_rate: float = 1e-3
    local: float = 0.1
    near: float = 1.0
    gaze: float = 1.0

    def __post_init__(self):
        check_types(self)
        check_within("steps", self.steps, 0)


def tuned(
    G, ws: torch.Tensor, photo: Photos, distance: PictureDistance, config: TuningConfig, spread: Spread,
    gaze_network=None, seed: int = 0,
    step_done: Callable[[], None] = lambda: None,
):  # fmt: skip
    """A copy of G, in evaluation mode without gradients, that draws what is seen of one head from ws
    [1, num_ws, w_dim].

    The mapping network stays. Args: gaze_network, differentiable, for a G whose gaze can be set; None: no gaze term.
    """
    mine = copy.deepcopy(G)
    weights = [p for name, p in mine.named_parameters() if ".mapping." not in f".{name}"]
    for weight in weights:
        weight.requires_grad_(True)
    optimizer = torch.optim.Adam(weights, lr=config.learning_rate)
    asks_gaze = gaze_network is not None and isinstance(G, EyeField)
    for step in range(config.steps):
        draws = KeyedDraws([draw_key(seed, "pivotal tuning", photo.keys[0], step)], "cpu")
        camera = _camera(G, draws).to(ws.device)
        labels, gaze, k = photo.labels, photo.gaze, photo.views
        if asks_gaze:
            wanted = _gaze(draws).to(ws.device)
            labels, gaze = torch.cat([labels, camera]), torch.cat([gaze.expand(k, 2), wanted])
        images = draw(mine, ws, labels, gaze)
        loss = distance(images[:k], photo.images).mean()
        if asks_gaze:
            loss = loss + config.gaze * _gaze_error(images[k:], camera, wanted, gaze_network)
        if config.local:
            loss = loss + config.local * _change(G, mine, ws, camera, distance, config.near * spread.sigma, draws)
        optimizer.zero_grad()
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


def _gaze_error(images, labels, wanted, network) -> torch.Tensor:
    """1 - cos of the angle between the gaze that is read in pictures and the wanted one, [N, 2] in the head frame."""
    read = estimate_gaze(images, labels, network, "none")
    return one_minus_cosine(read, gaze_target(labels, gaze_direction(wanted))).sum()


def _change(G, mine, ws, camera, distance, far, draws) -> torch.Tensor:
    """How far a picture of a latent near the pivot has moved from what G draws (Roich et al. 2021, eq. 5).

    far: the distance of every row of it from the pivot's.
    """
    with torch.no_grad():
        z = draws.normal((1, G.z_dim)).to(ws)
        way = G.mapping(z, conditioning_label(G).to(ws)) - ws
        near = ws + far * way / way.norm(dim=2, keepdim=True).clamp_min(1e-8)
        gaze = _gaze(draws).to(ws.device)
        before = draw(G, near, camera, gaze)
    return distance(draw(mine, near, camera, gaze), before).sum()
