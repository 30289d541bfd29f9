import pytest
import torch

from eg3d.config.presets import ray_ranges
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label, split_label
from eg3d.geometry.doubts import FLIP, camera_doubts

YAW = torch.linspace(-0.6, 0.6, 9).double()


def cameras(change=lambda pose: pose, focal=FFHQ_FOCAL, scale=1.0, **about) -> torch.Tensor:
    """Labels [9, 25] round a face, after a change of their poses; the intrinsics times `scale`."""
    intrinsics = intrinsics_matrix(focal) * torch.tensor([[scale], [scale], [1.0]])
    return make_label(change(lookat_pose(YAW, YAW.flip(0) / 3, **about).double()), intrinsics)


def farther(factor: float):
    def change(pose):
        pose[:, :3, 3] *= factor
        return pose

    return change


SOUND = {
    "ffhq": cameras(),
    "afhq": cameras(pivot=(0.0, 0.0, -0.06)),
    "shapenet": cameras(pivot=(0.0, 0.0, 0.0), radius=1.7, focal=1.7),
    "only turned heads": make_label(lookat_pose(YAW.abs() + 0.5, 0.1), intrinsics_matrix(FFHQ_FOCAL)),
    "only frontal ones": make_label(lookat_pose(YAW / 100, 0.0), intrinsics_matrix(FFHQ_FOCAL)),
    "one": cameras()[:1],
    "none": cameras()[:0],
}
DOUBTFUL = {
    "millimetres": (cameras(farther(1000)), "9 of 9 cameras stand 2700 from the origin", "in millimetres? Divide"),
    "centimetres": (cameras(farther(100)), "9 of 9 cameras stand 270 from", "in centimetres? Divide numbers 4, 8 and"),
    "decimetres": (cameras(farther(10)), "9 of 9 cameras stand 27 from", "in decimetres?"),
    "another unit": (cameras(farther(1 / 1000)), "9 of 9 cameras stand 0.0027 from", "is their unit another? Bring"),
    "one of them": (torch.cat([cameras()[:8], cameras(farther(50))[8:]]), "1 of 9 cameras stand 135 from", "Bring"),
    "pixels": (cameras(scale=512), "9 of 9 cameras have a focal length of 2184", "Divide numbers 17 to 19"),
    "OpenGL": (cameras(lambda pose: pose @ FLIP), "cam2world in OpenGL's axes", "negate numbers 2, 3, 6, 7, 10 and 11"),
    "world2cam": (cameras(torch.linalg.inv), "if the matrices were world2cam;", "invert each matrix"),
    "world2cam of OpenGL": (cameras(lambda pose: FLIP @ torch.linalg.inv(pose)), "world2cam in OpenGL's axes",
                            "negate numbers 5 to 12 of each and invert"),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_sound_cameras_raise_no_doubt(name):
    assert camera_doubts(SOUND[name], ray_ranges()) == []


@pytest.mark.parametrize("name", DOUBTFUL)
def test_another_unit_or_convention_is_named_with_the_remedy(name):
    labels, *words = DOUBTFUL[name]
    (line,) = camera_doubts(labels, ray_ranges())
    assert all(part in line for part in words), line


@pytest.mark.parametrize("name", ["OpenGL", "world2cam", "world2cam of OpenGL"])
def test_the_remedy_for_poses_makes_them_right(name):
    labels, advice = DOUBTFUL[name][0].clone(), camera_doubts(DOUBTFUL[name][0], ray_ranges())[0]
    if "negate numbers 2" in advice:
        labels[:, [1, 2, 5, 6, 9, 10]] *= -1
    if "negate numbers 5 to 12" in advice:
        labels[:, 4:12] *= -1
    if "invert" in advice:
        labels[:, :16] = torch.linalg.inv(split_label(labels)[0]).reshape(-1, 16)
    assert torch.allclose(labels, SOUND["ffhq"], atol=1e-6)


def test_a_model_has_its_own_rays():
    shapenet = SOUND["shapenet"]
    assert "depths of 2.25 to 3.3, so" in camera_doubts(shapenet, [(2.25, 3.3)])[0]
    assert ray_ranges() == [(2.25, 3.3), (2.25, 3.3), (0.1, 2.6), (2.25, 3.15), *[(2.25, 3.3)] * 3]
