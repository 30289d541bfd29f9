"""The eye field: a generator as any other, its base's own picture outside the eyes, and another gaze within."""

import dataclasses

import pytest
import torch
from tiny_networks import tiny_eye_field as on
from tiny_networks import tiny_generator

from eg3d.checkpoints.loading import load_generator, load_network, save_snapshot
from eg3d.geometry.head_gaze import CAMERA, Aim, gaze_direction
from eg3d.models.eye_field import EyeField
from eg3d.ops.kernels.backend import using
from eg3d.ops.kernels.fused_rgb import fused_rgb
from eg3d.pictures.views import camera_labels, render_views, ws_of_seeds
from eg3d.rendering.blended import Ball
from groundwork.draws import KeyedDraws, Midpoints

CAMERAS = [(0.0, 0.0), (0.5, 0.0), (-0.5, 0.1), (0.2, -0.3), (-0.2, 0.3)]
GAZES = [(0.0, 0.0), (0.6, 0.0), (-0.6, 0.3), (0.1, -0.3), (-0.2, 0.05)]


@pytest.fixture(scope="module")
def base():
    return tiny_generator()


def differing(base, field, seeds, cameras, gazes, **view):
    """Largest change of each pixel over the gazes [M, 1, S, S], and which pixels may change at all."""
    ws = ws_of_seeds(base, seeds)
    labels = camera_labels(*zip(*cameras, strict=True), base.orbit).repeat(len(ws), 1)
    kwargs = dict(draws=Midpoints(), noise_mode="const") | view
    with torch.no_grad():
        plain = base.synthesis(ws, labels, **kwargs)["image"]
        change = 0
        for gaze in gazes:
            image = field.synthesis(ws, labels, gaze=torch.tensor(gaze).expand(len(labels), 2), **kwargs)["image"]
            change = torch.maximum(torch.as_tensor(change), (image - plain).abs().amax(dim=1, keepdim=True))
        return change, field.may_differ(ws, labels, noise_mode="const")


@pytest.mark.parametrize("ops", ["torch", "auto"])
def test_pixels_outside_the_region_are_the_bases_own_bit_for_bit(base, ops):
    field = on(base, eye_x=0.05, inner=0.2, outer=0.4)
    with using(ops):
        change, may = differing(base, field, range(8), CAMERAS, GAZES)
    assert 0.02 < may.float().mean() < 0.9
    assert change[may].max() > 0.01
    assert torch.count_nonzero(change[~may]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["embedded-base"])
def test_64_seeds_of_an_embedded_base_keep_their_pixels(name):
    base = load_generator(name)
    field = on(base, eye_x=0.0845, eye_y=0.029, inner=0.41, outer=0.53)
    for start in range(0, 64, 16):
        change, may = differing(base, field, range(start, start + 16), CAMERAS, GAZES)
        assert change[may].max() > 0.1
        assert torch.count_nonzero(change[~may]) == 0


@pytest.mark.parametrize("rays", [8, 16, 20])
def test_the_region_is_the_receptive_field_of_its_rays_and_not_much_more(base, rays):
    sr = base.superresolution
    features = torch.randn(1, 16, rays, rays, requires_grad=True)
    image = sr(features[:, :3], features, torch.randn(1, base.num_ws, base.w_dim))
    one = torch.zeros(1, 1, rays, rays, dtype=torch.bool)
    one[..., rays // 2, rays // 2] = True
    reached = sr.reached(one, 32)
    depends = torch.zeros(32, 32, dtype=torch.bool)
    middle = 16 + 16 // rays  # the pixels of one row and of one column suffice: all filters are separable in extent
    for at in range(32):
        for y, x in ((at, middle), (middle, at)):
            (gradient,) = torch.autograd.grad(image[0, :, y, x].sum(), features, retain_graph=True)
            depends[y, x] = bool((gradient[0, :, rays // 2, rays // 2] != 0).any())
    assert not (depends & ~reached[0, 0]).any()
    assert reached[0, 0, middle].sum() <= depends[middle].sum() + 4


@pytest.mark.parametrize("views", [1, 2])  # of each latent; the eyes look into each
def test_random_noise_and_jitter_are_the_bases_and_the_eyes_own_come_after(base, views):
    field, n = on(base), 3
    field.aim = CAMERA
    torch.manual_seed(0)
    ws = base.mapping(torch.randn(n, 16), camera_labels([0.0] * n, [0.0] * n, base.orbit))
    labels = camera_labels([0.0, 0.3, -0.3, 0.2, -0.1, 0.4][: n * views], [0.0] * n * views, base.orbit)
    with torch.no_grad():
        plain = base.synthesis(ws, labels, draws=KeyedDraws(range(n)))["image"]
        mine = field.synthesis(ws, labels, draws=KeyedDraws(range(n)))["image"]
        may = field.may_differ(ws, labels, draws=KeyedDraws(range(n)))
    assert torch.count_nonzero((mine - plain).abs().amax(dim=1, keepdim=True)[~may]) == 0


def test_before_training_it_draws_the_bases_picture(base):
    field = on(base)
    field.shift.net[-1].weight.zero_()
    field.shift.net[-1].bias.zero_()
    change, _ = differing(base, field, range(2), CAMERAS[:3], GAZES[:2])
    assert 0 < change.max() < 1e-5


def test_gaze_of_each_camera_alone_equals_all_cameras_at_once(base):
    field = on(base)
    field.aim = CAMERA
    cameras = CAMERAS[:3]
    together = next(iter(render_views(field, [0, 1], cameras)))
    for i, camera in enumerate(cameras):
        alone = next(iter(render_views(field, [0, 1], [camera])))
        assert (together.images[i::3] - alone.images).abs().max() < 1e-5
    field.aim = Aim()
    assert (next(iter(render_views(field, [0, 1], cameras))).images - together.images).abs().max() > 1e-3


def test_a_fixed_aim_equals_that_gaze_for_every_picture(base):
    field, (yaw, pitch) = on(base), (0.3, -0.1)
    ws = ws_of_seeds(base, [0])
    labels = camera_labels([0.0, 0.4], [0.0, 0.0], base.orbit)
    kwargs = dict(draws=Midpoints(), noise_mode="const")
    with torch.no_grad():
        given = field.synthesis(ws, labels, gaze=torch.tensor([[yaw, pitch]] * 2), **kwargs)["image"]
        field.aim = Aim(yaw, pitch)
        assert torch.equal(field.synthesis(ws, labels, **kwargs)["image"], given)


@pytest.mark.parametrize("window", [(0, 3), (4, 10), (11, 16)])
@pytest.mark.parametrize("mode", ["const", "random"])
def test_a_part_of_the_planes_is_that_of_the_whole(base, mode, window):
    network, ws = base.backbone.synthesis, ws_of_seeds(base, [0, 1])
    with torch.no_grad():
        whole, part = (network(ws, mode, KeyedDraws([1, 2]), window=which) for which in (None, window))
    (start, end), inside = network.drawn(window), slice(*window)
    assert start <= window[0] and window[1] <= end and part.shape[2:] == (end - start, end - start)
    padded = torch.nn.functional.pad(part, (start, 16 - end, start, 16 - end))
    assert (padded - whole)[..., inside, inside].abs().max() < 1e-5 * whole.abs().max()


def test_the_part_of_large_planes_leaves_most_of_them_out():
    network = load_generator("embedded-base").backbone.synthesis
    assert network.drawn((19, 43)) == (18, 44)
    with torch.no_grad():
        whole, part = (network(torch.ones(1, network.num_ws, 128), "const", window=w) for w in (None, (19, 43)))
    assert part.shape == (1, 48, 26, 26)
    assert (part[..., 1:-1, 1:-1] - whole[..., 19:43, 19:43]).abs().max() < 1e-5 * whole.abs().max()


def test_kernels_colour_a_part_of_the_planes_too(monkeypatch):
    network, calls = load_generator("embedded-base").backbone.synthesis, []
    monkeypatch.setattr("eg3d.models.layers.fused_rgb", lambda *a: (calls.append(a[1].shape[2]), fused_rgb(*a))[1])
    with using("kernels"), torch.no_grad():
        network(torch.ones(1, network.num_ws, 128), "const", window=(19, 43))
    assert calls == [4, 8, 14, 18, 26]


def test_no_eye_is_read_beyond_its_part_of_the_planes(base, monkeypatch):
    field = on(base, eye_x=0.15, inner=0.1, outer=0.2)
    ws = ws_of_seeds(base, [0, 1, 2])
    labels = camera_labels(*zip(*CAMERAS, strict=True), base.orbit).repeat(3, 1)
    draw = dict(draws=Midpoints(), noise_mode="const", gaze=torch.tensor([0.4, -0.2]).expand(15, 2))
    with torch.no_grad():
        centres = field.planes(ws, "const", Midpoints()).centres
        assert 0 < field._window(centres)[0] and field._window(centres)[1] < 16
        part = field.synthesis(ws, labels, **draw)["image"]
        monkeypatch.setattr(EyeField, "_window", lambda self, centres: None)
        whole = field.synthesis(ws, labels, **draw)["image"]
    assert (part - whole).abs().max() < 1e-5


def test_the_rig_loss_keeps_the_skin_pixel_by_pixel_and_the_colours_of_an_eyeball_wherever_they_are(base):
    field = on(base, eye_x=0.1, inner=0.5, outer=1.2)
    centres = torch.tensor([[[-0.1, 0.0, 0.1], [0.1, 0.0, 0.1]]] * 2)
    origins, directions = base.rays(camera_labels([0.0, 0.3] * 2, [0.0] * 4, base.orbit), 2, 16)
    inside = Ball(centres, 0.0, 0.6 * 0.2).met(origins, directions).view(2, 2, 256)
    ring = Ball(centres, 0.0, 1.2 * 0.2).met(origins, directions).view(2, 2, 256) & ~inside
    assert 20 < inside.sum(dim=2).min() and 20 < ring.sum(dim=2).min() < 200
    plain = torch.randn(2, 3, 2, 256, generator=torch.Generator().manual_seed(0))

    def rig(features):
        return field._rig(centres, 0.6, origins, directions, features, plain)

    assert torch.count_nonzero(rig(plain + (~inside & ~ring)[:, None])) == 0
    sign = torch.where(torch.arange(256) % 2 == 0, 1.0, -1.0)
    assert torch.allclose(rig(plain + (0.5 * sign * ring)[:, None]), torch.full((2, 2), 0.5))
    assert torch.allclose(rig(plain + (0.25 * inside)[:, None]), torch.full((2, 2), 0.25))
    moved = plain.clone()
    for n, k in ((0, 0), (1, 1)):
        rays = inside[n, k].nonzero()[:, 0]
        moved[n, :, k, rays] = plain[n, :, k, rays.roll(5)]
    assert (moved - plain).abs().mean() > 0.05
    assert rig(moved).max() < 1e-6


def test_the_rig_loss_compares_with_the_base(base):
    field = on(base, inner=0.3, outer=0.8)
    ws, labels = ws_of_seeds(base, [0, 1]), camera_labels([0.0, 0.3] * 2, [0.0] * 4, base.orbit)

    def rig():
        with torch.no_grad():
            return field.synthesis(ws, labels, draws=Midpoints(), noise_mode="const", rig_from=0.5)["rig"]

    other = rig()
    field.shift.net[-1].weight.zero_()
    field.shift.net[-1].bias.zero_()
    assert rig().shape == (4,) and rig().max() < 1e-5 < 1e-3 < other.min()
    with torch.no_grad():
        assert "rig" not in field.synthesis(ws, labels, draws=Midpoints(), noise_mode="const")


def test_gradients_reach_the_eyes_and_the_shift_and_leave_the_base_alone(base):
    field = on(base)
    field.requires_grad_(True)
    for module in field.untrained:
        module.requires_grad_(False)
    ws = ws_of_seeds(base, [0, 1])
    labels = camera_labels([0.0, 0.2], [0.0, 0.0], base.orbit)
    field.synthesis(ws, labels, draws=Midpoints(), noise_mode="const")["image"].square().sum().backward()
    missing = [name for name, p in field.named_parameters() if p.grad is None and not name.startswith("base.")]
    assert missing == []
    for part in (field.eye_backbone.b4.conv1.weight, field.eye_decoder.net[0].weight, field.shift.net[0].bias):
        assert part.grad.abs().max() > 0
    assert all(p.grad is None for p in field.base.parameters())


def test_gradients_reach_a_latent_through_both_fields(base):
    field = on(base)
    ws = ws_of_seeds(base, [0]).clone().requires_grad_(True)
    labels = camera_labels([0.1], [0.0], base.orbit)
    image = field.synthesis(ws, labels, draws=Midpoints(), noise_mode="const")["image"]
    (outside,) = torch.autograd.grad(image[..., 0, 0].sum(), ws, retain_graph=True)
    (inside,) = torch.autograd.grad(image.square().sum(), ws)
    assert outside.abs().max() > 0 and inside.abs().max() > 0


def test_points_inside_are_the_eyes_and_points_outside_the_bases(base):
    field = on(base)
    ws = ws_of_seeds(base, [0])
    planes = field.planes(ws, "const", Midpoints(), gaze=torch.tensor([[0.5, 0.1]]))
    points = torch.cat([planes.centres, planes.centres + torch.tensor([0.0, 0.081, 0.0])], dim=1)
    found, plain = field.query(planes, points), base.query(planes.base, points)
    assert torch.equal(found["sigma"][:, 2:], plain["sigma"][:, 2:])
    assert torch.equal(found["rgb"][:, 2:], plain["rgb"][:, 2:])
    assert ((found["sigma"] - plain["sigma"])[:, :2].abs() > 1e-3).all()


def test_a_snapshot_gives_the_same_pictures_back_and_says_its_class(base, tmp_path):
    field = on(base)
    save_snapshot(tmp_path / "a.safetensors", {"G_ema": field}, {})
    again = load_network(tmp_path / "a.safetensors", "G_ema").eval()
    assert type(again) is EyeField and again.config == field.config
    assert again.neural_rendering_resolution == field.neural_rendering_resolution == 8
    views = [next(iter(render_views(G, [3], CAMERAS[:2]))).images for G in (field, again)]
    assert torch.equal(*views)


def test_a_base_without_a_surface_at_the_eyes_is_one_line(base):
    far = tiny_generator()
    far.config = dataclasses.replace(
        far.config, rendering=dataclasses.replace(far.config.rendering, ray_start=3.3, ray_end=3.6)
    )
    field = on(far)
    with pytest.raises(ValueError, match="no surface where its eyes should be: at x = .-0.08"):
        field.synthesis(ws_of_seeds(base, [0]), camera_labels([0.0], [0.0], base.orbit), draws=Midpoints())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(inner=0.6), "inner=0.6 must be less than outer=0.5"),
        (dict(eye_x=0.7), "outside the volume"),
        (dict(eye_x=0.0), "eye_x=0.0 must be a number > 0"),
    ],
)
def test_a_region_that_cannot_be_is_refused(base, change, message):
    with pytest.raises(ValueError, match=message):
        on(base, **change)


def test_gaze_into_the_camera_points_at_it():
    labels = camera_labels([0.4, -0.2], [0.1, -0.3], tiny_generator().orbit)
    to_camera = gaze_direction(CAMERA.gaze(labels))
    pivot = torch.tensor(tiny_generator().orbit.pivot)
    wanted = torch.nn.functional.normalize(labels[:, [3, 7, 11]] - pivot, dim=1)
    assert (to_camera - wanted).abs().max() < 1e-5
