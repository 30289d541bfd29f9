"""Pictures of the world of people, and that what is said of them is true of their pixels."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from eg3d.geometry.cameras import mirror_label
from eg3d.world import raycast
from eg3d.world.rendered_sets import camera_label, head_angles_to_vector
from groundwork.workers import in_processes

pytestmark = pytest.mark.usefixtures("makehuman_data")

EYES = 160  # pixels of a picture that shows the eyes alone, at the scale of 512
CAMERAS = [(0.0, 0.0), (0.35, 0.1), (-0.3, -0.15)]


def person(index: int):
    from eg3d.world.human.person import Person

    return Person.draw("test", index)


def render(who, label, gaze, size=64, **options):
    from eg3d.world.human.physique import Expression
    from eg3d.world.human.portrait import render_person

    return render_person(who, label, gaze, size, expression=options.pop("expression", Expression()), **options)


def plain_eyes(who, iris: float, angle: float):
    """The person with irises of one grey (sRGB) and pupils of this half angle (rad)."""
    from eg3d.world.human.eyeballs import Iris

    grey = (iris,) * 3
    eye = Iris(grey, grey, angle, 0.0, 0.0, who.complexion.iris.phases, 0.0, 0.0)
    return replace(who, complexion=replace(who.complexion, iris=eye))


def eyes_only(label: np.ndarray, eye: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The camera that sees EYES x EYES pixels of a 512 px picture round a point [3], and the corner of that part."""
    corner = np.floor(raycast.project(label.astype(float), eye[None], 512)[0]) - EYES // 2
    k = label[16:].reshape(3, 3).astype(float) * [[512], [512], [1]] / [[EYES], [EYES], [1]]
    k[:2, 2] -= corner / EYES
    return np.concatenate([label[:16], k.ravel()]), corner


def weight_of_change(a, b) -> np.ndarray:
    """How much two pictures differ, in linear light: [H, W]."""
    from eg3d.world.human.lamps import linear

    return np.abs(linear(a.rgb / 255) - linear(b.rgb / 255)).sum(axis=2)


def centroid(weight: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(weight.shape)
    return np.array([(weight * (axis + 0.5)).sum() for axis in (columns, rows)]) / weight.sum()


@lru_cache(maxsize=1)
def wide_eyed() -> int:
    """A person whose lids leave pupil and most of the limbus free."""
    from eg3d.world.human.head_shape import human_head

    def opening(index: int) -> float:
        points = human_head(person(index)).landmarks
        return float(points[[37, 38, 43, 44], 1].mean() - points[[40, 41, 46, 47], 1].mean())

    return max(range(30), key=opening)


@pytest.mark.parametrize("camera, gaze", list(zip(CAMERAS, [(0.0, 0.0), (0.3, -0.1), (-0.25, 0.15)], strict=True)))
def test_pupils_are_drawn_where_the_gaze_leaves_the_eyeballs(camera, gaze):
    from eg3d.world.human.head_shape import human_head

    who, direction = person(wide_eyed()), head_angles_to_vector(*gaze)
    head = human_head(who, direction)
    for centre, radius in zip(head.eye_centres, head.eye_radius, strict=True):
        disc = centre + radius * np.cos(0.2) * direction  # the middle of the circle that is the pupil's rim
        label, _ = eyes_only(camera_label(*camera), disc)
        black, white = (render(plain_eyes(who, 0.5, angle), label, direction, EYES) for angle in (0.2, 0.01))
        weight = weight_of_change(black, white)
        middle = raycast.project(label, disc[None], EYES)[0]
        near = np.hypot(*(np.indices(weight.shape)[::-1].T + 0.5 - middle).T) < 14  # the other eye may be in sight
        assert np.abs(centroid(weight * near) - middle).max() < 0.5
        assert (weight[near] > 0.2 * weight.max()).sum() > 40


def test_the_limbus_is_a_circle_round_the_centre_of_an_eyeball_that_looks_into_the_lens():
    from eg3d.world.human.eyeballs import IRIS_ANGLE
    from eg3d.world.human.head_shape import human_head
    from eg3d.world.human.lamps import linear

    who, label = person(wide_eyed()), camera_label(0.15, 0.05)
    lamps = tuple(replace(lamp, colour=(0.0, 0.0, 0.0)) for lamp in who.setting.lamps)
    even = replace(who, setting=replace(who.setting, lamps=lamps, sky=(1.0, 1.0, 1.0), ground=(1.0, 1.0, 1.0)))
    for side in (0, 1):
        straight = human_head(who).eye_centres[side]
        gaze = label[[3, 7, 11]] - straight
        gaze = gaze / np.linalg.norm(gaze)
        head = human_head(who, gaze)
        part, _ = eyes_only(label, head.eye_centres[side])
        dark, light = (linear(render(plain_eyes(even, v, 0.01), part, gaze, EYES).rgb / 255) for v in (0.3, 0.7))
        centre = raycast.project(part, head.eye_centres[side][None], EYES)[0]
        rows, columns = np.indices(light.shape[:2]) + 0.5
        near = np.hypot(columns - centre[0], rows - centre[1]) < 25
        change = near * (light - dark).mean(axis=2)
        middle = change[:, int(centre[0]) - 4 : int(centre[0]) + 5].mean(axis=1, keepdims=True)
        share = np.where(middle > 0.3 * middle.max(), change / np.maximum(middle, 1e-9), 0)  # of a pixel that is iris
        # Of a circle, (width of a row / 2)^2 + y^2 = r^2 - c^2 + 2 c y; the lids cut off the other rows.
        width, y = share.sum(axis=1) / 2, np.arange(EYES) + 0.5
        full = width > 0.9 * width.max()
        slope, rest = np.polyfit(y[full], width[full] ** 2 + y[full] ** 2, 1)
        x = (share * columns)[full].sum() / share[full].sum()
        assert np.abs(np.array([x, slope / 2]) - centre).max() < 0.5
        distance = np.linalg.norm(label[[3, 7, 11]] - head.irises[side])
        radius = head.eye_radius[side] * np.sin(IRIS_ANGLE) / distance * float(part[16]) * EYES
        assert np.sqrt(rest + slope**2 / 4) == pytest.approx(radius, abs=0.6)


def test_recorded_irises_are_dark_and_on_the_eyeballs():
    for index, (yaw, pitch) in enumerate([(0.0, 0.0), (0.4, 0.2), (-0.4, -0.2), (0.2, 0.3)]):
        picture = render(person(index), camera_label(yaw / 2, 0.0), head_angles_to_vector(yaw, pitch), 256)
        for x, y in picture.irises.astype(int):
            assert picture.eye_mask[y, x] and picture.rgb[y, x].mean() < 140
        corners = picture.landmarks[[36, 39, 42, 45], 0]
        assert corners[0] < picture.irises[0, 0] < corners[1] < corners[2] < picture.irises[1, 0] < corners[3]


@pytest.mark.parametrize("index", [0, 2, 7])
def test_a_mirrored_person_before_a_mirrored_camera_gives_the_mirrored_picture(index):
    from eg3d.world.human.physique import Expression

    who, label, gaze = person(index), camera_label(0.4, 0.1), head_angles_to_vector(-0.2, 0.1)
    face = Expression(smile=0.4, lean=0.3)
    mirrored_label = mirror_label(torch.from_numpy(label)[None])[0].numpy()
    flat = np.array([-1, 1, 1])
    picture = render(who, label, gaze, 96, expression=face)
    mirrored = render(who.mirrored(), mirrored_label, gaze * flat, 96, expression=face.mirrored())
    difference = np.abs(picture.rgb.astype(int) - mirrored.rgb[:, ::-1].astype(int)).max(axis=2)
    assert (difference <= 2).mean() > 0.99 and difference.mean() < 0.2
    assert (picture.eye_mask == mirrored.eye_mask[:, ::-1]).mean() > 0.999
    assert np.abs(picture.irises * [-1, 1] + [96, 0] - mirrored.irises[::-1]).max() < 1e-2
    assert np.abs(picture.rgb.astype(int) - picture.rgb[:, ::-1].astype(int)).mean() > 5


def test_zbuffer_draws_the_same_picture_as_embree():
    if not raycast.HAVE_EMBREE:
        pytest.skip("embreex is not installed")
    label, gaze = camera_label(0.3, -0.1), (0.1, 0.0, 1.0)
    fast, plain = (
        render(person(3), label, gaze, 64, caster=caster) for caster in (raycast.cast_embree, raycast.cast_zbuffer)
    )
    difference = np.abs(fast.rgb.astype(int) - plain.rgb.astype(int)).max(axis=2)
    assert (difference <= 2).mean() > 0.99 and difference.mean() < 0.2
    both = np.isfinite(fast.depth) & np.isfinite(plain.depth)
    assert (np.isfinite(fast.depth) == np.isfinite(plain.depth)).mean() > 0.998
    assert (np.abs(fast.depth[both] - plain.depth[both]) < 1e-3).mean() > 0.98


def scene_of(who, caster=None):
    from eg3d.world.human.dressing import dressed
    from eg3d.world.human.head_shape import human_head

    mesh = dressed(who, human_head(who))
    return mesh, raycast.Scene(mesh.vertices, mesh.faces, caster)


def test_rays_beside_the_middle_of_some_pixels_agree_with_the_zbuffer():
    if not raycast.HAVE_EMBREE:
        pytest.skip("embreex is not installed")
    label, some, shifts = camera_label(0.2, 0.1), np.arange(200, 2000, 7), ((0.4, -0.3), (-0.1, 0.2))
    (origin, fast, hits), (same, plain, others) = (
        scene_of(person(4), caster)[1].cast(label, 48, some, shifts)
        for caster in (raycast.cast_embree, raycast.cast_zbuffer)
    )
    assert np.array_equal(origin, same) and len(fast) == 2 * len(some) and np.abs(fast - plain).max() < 1e-6
    assert (hits.triangle == others.triangle).mean() > 0.99
    target = origin + 2 * fast[[0, 1]]
    places = raycast.project(label.astype(float), target.astype(float), 48)
    assert np.abs(places - [[200 % 48 + 0.9, 200 // 48 + 0.2], [200 % 48 + 0.4, 200 // 48 + 0.7]]).max() < 1e-3


def test_a_pixel_is_as_near_as_its_nearest_ray_and_edges_have_five():
    from eg3d.world.human.picture_rays import cast_picture

    mesh, scene = scene_of(person(4))
    samples = cast_picture(scene, mesh, camera_label(0.2, 0.1).astype(float), 48)
    nearest = np.full(48 * 48, np.inf, np.float32)
    np.minimum.at(nearest, samples.pixel, samples.distance)
    assert np.array_equal(samples.nearest(), nearest)
    assert (nearest < samples.distance[: 48 * 48]).sum() > 50  # the ray through the middle is often not the nearest
    count = np.bincount(samples.pixel)
    assert set(count) == {1, 5} and np.array_equal(np.flatnonzero(count == 5), samples.edge)
    mean = np.zeros(48 * 48)
    np.add.at(mean, samples.pixel, samples.part.astype(float))
    assert np.abs(samples.averaged(samples.part.astype(np.float32)) - mean / count).max() < 1e-4
    rays = np.concatenate([samples.shaded, samples.copied, np.flatnonzero(samples.part < 0)])
    assert np.array_equal(np.sort(rays), np.arange(len(samples.pixel)))


def pixels(index: int) -> bytes:
    label = camera_label(0.1 * index - 0.2, 0.05)
    return render(person(index), label, (0.0, 0.1, 1.0), 48).rgb.tobytes()


@pytest.mark.slow
def test_four_processes_draw_the_same_bytes_as_one():
    assert list(in_processes(pixels, range(4), 4)) == [pixels(index) for index in range(4)]


def test_what_was_drawn_before_changes_nothing():
    first = pixels(1)
    pixels(2)
    assert pixels(1) == first != pixels(2)


def test_painted_eyes_hide_the_iris_and_change_only_the_eyes():
    who, label, gaze = person(wide_eyed()), camera_label(0.2, 0.0), head_angles_to_vector(0.3, 0.1)
    opened, painted = (render(who, label, gaze, 128, eyes=eyes) for eyes in ("open", "painted"))
    changed = (opened.rgb != painted.rgb).any(axis=2)
    touched = np.zeros_like(changed)
    rows, columns = np.nonzero(np.pad(opened.eye_mask, 2))
    for dy, dx in np.ndindex(5, 5):
        touched[np.clip(rows + dy - 4, 0, 127), np.clip(columns + dx - 4, 0, 127)] = True
    assert changed.any() and not (changed & ~touched).any()
    other = plain_eyes(who, 0.9, 0.2)
    assert np.array_equal(painted.rgb, render(other, label, gaze, 128, eyes="painted").rgb)
    cheek = painted.rgb[tuple(painted.landmarks[[41, 31]].mean(axis=0).astype(int)[::-1])].astype(int)
    for x, y in painted.irises.astype(int):
        assert np.abs(painted.rgb[y, x] - cheek).max() < 70


def test_unknown_eyes_are_refused():
    with pytest.raises(ValueError, match="painted"):
        render(person(0), camera_label(0, 0), (0, 0, 1), eyes="closed")


def test_depth_is_that_of_the_head_and_the_nose_is_nearest():
    for index, camera in enumerate(CAMERAS):
        picture = render(person(index), camera_label(*camera), (0, 0, 1), 64)
        hit = np.isfinite(picture.depth)
        assert 0.4 < hit.mean() < 0.99
        assert picture.depth[hit].min() > 2.2 and picture.depth[hit].max() < 3.4
    frontal = render(person(3), camera_label(0.0, 0.0), (0, 0, 1), 128)
    tip, cheeks = frontal.landmarks[30], (frontal.landmarks[[2, 14]] + frontal.landmarks[[31, 35]]) / 2
    depth = [frontal.depth[int(y), int(x)] for x, y in [tip, *cheeks]]
    assert depth[0] < min(depth[1:]) - 0.03
