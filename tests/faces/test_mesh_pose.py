"""Cameras from a face mesh."""

import numpy as np
import pytest
import torch
from faces.conftest import ASTRONAUT_POINTS
from PIL import Image

from dataset_preprocessing.ffhq import pos
from eg3d.faces.face_mesh import MeshReading
from eg3d.faces.mesh_pose import MOST_DISAGREEMENT_DEG, MeanFace, MeshPose, PoseReading, upright
from eg3d.geometry.cameras import FFHQ_RADIUS, check_labels, mirror_label, split_label
from eg3d.geometry.face_cameras import HEAD_CENTRE, face_labels
from eg3d.geometry.landmarks import STANDARD_DM, five_points, project, standard_face
from eg3d.metrics.pose import angles_of_label, rotation_of_angles


@pytest.fixture(scope="module")
def pose(packaged_networks):
    return MeshPose()


def test_the_mean_face_lies_where_the_standard_face_does():
    from eg3d.faces.face_mesh import five_of

    off = five_of(MeanFace().points[None])[0] - STANDARD_DM
    assert off.norm(dim=1).max() < 0.09  # decimetres: FaceMesh's eyes, nose and mouth are not quite those of the table
    assert off.mean(dim=0).abs().max() < 1e-6


def test_a_turned_mean_face_gives_its_rotation_and_camera():
    angles = torch.tensor([[0.2, -0.5, 0.1], [-0.3, 0.7, -0.4]])
    rotation = rotation_of_angles(angles)
    head = (rotation * torch.tensor([1, -1, -1])).mT
    face = MeanFace()
    seen = 219.0 * face.points @ head.mT + torch.tensor([250.0, -260.0, 40.0])
    pixels = seen / upright(torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(face.rotation(pixels), head)
    torch.testing.assert_close(angles_of_label(face_labels(rotation)), angles.double(), atol=1e-6, rtol=0)


def test_lips_and_lids_do_not_turn_the_head():
    from eg3d.faces.face_mesh import EYE_CORNERS, MOUTH, NOSE

    face = MeanFace()
    assert not {*MOUTH, *EYE_CORNERS[0], *EYE_CORNERS[1]} & set(face.rigid) and NOSE in face.rigid
    smiling = 100 * face.points / upright(torch.ones(3, dtype=torch.float64))
    still = face.rotation(smiling[None])
    smiling[[*MOUTH, *EYE_CORNERS[0]]] += torch.tensor([3.0, -12.0, 5.0])
    torch.testing.assert_close(face.rotation(smiling[None]), still)
    torch.testing.assert_close(still[0], torch.eye(3, dtype=torch.float64))


def test_the_astronaut_is_labelled_as_her_head_is_turned(pose, astronaut_crop):
    (label,) = pose.labels(astronaut_crop)
    check_labels(label[None], "the astronaut")
    pitch, yaw, roll = angles_of_label(label[None])[0].rad2deg().tolist()
    assert abs(pitch - 7) < 3 and abs(yaw) < 3 and abs(roll + 1) < 3
    # By points read off the photo by eye, and how far a nose stands out of a face: no yaw of 7, which is 3.5 px of 43.
    eyes, nose = torch.tensor(ASTRONAUT_POINTS[:2]), torch.tensor(ASTRONAUT_POINTS[2])
    across, standard = eyes[1] - eyes[0], STANDARD_DM
    aside = (nose - eyes.mean(dim=0)) @ across / across.square().sum()
    out = (standard[2] - standard[:2].mean(dim=0))[2] / (standard[1] - standard[0]).norm()
    assert abs(torch.asin(aside / out).rad2deg()) < 3 and abs(torch.atan2(*across.flip(0)).rad2deg() + roll) < 1


@pytest.mark.parametrize(("turned", "other"), [(1, 0), (0, 1)])
def test_a_rendered_head_turned_aside_has_yaw_and_one_that_looks_down_has_pitch(pose, turned, other):
    from eg3d.world.rendered_sets import camera_label
    from eg3d.world.worlds import world_of

    world = world_of("cartoons")
    person, parameters = world.draw("test", 3), [0.0, 0.0]
    for side in (-0.4, 0.4):
        parameters[other] = side  # of `lookat_pose`: yaw, pitch
        label, gaze = camera_label(*parameters), np.array([0.0, 0.0, 1.0])
        rgb = torch.from_numpy(world.render(person, label, gaze, 512).rgb.copy()).permute(2, 0, 1)[None]
        (found,) = pose.labels(rgb.float() / 127.5 - 1)
        true, angles = (angles_of_label(torch.as_tensor(one)[None])[0].rad2deg() for one in (label, found))
        assert abs(true[turned]) > 15 and abs(true[other]) < 3 and (angles - true).abs().max() < 10
        points = torch.from_numpy(five_points(world.landmarks(person, label, gaze))).float()
        seen = project(points, torch.from_numpy(label)[None])[0]
        frontal = project(points, torch.from_numpy(camera_label(0, 0))[None])[0]
        moved = (seen[2] - seen[:2].mean(dim=0)) - (frontal[2] - frontal[:2].mean(dim=0))  # the nose against the eyes
        assert torch.sign(moved[other]) == torch.sign(true[turned])  # yaw > 0: to the right; pitch > 0: down


def test_cameras_are_counted_from_the_origin_or_from_the_heads_centre(pose, astronaut_crop):
    other = MeshPose(mode="cor")
    (orig,), (cor,) = pose.labels(astronaut_crop), other.labels(astronaut_crop)
    a, b = (split_label(label[None])[0][0] for label in (orig, cor))
    torch.testing.assert_close(a[:3, :3], b[:3, :3])
    assert a[:3, 3].norm().item() == pytest.approx(FFHQ_RADIUS)
    assert (b[:3, 3] - torch.tensor(HEAD_CENTRE)).norm().item() == pytest.approx(FFHQ_RADIUS)
    assert pose.name != other.name  # so that a manifest tells them apart


@pytest.mark.parametrize("mode, larger", [("orig", 1.078), ("cor", 1.008)])
def test_how_much_larger_than_in_its_crop_a_camera_sees_the_standard_face(mode, larger):
    label = face_labels(torch.diag(torch.tensor([1.0, -1, -1]))[None], mode=mode)
    seen = 512 * project(standard_face(), label)[0].double().numpy() - 0.5
    scale = pos.place(seen, 512).scale / (512 * pos.EG3D_RESCALE / pos.EG3D_CROP)
    assert scale == pytest.approx(larger, abs=0.001)


def test_a_reading_is_the_mean_of_three_looks(pose, monkeypatch):
    class Mesh:
        yaws = [0.3, 0.0, 0.3]

        def find(self, images, square):
            return self.read(images, square)

        def read(self, images, square):
            self.yaws = [*self.yaws[1:], self.yaws[0]]
            head = (rotation_of_angles(torch.tensor([[0.0, self.yaws[0], 0.0]])) * torch.tensor([1, -1, -1])).mT
            seen = 200.0 * MeanFace().points @ head.mT / upright(torch.ones(3, dtype=torch.float64))
            return MeshReading(seen.expand(len(images), -1, -1), torch.ones(len(images)))

    monkeypatch.setattr(pose, "_mesh", Mesh())
    _, head = pose._look(torch.zeros(1, 3, 512, 512))
    yaw = torch.atan2(head[0, 0, 2], head[0, 2, 2]).abs().item()
    assert yaw == pytest.approx(0.2, abs=0.003)  # 0.0, 0.3 and 0.3


def test_the_mirrored_crop_has_the_mirrored_camera(pose, astronaut_crop):
    (straight,), (mirrored,) = pose.labels(astronaut_crop), pose.labels(astronaut_crop.flip(3))
    torch.testing.assert_close(mirror_label(straight[None])[0], mirrored, atol=2e-4, rtol=0)


def test_a_smaller_crop_and_a_batch_give_the_same_camera(pose, astronaut_crop):
    half = torch.nn.functional.avg_pool2d(astronaut_crop, 2)
    whole, small = (pose.read(crop) for crop in (astronaut_crop, torch.cat([half, half.flip(3)])))
    off = angles_of_label(small.labels[:1]) - angles_of_label(whole.labels)
    assert off.abs().max().rad2deg() < 1.5


def test_prepare_and_labels_go_together_and_a_wall_has_no_face(pose):
    wall = pose.prepare(Image.new("RGB", (128, 128), (90, 80, 70)), "wall.png")
    assert wall.shape == (3, 128, 128) and -1 <= wall.min() <= wall.max() <= 1
    (reason,) = pose.labels(wall[None])
    assert reason.startswith("FaceMesh sees no face (presence 0.0")


def test_readings_that_contradict_their_mirror_image_get_a_reason(pose, monkeypatch):
    disagreement = torch.tensor([MOST_DISAGREEMENT_DEG - 0.1, MOST_DISAGREEMENT_DEG + 0.1, torch.nan])
    reading = PoseReading(torch.zeros(3, 25), disagreement, torch.ones(3), torch.zeros(3, 468, 3))
    monkeypatch.setattr(pose, "read", lambda crops: reading)
    good, bad, undefined = pose.labels(torch.zeros(3, 3, 8, 8))
    assert torch.equal(good, torch.zeros(25)) and "6.1 degrees apart (most 6)" in bad and "nan" in undefined


def test_no_tensor_of_another_device_takes_part(packaged_networks):
    reading = MeshPose("meta").read(torch.empty(2, 3, 256, 256, device="meta"))
    assert reading.labels.shape == (2, 25) and reading.labels.is_meta
