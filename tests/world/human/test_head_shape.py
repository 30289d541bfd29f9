"""The head of a person: where its eyes, lids and landmarks are, and that nothing but the person changes it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label
from eg3d.geometry.landmarks import five_points, standard_face
from eg3d.world import raycast
from eg3d.world.human.eyeballs import IRIS_ANGLE
from eg3d.world.human.head_shape import (
    EYE_LEFT,
    EYE_MAX_PITCH,
    EYE_MAX_YAW,
    EYE_RIGHT,
    SKIN,
    TEETH,
    TOUCH,
    human_head,
)  # fmt: skip
from eg3d.world.human.makehuman import head_data
from eg3d.world.human.person import Person, drawn_expression
from eg3d.world.human.physique import Expression, Shape
from eg3d.world.raycast import project
from eg3d.world.rendered_sets import head_angles_to_vector

pytestmark = pytest.mark.usefixtures("makehuman_data")

FLIP = np.array([-1, 1, 1])
AHEAD = np.array([0.0, 0.0, 1.0])
PUPIL = 0.2  # rad, half angle
IN_A_MIRROR = np.array(  # dlib's 68 points
    [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
     41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]
)  # fmt: skip


@cache
def person(index: int) -> Person:
    return Person.draw("test-shape", index)


def mean_person() -> Person:
    return replace(person(0), shape=Shape((1 / 3, 1 / 3, 1 / 3), 0.5, 40.0, ()))


def camera(yaw: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    return make_label(lookat_pose(yaw, pitch), intrinsics_matrix(FFHQ_FOCAL))[0].numpy().astype(np.float64)


def seen_parts(mesh, label: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part [P] that the camera sees on its way to points [P, 3], and how far [P] before them it lies."""
    origin = label[:16].reshape(4, 4)[:3, 3]
    away = points - origin
    length = np.linalg.norm(away, axis=1)
    rays = (away / length[:, None]).astype(np.float32)
    a, b, c = (mesh.vertices.astype(np.float64)[mesh.faces[:, k]] - origin for k in range(3))
    edges = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
    weights = np.einsum("fkc,pc->pfk", edges, rays)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = weights.sum(-1)
        distance = np.einsum("fc,fc->f", a, edges[:, 0]) / total
        distance = np.where((weights / total[..., None] >= 0).all(-1) & (distance > 0), distance, np.inf)
    first = distance.argmin(axis=1)
    return mesh.part[first], length - distance[np.arange(len(points)), first]


def pupil_points(mesh, gaze: np.ndarray, angle: float = PUPIL) -> np.ndarray:
    """The middle and four points of the rim of both pupils: [10, 3], the right eye's first."""
    gaze = gaze / np.linalg.norm(gaze)
    side = np.cross(gaze, [0, 1, 0])
    up = np.cross(side / np.linalg.norm(side), gaze)
    side = np.cross(up, gaze)
    around = [gaze] + [np.cos(angle) * gaze + np.sin(angle) * d for d in (side, -side, up, -up)]
    return np.concatenate([c + r * np.array(around) for c, r in zip(mesh.eye_centres, mesh.eye_radius, strict=True)])


def test_the_iris_lies_on_the_ball_where_the_gaze_points_and_the_gaze_moves_no_eyeball():
    straight = human_head(person(1))
    for yaw, pitch in ((0.0, 0.0), (0.5, -0.3), (-0.6, 0.4)):
        gaze = head_angles_to_vector(yaw, pitch)
        mesh = human_head(person(1), 3 * gaze)
        assert np.abs(mesh.irises - mesh.eye_centres - mesh.eye_radius[:, None] * gaze).max() < 1e-12
        assert np.array_equal(mesh.eye_centres, straight.eye_centres)
        ball = np.isin(mesh.part, (EYE_RIGHT, EYE_LEFT))
        assert np.array_equal(mesh.vertices[mesh.faces[ball]], straight.vertices[mesh.faces[ball]])


def test_the_picture_shows_an_eyeball_where_the_iris_is_projected():
    for index, (yaw, pitch), view in ((1, (0.3, 0.2), 0.4), (2, (-0.3, -0.2), -0.3), (3, (0.0, 0.0), 0.0)):
        mesh = human_head(person(index), head_angles_to_vector(yaw, pitch))
        part, before = seen_parts(mesh, camera(view), mesh.irises)
        assert part.tolist() == [EYE_RIGHT, EYE_LEFT]
        assert np.abs(before).max() < 0.01 * mesh.eye_radius.max()  # the mesh of the ball is that near to the sphere
        assert mesh.irises[0, 0] < mesh.irises[1, 0] and (project(camera(), mesh.irises, 1)[:, 1] < 0.5).all()


def test_eyeballs_are_spheres_of_life_size():
    for index in range(8):
        mesh = human_head(person(index))
        apart = np.linalg.norm(mesh.eye_centres[1] - mesh.eye_centres[0])
        for part, centre, radius in zip((EYE_RIGHT, EYE_LEFT), mesh.eye_centres, mesh.eye_radius, strict=True):
            ball = np.unique(mesh.faces[mesh.part == part])
            away = mesh.vertices[ball] - centre
            assert np.abs(np.linalg.norm(away, axis=1) - radius).max() < 1e-6
            assert np.abs(away / radius - mesh.normals[ball]).max() < 1e-5
            iris_mm = 2 * radius * np.sin(IRIS_ANGLE) * 63 / apart
            assert 9.5 < iris_mm < 13.5  # 11.7 in people whose eyes are 63 mm apart
    mean = human_head(mean_person())
    apart = np.ptp(mean.eye_centres[:, 0])
    assert abs(2 * mean.eye_radius[0] * np.sin(IRIS_ANGLE) * 63 / apart - 11.7) < 0.3


def test_no_part_of_the_skin_is_inside_an_eyeball_whatever_eyes_and_face_do():
    rng = np.random.default_rng(0)
    for index in range(12):
        gaze = head_angles_to_vector(*(rng.uniform(-1, 1, 2) * (EYE_MAX_YAW, EYE_MAX_PITCH)))
        expression = replace(drawn_expression(person(index)), blink=rng.choice((0.0, 0.5, 1.0)))
        mesh = human_head(person(index), gaze, expression)
        skin = mesh.vertices[np.unique(mesh.faces[mesh.part == SKIN])].astype(np.float64)
        away = np.linalg.norm(skin[:, None] - mesh.eye_centres, axis=2) / mesh.eye_radius
        assert away.min() > TOUCH - 1e-4


def test_open_lids_show_the_pupil_and_a_blink_hides_it():
    moderate = [(0, 0), (0.35, 0), (-0.35, 0), (0, 0.25), (0, -0.25)]
    for index in range(6):
        for angles in moderate:
            gaze = head_angles_to_vector(*angles)
            mesh = human_head(person(index), gaze)
            part, _ = seen_parts(mesh, camera(), pupil_points(mesh, gaze))
            shown = np.isin(part, (EYE_RIGHT, EYE_LEFT)).reshape(2, 5)
            assert shown[:, 0].all() and shown.mean() >= 0.7, (index, angles)
        for angles in ((0, 0), (0.4, 0.3), (-0.2, -0.35)):
            gaze = head_angles_to_vector(*angles)
            mesh = human_head(person(index), gaze, Expression(blink=1.0))
            part, _ = seen_parts(mesh, camera(), np.r_[pupil_points(mesh, gaze), pupil_points(mesh, gaze, 0.4)])
            assert not np.isin(part, (EYE_RIGHT, EYE_LEFT)).any(), (index, angles)


def test_the_upper_lid_follows_the_gaze_up_and_down_and_a_blink_closes_it():
    upper, lower = [37, 38, 43, 44], [41, 40, 47, 46]
    for index in range(4):

        def lids(pitch: float, blink: float = 0.0, index: int = index) -> tuple[float, float]:
            mesh = human_head(person(index), head_angles_to_vector(0.0, pitch), Expression(blink=blink))
            rims = (mesh.landmarks[rows, 1].reshape(2, 2).mean(1) - mesh.eye_centres[:, 1] for rows in (upper, lower))
            return tuple((rim / mesh.eye_radius).mean() for rim in rims)

        up, ahead, down, shut = (lids(0.4), lids(0.0), lids(-0.4), lids(0.0, 1.0))
        assert up[0] - ahead[0] > 0.2 and ahead[0] - down[0] > 0.25  # radii
        assert ahead[1] - down[1] > 0.05
        assert shut[0] - shut[1] < 0.2 * (ahead[0] - ahead[1])


def test_a_mirrored_person_gaze_and_expression_make_the_mirrored_mesh():
    mirror = head_data().mirror
    for index in range(4):
        one, expression = person(index), replace(drawn_expression(person(index)), lean=0.3, blink=0.1)
        gaze = head_angles_to_vector(0.4, -0.2)
        mesh = human_head(one, gaze, expression)
        other = human_head(replace(one, shape=one.shape.mirrored()), gaze * FLIP, expression.mirrored())
        skin = np.unique(mesh.faces[mesh.part == SKIN])
        assert np.array_equal(mesh.rest[skin], head_data().vertices[skin])  # rows of skin are rows of the base mesh
        assert np.abs(mesh.vertices[mirror[skin]] * FLIP - other.vertices[skin]).max() < 1e-6
        assert np.abs(mesh.normals[mirror[skin]] * FLIP - other.normals[skin]).max() < 1e-3
        assert np.abs(mesh.landmarks[IN_A_MIRROR] * FLIP - other.landmarks).max() < 1e-6
        assert np.abs(mesh.irises[::-1] * FLIP - other.irises).max() < 1e-9
        assert np.abs(mesh.vertices - other.vertices).max() > 1e-3  # people are not symmetric


def test_five_points_of_the_mean_person_are_where_the_standard_faces_are():
    label = camera()
    seen = project(label, five_points(human_head(mean_person()).landmarks), 512)
    wanted = project(label, standard_face().double().numpy(), 512)
    assert np.abs(seen - wanted).max() < 3  # of 512 pixels
    assert np.abs((seen - wanted).mean(0)).max() < 0.6


def test_every_head_is_cropped_by_its_five_points():
    label = camera()
    wanted = project(label, standard_face().double().numpy(), 512)
    off = np.array([project(label, five_points(human_head(person(k)).landmarks), 512) - wanted for k in range(24)])
    assert np.abs(off.mean(axis=1)).max() < 1  # no shift is left; people differ in single points
    assert np.abs(off.mean(axis=0)).max() < 4  # the average person looks neither up nor down
    assert np.abs(off).max() < 25


def test_an_expression_moves_the_face_but_not_the_head():
    plain, smiling = human_head(person(2)), human_head(person(2), None, Expression(smile=0.8, jaw=0.2))
    assert smiling.landmarks[48, 1] > plain.landmarks[48, 1] and smiling.landmarks[54, 1] > plain.landmarks[54, 1]
    assert plain.landmarks[62, 1] - plain.landmarks[66, 1] < 0.004 < smiling.landmarks[62, 1] - smiling.landmarks[66, 1]
    assert np.array_equal(plain.eye_centres, smiling.eye_centres)
    neck = np.unique(plain.faces[plain.part == SKIN])
    neck = neck[plain.rest[neck, 1] < 5.4]
    assert len(neck) > 100 and np.array_equal(plain.vertices[neck], smiling.vertices[neck])


def test_landmarks_are_ordered_as_dlibs():
    points = human_head(mean_person()).landmarks
    assert np.abs(points[IN_A_MIRROR] * FLIP - points).max() < 1e-9
    assert (np.diff(points[1:16, 0]) > 0).all() and points[8, 1] == points[:17, 1].min()  # jaw, image left to right
    for brow in (points[17:22], points[22:27]):
        assert (np.diff(brow[:, 0]) > 0).all()
    assert (np.diff(points[27:31, 1]) < 0).all() and points[30, 2] == points.max(0)[2]  # bridge downward, to the tip
    for eye in (points[36:42], points[42:48]):
        around = eye[:, :2] - eye[:, :2].mean(0)
        turn = np.unwrap(np.arctan2(around[:, 1], around[:, 0]))
        assert (np.diff(turn) < 0).all() and eye[0, 0] == eye[:, 0].min()  # clockwise from the image's left corner
    assert points[48, 0] == points[48:60, 0].min() and points[54, 0] == points[48:60, 0].max()
    assert points[51, 1] > max(points[62, 1], points[66, 1]) and points[57, 1] < min(points[62, 1], points[66, 1])


def test_the_same_numbers_make_the_same_bytes():
    from eg3d.world.human import head_shape

    def mesh_bytes() -> list[bytes]:
        mesh = human_head(Person.draw("test-shape", 7), head_angles_to_vector(0.2, 0.1), Expression(smile=0.3))
        return [array.tobytes() for array in vars(mesh).values()]

    first = mesh_bytes()
    human_head(person(3))  # nothing of another person stays
    assert mesh_bytes() == first
    for cached in (head_shape._build, head_shape._topology, head_data):
        cached.cache_clear()
    assert mesh_bytes() == first


def test_the_mesh_is_whole():
    mesh = human_head(person(5), None, Expression(jaw=0.3))
    assert len(mesh.part) == len(mesh.faces) and mesh.faces.max() == len(mesh.vertices) - 1
    assert {SKIN, EYE_RIGHT, EYE_LEFT, TEETH} == set(mesh.part.tolist())
    assert np.abs(np.linalg.norm(mesh.normals, axis=1) - 1).max() < 1e-5
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    agree = (outward * mesh.normals[mesh.faces].mean(1)).sum(1)
    assert (agree[mesh.part != TEETH] > 0).mean() > 0.99  # triangles are wound so that they look outward
    hits = raycast.cast_zbuffer(mesh.vertices, mesh.faces, *raycast.camera_rays(camera(), 16))
    assert 0.4 < (hits.triangle >= 0).mean() < 0.9


def test_shapes_differ_and_a_shape_names_targets_that_exist():
    names = set(head_data().targets.tolist())
    shapes = [Shape.draw(np.random.default_rng(seed)) for seed in range(40)]
    assert {name for shape in shapes for name in shape.targets} <= names
    assert set(Expression(1, 0.5, 1, 1, 1, 1, 1).targets) | set(Expression(brows=-1).targets) <= names
    assert all(sum(shape.ancestry) == pytest.approx(1) and 18 <= shape.age <= 75 for shape in shapes)
    used = {name for shape in shapes for name, _ in shape.weights}
    assert len(used) > 150 and not {
        n for n in used if n.startswith(("head/head-trans", "head/head-age", "head/head-angle"))
    }
    points = np.array([human_head(replace(person(0), shape=s)).landmarks for s in shapes[:12]])
    apart = np.abs(points[:, None] - points[None]).max((2, 3))
    assert apart[~np.eye(12, dtype=bool)].min() > 0.01


def test_brows_do_not_scowl_unless_the_face_lowers_them():
    raised = human_head(person(0), None, Expression(brows=1)).landmarks - human_head(person(0)).landmarks
    assert raised[22, 1] > 1.5 * raised[26, 1] > 0  # the inner end most
    along = np.array([np.diff(human_head(person(index)).landmarks[[22, 25]], axis=0)[0] for index in range(40)])
    rise = np.degrees(np.arctan2(along[:, 1], along[:, 0]))  # from the inner end to the peak
    assert rise.mean() < 17 and np.percentile(rise, 95) < 23 and rise.std() > 1.5
