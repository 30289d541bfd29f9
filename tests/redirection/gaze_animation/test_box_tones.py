"""Tones of painted boxes: a tint goes, a pupil stays dark, the rest keeps every bit."""

import torch

from redirection.gaze_animation.box_tones import blurred, coons, sharpened, toned

BOXES = torch.tensor([[[10.0, 12.0, 30.0, 26.0], [34.0, 12.0, 54.0, 26.0]]])
INSIDE = (slice(None), slice(None), slice(12, 26), slice(10, 30))


def faces(seed=0):
    rising = torch.linspace(-0.4, 0.5, 64).view(1, 1, 1, 64).expand(1, 3, 64, 64)
    return rising + 0.01 * torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_a_tint_of_the_painted_skin_goes_and_a_pupil_stays_dark():
    before = faces()
    after = before.clone()
    after[INSIDE] = ((after[INSIDE] + 1) * torch.tensor([1.25, 0.85, 0.8]).view(1, 3, 1, 1)) - 1
    after[:, :, 17:21, 18:22] = -0.95
    found = toned(before, after, BOXES)
    skin = torch.ones(64, 64, dtype=torch.bool)
    skin[17:21, 18:22] = False
    assert (after - before)[:, :, skin].abs().max() > 0.2 and (found - before)[:, :, skin].abs().max() < 0.03
    assert found[:, :, 17:21, 18:22].max() < -0.9


def test_whites_do_not_glow_where_painted_skin_is_too_dark():
    before = faces()
    after = (before + 1) * 0.75 - 1
    after[:, :, 17:21, 18:22] = before[INSIDE].max()
    found = toned(before, after, BOXES)
    assert found[:, :, 17:21, 18:22].max() <= before[INSIDE].max() + 1e-6
    assert (found - before)[:, :, 12:16, 10:30].abs().max() < 0.02


def test_outside_the_boxes_and_where_nothing_differs_at_the_border_nothing_changes():
    before = faces()
    after = before.clone()
    after[:, :, 16:22, 15:25] = 0.9  # inside the left box, away from its border
    found = toned(before, after, BOXES)
    assert (found - after).abs().max() < 1e-6
    tinted = before.clone()
    tinted[INSIDE] += 0.2
    found, outside = toned(before, tinted, BOXES), torch.ones(1, 3, 64, 64, dtype=torch.bool)
    outside[INSIDE] = outside[:, :, 12:26, 34:54] = False
    assert torch.equal(found[outside], before[outside])
    beyond = BOXES - 20  # partly out of the picture
    assert torch.isfinite(toned(before, tinted, beyond)).all()


def test_a_plane_is_carried_inward_as_it_is():
    plane = torch.linspace(0, 1, 14).view(1, 14, 1) + torch.linspace(0, 2, 20).view(1, 1, 20)
    assert (coons(plane.expand(3, -1, -1)) - plane).abs().max() < 0.25
    assert (coons(torch.full((3, 9, 12), 0.3)) - 0.3).abs().max() < 1e-6


def test_a_paint_that_is_softer_than_the_face_gets_its_detail_and_one_that_is_as_sharp_stays():
    torch.manual_seed(0)
    face = (torch.rand(1, 1, 32, 32) * 0.4).expand(1, 3, 32, 32)
    boxes = torch.tensor([[[4.0, 4, 14, 12], [18, 4, 28, 12]]])
    soft = blurred(face)

    def detail(faces):
        return (faces - blurred(faces))[..., 6:10, 6:12].square().mean().sqrt()

    found = sharpened(face, soft, boxes)
    assert 1.2 * detail(soft) < detail(found) <= 1.05 * detail(face)
    assert torch.equal(found[..., 14:, :], soft[..., 14:, :])
    assert all(torch.allclose(sharpened(before, face, boxes), face, atol=1e-6) for before in (face, soft))


def test_specks_of_colour_go_and_broad_colour_and_light_stay():
    boxes = torch.tensor([[[4.0, 4, 14, 12], [18, 4, 28, 12]]])
    checks = torch.tensor([1.0, -1.0]).repeat(16)
    checks = checks[:, None] * checks
    light = torch.linspace(-0.5, 0.3, 32).expand(1, 3, 32, 32) + torch.tensor([0.2, 0, -0.1]).view(3, 1, 1)
    found = sharpened(light, light + 0.2 * checks * torch.tensor([1.0, -1, 0]).view(3, 1, 1), boxes)
    assert (found - light)[..., 4:12, 4:14].abs().max() < 0.02
