"""Gaze by geometry: eyes made of a ball and a disc, seen without perspective."""

import pytest
import torch

from eg3d.faces.iris_gaze import EYE_CENTRE, RADIUS_PER_IRIS, RADIUS_PER_WIDTH, EyeCentre, gaze_directions
from eg3d.faces.irises import INNER, OUTER, Irises
from eg3d.metrics.pose import rotation_of_angles

RADIUS = 20.0  # px


def eyes(gaze, head, centre: EyeCentre) -> Irises:
    """Both eyes of one head [3, 3] that look along `gaze` [3]; camera axes x right, y up, z toward the camera."""
    contour, iris = torch.zeros(1, 2, 71, 3), torch.zeros(1, 2, 5, 3)
    flip = torch.tensor([1.0, -1, -1])
    for eye, side in enumerate((1, -1)):
        ball = torch.tensor([-60.0 * side, 12, 0])
        middle = ball - RADIUS * head @ torch.tensor([side * centre.inward, centre.up, -centre.back])
        for corner, sign in ((OUTER, 1), (INNER, -1)):
            contour[0, eye, corner] = flip * (middle + RADIUS / RADIUS_PER_WIDTH / 2 * sign * head[:, 0])
        iris[0, eye] = flip * (ball + RADIUS * gaze)
        size = RADIUS / RADIUS_PER_IRIS / 2  # the disc is drawn as wide as it is, for one of its axes always is
        iris[0, eye, [1, 3], 0] += torch.tensor([-size, size])
        iris[0, eye, [2, 4], 1] += torch.tensor([-0.8, 0.8]) * size
    return Irises(contour, iris)


@pytest.mark.parametrize("centre", [EYE_CENTRE, EyeCentre(back=0.8, inward=0.1, up=-0.2)])
@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (0.2, -0.5, 0.1), (-0.3, 0.6, -0.2)])
def test_eyes_that_look_somewhere_are_read_so_whatever_the_head_does(angles, centre):
    head = (rotation_of_angles(torch.tensor([angles])) * torch.tensor([1, -1, -1])).mT.float()
    for gaze in ([0.0, 0, 1], [0.5, 0.1, 0.8], [-0.3, -0.4, 0.85]):
        gaze = torch.nn.functional.normalize(torch.tensor(gaze), dim=0)
        found = gaze_directions(eyes(gaze, head[0], centre), head, centre)
        torch.testing.assert_close(found[0], gaze, atol=1e-4, rtol=0)


def test_an_iris_far_off_its_eyeball_still_gives_a_direction():
    irises = eyes(torch.tensor([0.0, 0, 1]), torch.eye(3), EYE_CENTRE)
    irises.iris[..., 0] += 500
    found = gaze_directions(irises, torch.eye(3)[None])
    assert found.isfinite().all() and found[0, 0] > 0.97 and found.norm().item() == pytest.approx(1)
