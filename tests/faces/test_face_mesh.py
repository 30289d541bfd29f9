"""FaceMesh, Iris and BlazeFace on a photo in the public domain, against what one sees in it."""

import pytest
import torch
from faces.conftest import ASTRONAUT_POINTS

from eg3d.faces.face_mesh import FaceMesh, five_of, square_of_mesh
from eg3d.faces.irises import CENTRE, INNER, OUTER, IrisFinder
from eg3d.faces.short_range import FOUND, ShortRange, anchors
from eg3d.faces.squares import Squares

POINTS = torch.tensor(ASTRONAUT_POINTS)


@pytest.fixture(scope="module")
def mesh(packaged_networks):
    return FaceMesh()


def square(x, y, side, angle=0.0) -> Squares:
    return Squares(torch.tensor([[x, y]]), torch.tensor([side]), torch.tensor([angle]))


@pytest.fixture(scope="module")
def found(mesh, astronaut):
    with torch.no_grad():
        return mesh.find(astronaut, square(223.0, 120.0, 160.0))


def test_the_mesh_has_eyes_nose_and_mouth_where_one_sees_them(found):
    assert found.presence.item() > 0.9
    assert (five_of(found.points)[0, :, :2] - POINTS).norm(dim=1).max() < 3
    assert found.points[0, 4, 2] < found.points[0, 33, 2]  # the nose is nearer to the camera than an eye's corner


@pytest.mark.parametrize("rough", [square(240.0, 110.0, 200.0), square(215.0, 130.0, 130.0, 0.3)], ids=["far", "near"])
def test_a_second_look_brings_the_points_of_a_rough_square_nearer(mesh, astronaut, found, rough):
    with torch.no_grad():
        once, twice = mesh.read(astronaut, rough), mesh.find(astronaut, rough)
    once, twice = ((one.points - found.points)[..., :2].norm(dim=2).mean().item() for one in (once, twice))
    assert twice < 2 and twice < 0.6 * once


def test_the_square_of_a_mesh_is_half_as_large_again_as_its_box_along_the_eyes(found):
    around = square_of_mesh(found.points)
    flat = found.points[0, :, :2]
    along = torch.stack([around.angle.cos(), around.angle.sin()], dim=1)[0]
    across = torch.stack([-along[1], along[0]])
    sides = [(flat @ axis).max() - (flat @ axis).min() for axis in (along, across)]
    torch.testing.assert_close(around.side[0], 1.5 * max(sides))
    left, right = five_of(found.points)[0, :2, :2]
    assert abs((right - left) @ across) < 1e-3


def test_there_is_no_face_in_noise_and_gradients_reach_a_face(mesh, astronaut):
    noise = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert mesh.read(noise, square(128.0, 128.0, 256.0)).presence.item() < 0.5
    photo = astronaut.clone().requires_grad_()
    mesh.find(photo, square(223.0, 120.0, 160.0)).points.square().mean().backward()
    assert photo.grad[..., 90:160, 190:260].abs().max() > 0 and photo.grad[..., 300:, :].abs().max() == 0


def test_irises_lie_on_the_pupils_and_corners_outside_them(astronaut, found):
    with torch.no_grad():
        irises = IrisFinder().read(astronaut, found.points)
    pupils = irises.iris[0, :, CENTRE, :2]
    assert (pupils - torch.tensor([[204.5, 101.5], [246.5, 103.5]])).norm(dim=1).max() < 2.5
    outer, inner = irises.contour[0, :, OUTER, 0], irises.contour[0, :, INNER, 0]
    assert outer[0] < pupils[0, 0] < inner[0] < inner[1] < pupils[1, 0] < outer[1]


def test_the_mirrored_photo_has_mirrored_irises(mesh, astronaut, found):
    width, finder = astronaut.shape[3], IrisFinder()
    with torch.no_grad():
        straight = finder.read(astronaut, found.points)
        mirrored = finder.read(
            astronaut.flip(3), mesh.find(astronaut.flip(3), square(width - 223.0, 120.0, 160.0)).points
        )
    for ours, theirs, most in zip(straight, mirrored, (0.5, 0.25), strict=True):  # px of a face that is 105 px wide
        other = theirs[..., :2].flip(1)
        other = torch.stack([width - other[..., 0], other[..., 1]], dim=3)
        assert (ours[..., :2] - other).norm(dim=3).mean(dim=2).max() < most


def test_anchors_stand_in_the_middle_of_their_places():
    places = anchors()
    assert places.shape == (896, 2)
    assert places[:3].tolist() == [[1 / 32, 1 / 32], [1 / 32, 1 / 32], [3 / 32, 1 / 32]]
    assert (
        places[512:519].tolist() == [[1 / 16, 1 / 16]] * 6 + [[3 / 16, 1 / 16]] and places[-1].tolist() == [15 / 16] * 2
    )


def test_the_face_of_a_whole_photo_is_found_and_noise_has_none(packaged_networks, astronaut, found):
    noise = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(0)) * 2 - 1
    (squares, score), wanted = ShortRange().find(torch.cat([astronaut, noise])), square_of_mesh(found.points)
    assert score[0] > FOUND > score[1]
    assert (squares.centre[0] - wanted.centre[0]).norm() < 15
    assert squares.side[0] == pytest.approx(wanted.side.item(), rel=0.25)


def test_a_photo_that_is_not_square_has_its_face_in_the_same_place(packaged_networks, astronaut):
    finder = ShortRange()
    whole, part = finder.find(astronaut), finder.find(astronaut[:, :, :300, 60:400])
    assert part.score.item() > FOUND
    assert (part.squares.centre + torch.tensor([60.0, 0.0]) - whole.squares.centre).norm() < 12
