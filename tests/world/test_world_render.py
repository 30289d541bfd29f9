"""Heads, ray casting and pictures of the cartoon world."""

from dataclasses import fields, replace
from itertools import combinations

import numpy as np
import pytest

from eg3d.world import raycast
from eg3d.world.cartoon.cartoon_head import render_head
from eg3d.world.cartoon.heads import Identity
from eg3d.world.cartoon.meshes import head_mesh
from eg3d.world.rendered_sets import camera_label, head_angles_to_vector, vector_to_camera_angles
from eg3d.world.worlds import SPLITS

AHEAD = (0.0, 0.0, 1.0)


def iris_offset(rendered) -> np.ndarray:
    """Mean position of the dark pixels of the eyes minus that of all eye pixels, (x right, y down)."""
    mask = rendered.eye_mask
    dark = mask & (rendered.rgb.mean(axis=2) < 130)
    return np.array([axis[dark].mean() - axis[mask].mean() for axis in np.indices(mask.shape)[::-1]])


@pytest.mark.parametrize("camera_yaw, camera_pitch", [(0.0, 0.0), (0.5, 0.2), (-0.5, -0.2)])
@pytest.mark.parametrize("index", [0, 1])
def test_irises_move_where_the_recorded_gaze_says(index, camera_yaw, camera_pitch):
    identity, label = Identity.draw("test", index), camera_label(camera_yaw, camera_pitch)
    rotation = label[:16].reshape(4, 4)[:3, :3]

    def seen(yaw, pitch):
        gaze = head_angles_to_vector(yaw, pitch)
        return np.array(vector_to_camera_angles(gaze @ rotation)), iris_offset(render_head(identity, label, gaze, 96))

    (left, left_px), (right, right_px) = seen(-0.4, 0.0), seen(0.4, 0.0)
    assert left[0] > right[0] + 0.5 and left_px[0] < right_px[0] - 2  # positive yaw: toward the image's left
    (up, up_px), (down, down_px) = seen(0.0, 0.3), seen(0.0, -0.3)
    assert up[1] > down[1] + 0.4 and up_px[1] < down_px[1] - 1  # positive pitch: up


def test_iris_sits_where_the_gaze_leaves_the_eyeball():
    identity, label = Identity.draw("test", 3), camera_label(0.2, 0.1)
    gaze = head_angles_to_vector(0.15, 0.05)
    rendered = render_head(identity, label, gaze, 128)
    dark = rendered.eye_mask & (rendered.rgb.mean(axis=2) < 130)
    for centre in identity.eye_centres:
        x, y = raycast.project(label.astype(float), (centre + identity.eye_radius * gaze)[None], 128)[0]
        rows, columns = np.nonzero(dark)
        near = np.hypot(columns + 0.5 - x, rows + 0.5 - y) < 12
        assert np.hypot(columns[near].mean() + 0.5 - x, rows[near].mean() + 0.5 - y) < 1.0


def test_iris_is_visible_over_the_whole_range_of_the_eye():
    for index in range(4):
        identity = Identity.draw("test", index)
        for yaw in (-0.8, 0.8):
            rendered = render_head(identity, camera_label(0, 0), head_angles_to_vector(yaw, 0.0), 64)
            dark = rendered.eye_mask & (rendered.rgb.mean(axis=2) < 130)
            assert dark.sum() >= 12, f"identity {index}, yaw {yaw}"


def test_painted_eyes_show_no_gaze_and_change_only_the_eyes():
    identity, label = Identity.draw("test", 5), camera_label(0.3, 0.0)
    gazes = [head_angles_to_vector(yaw, 0.2) for yaw in (-0.6, 0.6)]
    painted = [render_head(identity, label, gaze, eyes="painted").rgb for gaze in gazes]
    assert np.array_equal(*painted)
    rendered = render_head(identity, label, gazes[0])
    changed = (rendered.rgb != painted[0]).any(axis=2)
    near_eyes = np.zeros_like(changed)
    rows, columns = np.nonzero(rendered.eye_mask)
    for dy, dx in np.ndindex(3, 3):
        near_eyes[rows + dy - 1, columns + dx - 1] = True
    assert changed.any() and not (changed & ~near_eyes).any()


def test_unknown_eyes_are_refused():
    with pytest.raises(ValueError, match="painted"):
        render_head(Identity.draw("test", 0), camera_label(0, 0), AHEAD, eyes="closed")


def test_landmarks_have_the_ibug_order():
    for index in range(12):
        points = render_head(Identity.draw("test", index), camera_label(0, 0), AHEAD).landmarks
        x, y = points.T
        assert points.shape == (68, 2)
        assert (np.diff(x[:17]) > 0).all() and y[8] == y[:17].max()  # jaw, left to right over the chin
        assert (np.diff(x[17:27]) > 0).all()  # brows
        assert (np.diff(y[27:31]) > 0).all() and (np.diff(x[31:36]) > 0).all()  # bridge down, nostrils
        for corner_left, top, corner_right, bottom in ((36, (37, 38), 39, (40, 41)), (42, (43, 44), 45, (46, 47))):
            assert x[corner_left] < x[top[0]] < x[top[1]] < x[corner_right] and x[bottom[0]] > x[bottom[1]]
            assert max(y[list(top)]) < y[corner_left] < min(y[list(bottom)])
        assert x[39] < x[27] < x[42]
        assert x[48] == x[48:60].min() and x[54] == x[48:60].max() and y[51] < y[57]  # mouth
        assert x[60] == x[60:].min() and x[64] == x[60:].max()
        assert y[17:27].max() < y[36:48].min() and y[36:48].max() < y[30] < y[48:60].min() and y[57] < y[8]


def test_landmarks_of_the_eyes_surround_the_eye_mask():
    for index in range(8):
        rendered = render_head(Identity.draw("test", index), camera_label(0, 0), AHEAD)
        rows, columns = np.nonzero(rendered.eye_mask)
        for side, eye in ((columns < 32, slice(36, 42)), (columns >= 32, slice(42, 48))):
            middle = np.array([columns[side].mean(), rows[side].mean()]) + 0.5
            assert np.abs(rendered.landmarks[eye].mean(axis=0) - middle).max() < 1.0
            assert side.sum() >= 25  # an eye covers at least 5 x 5 pixels of 64


def test_splits_share_no_identity():
    people = {split: [Identity.draw(split, index) for index in range(100)] for split in SPLITS}
    shapes = {s: {(p.half_width, p.chin, p.eye_x, p.nose_length) for p in people[s]} for s in SPLITS}
    assert all(len(shapes[split]) == 100 for split in SPLITS)
    for a, b in combinations(SPLITS, 2):
        assert not shapes[a] & shapes[b]


def test_identities_do_not_depend_on_what_was_drawn_before():
    first = Identity.draw("test", 7)
    Identity.draw("test", 8)
    assert Identity.draw("test", 7) == first
    assert all(getattr(first, field.name) is not None for field in fields(first))


def test_depth_stays_within_the_volume_and_the_nose_is_nearest():
    cameras = [(-1.0, 0.5), (-0.5, -0.5), (0.0, 0.0), (0.5, 0.5), (1.0, -0.5)]
    for index in range(10):
        identity = Identity.draw("test", index)
        rendered = render_head(identity, camera_label(*cameras[index % 5]), AHEAD)
        hit = np.isfinite(rendered.depth)
        assert 0.3 < hit.mean() < 0.98
        assert rendered.depth[hit].min() > 2.25 and rendered.depth[hit].max() < 3.15
        assert np.linalg.norm(head_mesh(identity).vertices, axis=1).max() < 0.45

        frontal = render_head(identity, camera_label(0.0, 0.0), AHEAD, 128)
        tip, cheeks = frontal.landmarks[30], (frontal.landmarks[[2, 14]] + frontal.landmarks[[31, 35]]) / 2
        depth = [frontal.depth[int(y), int(x)] for x, y in [tip, *cheeks]]
        assert depth[0] < min(depth[1:]) - 0.05


def test_zbuffer_agrees_with_embree():
    if not raycast.HAVE_EMBREE:
        pytest.skip("embreex is not installed")
    for index, (yaw, pitch) in enumerate([(0.0, 0.0), (0.8, 0.3), (-0.4, -0.4)]):
        mesh = head_mesh(Identity.draw("test", index))
        origin, directions = raycast.camera_rays(camera_label(yaw, pitch).astype(float), 96)
        fast, plain = (
            cast(mesh.vertices, mesh.faces, origin, directions) for cast in (raycast.cast_embree, raycast.cast_zbuffer)
        )
        hit = np.isfinite(fast.distance) & np.isfinite(plain.distance)
        assert (np.isfinite(fast.distance) == np.isfinite(plain.distance)).mean() > 0.995
        assert (np.abs(fast.distance[hit] - plain.distance[hit]) < 1e-4).mean() >= 0.99
        same = hit & (fast.triangle == plain.triangle)
        assert same[hit].mean() > 0.98
        assert (np.abs(fast.weights - plain.weights)[same].max(axis=1) < 1e-2).mean() > 0.99


def test_zbuffer_matches_a_triangle_worked_out_by_hand():
    """A triangle in the plane z = 0.5, seen from (0, 0, 2.5): every ray that hits it has depth 2 along the axis."""
    vertices = np.array([[-0.1, -0.1, 0.5], [0.1, -0.1, 0.5], [-0.1, 0.1, 0.5]], np.float32)
    faces = np.array([[0, 1, 2]], np.int32)
    label = np.zeros(25)
    label[:16] = [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 2.5, 0, 0, 0, 1]
    label[16:] = [5, 0, 0.5, 0, 5, 0.5, 0, 0, 1]  # the picture is 0.4 wide at that distance
    origin, directions = raycast.camera_rays(label, 8)
    hits = raycast.cast_zbuffer(vertices, faces, origin, directions)
    expected = np.zeros((8, 8), bool)
    centres = (np.arange(8) + 0.5) * 0.05 - 0.2  # world x of the pixel columns; rows run down
    for row, column in np.ndindex(8, 8):
        x, y = centres[column], -centres[row]
        expected[row, column] = x > -0.1 and y > -0.1 and x + y < 1e-6
    assert np.array_equal(hits.triangle.reshape(8, 8) == 0, expected)
    hit = hits.triangle == 0
    assert np.allclose(hits.distance[hit] * -directions[hit, 2], 2.0, atol=1e-5)
    points = np.einsum("pk,kc->pc", hits.weights[hit], vertices)
    assert np.allclose(points, origin + hits.distance[hit, None] * directions[hit], atol=1e-5)


@pytest.mark.parametrize("style", ["bald", "long"])
def test_a_symmetric_head_mirrored_is_the_mirrored_picture(style):
    identity = replace(Identity.draw("test", 2), hair_parting=0.0, light=(0.0, 0.6, 0.8), hair_style=style)
    if style == "long":  # the strands' texture runs round the head one way
        identity = replace(identity, hair=(0.0, 0.0, 0.0), hair_thickness=0.0)
    right = render_head(identity, camera_label(0.4, 0.1), head_angles_to_vector(0.5, 0.2))
    left = render_head(identity, camera_label(-0.4, 0.1), head_angles_to_vector(-0.5, 0.2))
    difference = np.abs(right.rgb.astype(int) - left.rgb[:, ::-1])
    assert difference.mean() < 1.0 and (difference.max(axis=2) > 40).mean() < 0.01
    assert (right.eye_mask != left.eye_mask[:, ::-1]).sum() <= 2


def test_identities_are_varied():
    pictures = np.stack([render_head(Identity.draw("test", i), camera_label(0, 0), AHEAD).rgb for i in range(12)])
    spread = pictures.astype(float).std(axis=0)
    assert spread[20:50, 20:44].mean() > 20  # of 255, over the face
