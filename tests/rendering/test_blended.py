"""Two fields in one volume: the pixels against a renderer that blends point by point, and what must not change."""

import dataclasses

import pytest
import torch

from eg3d.models.decoder import OSGDecoder
from eg3d.ops.kernels.backend import using
from eg3d.rendering import blended, definition
from eg3d.rendering.blended import Ball, Field
from eg3d.rendering.options import RenderOptions
from eg3d.rendering.planes import sample_planes
from eg3d.rendering.renderer import VolumeRenderer
from groundwork.draws import Recorded, Replayed

OPTIONS = RenderOptions(
    depth_resolution=8, depth_resolution_importance=8, ray_start=2.25, ray_end=3.15, box_warp=1.0, white_back=True
)
BALL = Ball(torch.tensor([[[-0.1, 0.0, 0.1], [0.1, 0.0, 0.1]], [[-0.07, 0.12, 0.0], [0.13, 0.1, 0.0]]]), 0.06, 0.12)


class Uniform:
    """Draws that a seed fixes."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(5)

    def uniform(self, shape, device="cpu"):
        return torch.rand(shape, generator=self.generator)

    stratified = uniform


def scene():
    torch.manual_seed(0)
    fields = [Field(torch.randn(2, 3, 16, 8, 8) * 3, OSGDecoder(16, 16, 16)) for _ in range(2)]
    for field in fields:
        field.planes.requires_grad_(True)
    origins = torch.zeros(2, 64, 3)
    origins[..., 2] = 2.7
    at = torch.linspace(-0.3, 0.3, 8)
    targets = torch.stack([*torch.meshgrid(at, at, indexing="ij"), torch.zeros(8, 8)], dim=-1).reshape(1, 64, 3)
    return fields, origins, torch.nn.functional.normalize(targets - origins, dim=-1)


def by_definition(fields, ball, origins, directions, draws, monkeypatch):
    """`definition.render` with a field that is blended point by point."""

    def field(planes, decoder, points, options, draws):
        del planes, decoder, draws
        (c0, s0), (c1, s1) = (d(sample_planes(p, points, options.box_warp).mean(1).mT) for p, d, *_ in fields)
        apart = (points[:, :, None] - ball.centres[:, None]).norm(dim=-1).amin(dim=-1)
        t = ((ball.outer - apart) / (ball.outer - ball.inner)).clamp(0, 1)
        w = 3 * t**2 - 2 * t**3
        return (1 - w[:, None]) * c0 + w[:, None] * c1, (1 - w) * s0 + w * s1

    monkeypatch.setattr(definition, "field", field)
    return definition.render(None, None, origins, directions, OPTIONS, draws)


@pytest.mark.parametrize("ops", ["torch", "auto"])
def test_rays_that_meet_a_ball_are_those_of_the_definition_in_value_and_gradient(ops, monkeypatch):
    fields, origins, directions = scene()
    kept = Recorded(Uniform())
    features, depth = definition.render(fields[0][0], fields[0][1], origins, directions, OPTIONS, kept)
    met = BALL.met(origins, directions)
    assert 5 < met[0].sum() < 40 and met[0].sum() != met[1].sum()
    with using(ops):
        mine = blended.render_met(
            fields, BALL, origins, directions, OPTIONS, kept.values, features.detach(), depth.detach()
        )
        gradient = torch.randn(mine[0].shape)
        mine_grads = torch.autograd.grad((mine[0] * gradient).sum(), fields[1][0])
    theirs = by_definition(fields, BALL, origins, directions, Replayed(kept.values), monkeypatch)
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).abs().max() < 2e-5
    theirs_grads = torch.autograd.grad((theirs[0] * gradient).sum(), fields[1][0])
    assert mine_grads[0].abs().max() > 0.01
    assert (mine_grads[0] - theirs_grads[0]).abs().max() < 1e-6
    untouched = ~met[:, None].expand_as(mine[0])
    assert torch.equal(mine[0][untouched], features[untouched])
    assert torch.equal(mine[1][~met], depth[~met])


def test_weight_is_one_inside_zero_outside_and_smooth_between():
    far = torch.linspace(0, 0.2, 401)
    points = BALL.centres[:1, :1] + far[None, :, None] * torch.tensor([-0.6, 0.8, 0.0])
    w = BALL.weight(points)[0]
    assert (w[far < 0.0599] == 1).all() and (w[far >= 0.12001] == 0).all()
    assert abs(float(w[180]) - 0.5) < 1e-3  # 0.09, half way
    assert (w.diff() <= 0).all() and w.diff().abs().max() < 1.51 / 0.06 * 0.0005


def test_weight_along_rays_is_that_of_their_points():
    _, origins, directions = scene()
    depths = torch.linspace(2.3, 3.1, 40).expand(2, 64, 40)
    points = (origins[:, :, None] + depths[..., None] * directions[:, :, None]).flatten(1, 2)
    expected = BALL.weight(points).view_as(depths)
    assert 0.02 < (expected > 0).float().mean() < 0.3 and (expected == 1).any()
    assert (BALL.weight_along(origins, directions, depths) - expected).abs().max() < 2e-4


def test_both_fields_at_once_are_those_of_two_steps_and_all_other_rays_have_the_first_fields_bits():
    fields, origins, directions = scene()
    kept = Recorded(Uniform())
    with using("kernels"), torch.no_grad():
        plain = VolumeRenderer()(*fields[0][:2], origins, directions, OPTIONS, kept)
        steps = blended.render_met(fields, BALL, origins, directions, OPTIONS, kept.values, *plain)
        mine = blended.render(fields, BALL, origins, directions, OPTIONS, Uniform())
    met = BALL.met(origins, directions)
    assert (mine[0] - plain[0]).mT[met].abs().max() > 0.1
    for found, expected, first in zip(mine, steps, plain, strict=True):
        assert (found - expected).abs().max() < 2e-5
        assert torch.equal(found.movedim(-1, 1)[~met], first.movedim(-1, 1)[~met])


def test_rays_that_graze_a_ball_have_the_first_fields_bits_or_meet_it():
    (first, second), _, _ = scene()
    loud = OSGDecoder(16, 16, 16)  # any weight at all of its density of 1e30 would show
    loud.net[2].bias.data[0] = 1e30
    draw = torch.Generator().manual_seed(1)
    directions, aside = torch.nn.functional.normalize(torch.randn(2, 2, 4096, 3, generator=draw), dim=-1)
    aside = torch.nn.functional.normalize(torch.linalg.cross(aside, directions), dim=-1)
    apart = BALL.outer * (1 + 4e-4 * (torch.rand(2, 4096, 1, generator=draw) - 0.5))
    origins = BALL.centres[:, :1] + aside * apart - 2.7 * directions
    fields, options = (
        [first, second._replace(decoder=loud)],
        dataclasses.replace(OPTIONS, ray_start=2.6999, ray_end=2.7001),
    )
    with using("kernels"), torch.no_grad():
        plain = VolumeRenderer()(*first[:2], origins, directions, options, Uniform())
        mine = blended.render(fields, BALL, origins, directions, options, Uniform())
    met = BALL.met(origins, directions)
    assert 0.5 < met.float().mean() < 0.9  # also where there is no weight any more
    changed = (mine[0] != plain[0]).any(dim=1)
    assert changed[met].any() and not changed[~met].any()


@pytest.mark.parametrize("ops", ["torch", "auto"])
def test_a_field_of_a_cube_is_that_of_whole_planes_of_which_it_is_a_part(ops):
    (first, second), origins, directions = scene()
    assert (BALL.centres.abs() + BALL.outer).max() < 0.3 < (7.5 / 8 - 0.5)  # all that is read lies in rows 1 to 7
    whole = torch.nn.functional.pad(second.planes[..., 1:, 1:], (1, 0, 1, 0))
    part = second._replace(planes=second.planes[..., 1:, 1:], middle=0.5 / 8, share=7 / 8)
    found = []
    with using(ops), torch.no_grad():
        for fields in ((first, second._replace(planes=whole)), (first, part)):
            jitter = [torch.full((2, 64, 8), 0.5)] * 2
            plain = torch.zeros(2, 16, 64), torch.zeros(2, 64)
            found.append(
                [
                    blended.render_met(fields, BALL, origins, directions, OPTIONS, jitter, *plain)[0],
                    blended.query(fields, BALL, BALL.centres + 0.05, OPTIONS, Uniform())[0],
                ]
            )
            if ops == "auto":
                found[-1].append(blended.render(fields, BALL, origins, directions, OPTIONS, Uniform())[0])
    for theirs, mine in zip(*found, strict=True):
        assert theirs.abs().max() > 0.1 and (mine - theirs).abs().max() < 2e-5


@pytest.mark.parametrize("why", ["plain PyTorch", "gradients", "noise"])
def test_both_fields_at_once_are_left_to_two_steps_where_kernels_do_not_serve(why):
    fields, origins, directions = scene()
    options = dataclasses.replace(OPTIONS, density_noise=float(why == "noise"))
    with using("torch" if why == "plain PyTorch" else "kernels"), torch.set_grad_enabled(why == "gradients"):
        assert blended.render(fields, BALL, origins, directions, options, Uniform()) is None


def test_a_ray_meets_a_ball_when_it_passes_the_centre_within_the_outer_radius():
    origins = torch.zeros(1, 3, 3)
    directions = torch.tensor([[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    ball = Ball(torch.tensor([[[0.29, 0.0, 2.0], [0.0, 9.0, 0.31]]]), 0.1, 0.3)
    assert ball.met(origins, directions).tolist() == [[True, False, False]]


def test_no_ray_meets_a_ball_and_all_stays():
    fields, origins, directions = scene()
    features, depth = torch.randn(2, 16, 64), torch.rand(2, 64)
    away = Ball(BALL.centres + 5, 0.06, 0.12)
    with torch.no_grad():
        found = blended.render_met(fields, away, origins, directions, OPTIONS, [], features, depth)
    assert torch.equal(found[0], features) and torch.equal(found[1], depth)


@pytest.mark.parametrize("ops", ["torch", "auto"])
def test_the_second_field_is_asked_only_where_it_has_weight(ops, monkeypatch):
    fields, origins, directions = scene()
    asked, density = [], blended._Inside.__init__

    def counted(self, field, points, weight):
        density(self, field, points, weight)
        asked.append((int((weight > 0).sum(dim=1).max()), self._sigma.shape[1], points.shape[1]))

    monkeypatch.setattr(blended._Inside, "__init__", counted)
    with using(ops), torch.no_grad():
        jitter = [torch.rand(2, 64, 8), torch.rand(2, 64, 8)]
        blended.render_met(
            fields, BALL, origins, directions, OPTIONS, jitter, torch.zeros(2, 16, 64), torch.zeros(2, 64)
        )
    assert len(asked) == 2
    for inside, taken, of in asked:
        assert 0 < inside == taken < 0.7 * of
