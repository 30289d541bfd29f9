"""Pictures of meshes, against what can be worked out by hand and against a plain reading of the published steps."""

import numpy as np
import pytest
from made_mpii import front_of_ellipsoid
from PIL import Image

from dataset_preprocessing.nv_rendering.backgrounds import Backgrounds
from dataset_preprocessing.nv_rendering.mesh_pictures import ColouredMesh, Light, projected, shrunk, shrunk_mask
from eg3d.world.raycast import cast_zbuffer
from l2cs.normalization import rotation_of

AWAY, BLACK = np.array([0.0, 0, 300]), np.zeros(3)
WHITE = np.array([255.0, 255, 255])


def square(left, top, right, bottom, depth=300.0, colour=(200, 100, 50)) -> ColouredMesh:
    """A square whose corners are seen at these places of a picture of 448 px."""
    places = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    points = np.column_stack([(places - 224) / 960 * depth, np.full(4, depth)])
    return ColouredMesh(points, [[0, 1, 2], [0, 2, 3]], np.tile(colour, (4, 1)), np.ones(4, bool))


def drawn(mesh, rotation=None, light=None, background=BLACK):
    seen = mesh.seen(np.eye(3) if rotation is None else rotation, AWAY)
    return mesh.picture(seen, light or Light(), background)


def head(steps=40):
    points, faces = front_of_ellipsoid(steps)
    colours = np.random.default_rng(0).integers(0, 256, (len(points), 3))
    return ColouredMesh(points + (0, 0, 300 - 40), faces, colours, points[:, 2] < 30)


def test_a_pixel_spans_from_its_number_to_the_next():
    picture = drawn(square(100, 50, 103, 51))
    assert [tuple(place) for place in np.argwhere(picture.any(axis=2))] == [(50, 100), (50, 101), (50, 102)]
    assert np.allclose(picture[50, 101], (200, 100, 50))


def test_landmarks_are_where_their_points_are_drawn():
    mesh = square(100, 50, 104, 54)
    rows, columns = np.nonzero(drawn(mesh).any(axis=2))
    middle = projected(mesh._points.mean(axis=0), 448)
    assert np.allclose(middle, (columns.mean() + 0.5, rows.mean() + 0.5)) and np.allclose(middle, (102, 52))
    assert np.allclose(projected(mesh._points.mean(axis=0), 224), (51, 26))


def test_colours_are_interpolated_between_corners_and_triangles_are_seen_from_behind():
    points = (np.array([[224.5, 224.5], [244.5, 224.5], [224.5, 244.5]]) - 224) / 960 * 300
    mesh = ColouredMesh(
        np.column_stack([points, np.full(3, 300.0)]), [[0, 1, 2]], [[0, 0, 0], [200, 0, 0], [0, 100, 0]], [True] * 3
    )
    for rotation in (np.eye(3), np.diag([-1.0, 1, -1])):  # turned about, the same pixels mirrored at 224
        picture = drawn(mesh, rotation)
        column = 229 if rotation[0, 0] > 0 else 218
        assert np.allclose(picture[234, column], (50, 50, 0), atol=1e-3 if rotation[0, 0] > 0 else 6)


def test_the_nearest_triangle_is_drawn():
    near, far = square(100, 100, 120, 120, 200.0, (9, 9, 9)), square(90, 90, 130, 130, 400.0, (77, 77, 77))
    points, faces = np.concatenate([far._points, near._points]), [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]
    colours = np.concatenate([far._colours, near._colours])
    picture = drawn(ColouredMesh(points, faces, colours, np.ones(8, bool)))
    assert picture[110, 110, 0] == pytest.approx(9) and picture[95, 95, 0] == pytest.approx(77)


def test_embree_and_the_z_buffer_draw_the_same():
    points, faces = front_of_ellipsoid(12)
    colours = np.tile(np.arange(len(points))[:, None], 3) % 256
    both = []
    for caster in (None, cast_zbuffer):
        mesh = ColouredMesh(points + (0, 0, 260), faces, colours, points[:, 2] < 30, caster)
        seen = mesh.seen(rotation_of((0.2, 0.5)), AWAY)
        both.append((mesh.picture(seen, Light(), BLACK), mesh.mask(seen)))
    assert (np.abs(both[0][0] - both[1][0]) > 1).mean() < 1e-3 and (both[0][1] != both[1][1]).mean() < 1e-3
    assert 0.2 < both[0][1].mean() / 255 < 0.8


def test_a_turned_picture_shows_the_turned_mesh():
    mesh, rotation = head(), rotation_of((0.3, -0.6))
    turned = ColouredMesh((mesh._points - AWAY) @ rotation.T + AWAY, mesh._faces, mesh._colours, mesh._chosen[:, 0] > 0)
    a, b = drawn(mesh, rotation), drawn(turned)
    assert (np.abs(a - b) > 1).mean() < 2e-3 and not np.allclose(a, drawn(mesh))


def test_lights_are_the_ambient_and_the_cosine_and_leave_the_background_alone():
    mesh = square(100, 100, 120, 120)
    lit = drawn(mesh, light=Light(0.25, 0.5, (0.0, -np.sin(1.0), -np.cos(1.0))), background=WHITE)
    assert np.allclose(lit[110, 110], np.array([200, 100, 50]) * (0.25 + 0.5 * np.cos(1.0)), rtol=1e-5)
    assert np.allclose(lit[10, 10], 255)
    # From behind the face is as bright as the ambient light alone, whichever way its corners run.
    away = drawn(mesh, light=Light(0.25, 0.5, (0.0, 0.0, 1.0)))
    assert np.allclose(away[110, 110], np.array([200, 100, 50]) * 0.25, rtol=1e-5)
    flipped = ColouredMesh(mesh._points, mesh._faces[:, ::-1], mesh._colours, np.ones(4, bool))
    assert np.allclose(drawn(flipped, light=Light(0.25, 0.5, (0.0, 0.0, -1.0)))[110, 110], 0.75 * mesh._colours[0])


def test_light_from_the_left_brightens_the_left():
    points, faces = front_of_ellipsoid(40)
    mesh = ColouredMesh(points + (0, 0, 260), faces, np.full((len(points), 3), 100), np.ones(len(points), bool))
    lit = drawn(mesh, light=Light(0.2, 0.8, (-0.8, 0.0, -0.6)))[..., 0]
    assert lit[224, 100] > 1.5 * lit[224, 348] > 0


def test_too_bright_is_white_not_dark_again():
    assert np.allclose(drawn(square(100, 100, 120, 120), light=Light(2.0))[110, 110], (255, 200, 100))


def test_shrinking_takes_means_swaps_to_bgr_and_rounds():
    picture = np.zeros((448, 448, 3), np.float32)
    picture[:2, :2] = [(10, 20, 30), (10, 20, 30)]
    picture[0, 0] = (13, 22, 30)  # means 10.75, 20.5, 30
    assert shrunk(picture, 224)[0, 0].tolist() == [30, 21, 11]
    assert shrunk(picture, 224, legacy=True)[0, 0].tolist() == [30, 20, 10]  # the fraction is cut off


def test_masks_come_from_the_chosen_vertices_and_holes_are_closed():
    mesh = square(100, 100, 140, 140)
    mask = mesh.mask(mesh.seen(np.eye(3), AWAY))
    assert mask[100:140, 100:140].min() == 255 and mask.sum() == 255 * 40 * 40
    mask[118:122, 118:122] = 0
    small = shrunk_mask(mask, 224)
    assert small[50:70, 50:70].min() == 255 and small.sum() == 255 * 20 * 20
    none = ColouredMesh(mesh._points, mesh._faces, mesh._colours, np.zeros(4, bool))
    assert not none.mask(none.seen(np.eye(3), AWAY)).any()


def test_closing_does_not_reach_for_the_edge_but_as_published():
    mask = np.zeros((448, 448), np.uint8)
    mask[8:30, 100:200] = 255  # 4 px of the small mask from the edge
    assert np.flatnonzero(shrunk_mask(mask, 224)[:, 70]).tolist() == list(range(4, 15))
    assert np.flatnonzero(shrunk_mask(mask, 224, legacy=True)[:, 70]).tolist() == list(range(15))


def test_holes_are_filled_but_not_bays_and_as_published_both_stay():
    mask = np.zeros((448, 448), np.uint8)
    mask[100:300, 100:448] = 255
    mask[150:200, 150:200] = 0
    mask[220:260, 400:] = 0  # open to the picture's edge
    ours, legacy = shrunk_mask(mask, 224), shrunk_mask(mask, 224, legacy=True)
    assert ours[87, 87] == 255 and legacy[87, 87] == 0 and ours[120, 220] == legacy[120, 220] == 0
    assert ours[10, 10] == 0


def test_a_filled_hole_leaves_no_ring_through_which_backgrounds_shine():
    mask = np.zeros((448, 448), np.uint8)
    mask[101:300, 101:300] = 255  # odd: edges of the small mask are grey
    mask[151:200, 151:200] = 0
    ours = shrunk_mask(mask, 224)
    assert ours[51:149, 51:149].min() == 255 and 0 < ours[50, 100] < 255  # the edge of the face stays grey


def test_legacy_masks_are_what_is_brighter_than_two():
    dark = square(100, 100, 140, 140, colour=(1, 2, 1))
    seen = dark.seen(np.eye(3), AWAY)
    assert dark.mask(seen).any() and not dark.mask(seen, legacy=True).any()


def test_backgrounds_are_sorted_resized_and_blurred(tmp_path):
    for name, grey in (("b.jpg", 200), ("a.png", 50)):
        Image.fromarray(np.full((60, 90, 3), grey, np.uint8)).save(tmp_path / name)
    found = Backgrounds(tmp_path)
    assert found.names == ["a.png", "b.jpg"]
    assert found.picture(0, 448).shape == (448, 448, 3) and np.allclose(found.picture(1, 448), 200, atol=1)
    edge = np.zeros((448, 448, 3), np.uint8)
    edge[:, 224:] = 240
    Image.fromarray(edge).save(tmp_path / "c.png")
    blurred = found.__class__(tmp_path).picture(2, 448)[100, :, 0]
    assert blurred[213] == 0 and blurred[234] == 240 and np.allclose(np.diff(blurred[214:234]), 12)  # 240 / 20


def test_a_folder_without_pictures_is_one_line(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="no background pictures in this folder"):
        Backgrounds(tmp_path)
    with pytest.raises(ValueError, match="there is no such folder of background pictures"):
        Backgrounds(tmp_path / "none")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="background 7 is asked for, and there are 1"):
        Backgrounds(tmp_path).picture(7, 448)
