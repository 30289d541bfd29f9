from importlib.util import find_spec

import numpy as np
import pytest
import torch

from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label
from eg3d.geometry.landmarks import WORLD_MEANS, five_points, project, standard_face
from eg3d.world.cartoon.heads import Identity
from eg3d.world.cartoon.meshes import landmarks_3d
from eg3d.world.raycast import project as project_numpy


def test_five_points_are_the_published_choice_of_68():
    # spec: 1-based mean of 37 and 40, mean of 43 and 46, 31, 49, 55
    numbers = np.arange(1, 69)[:, None] * np.ones(2)
    assert five_points(numbers)[:, 0].tolist() == [38.5, 44.5, 31, 49, 55]


def test_projection_agrees_with_the_ray_casters():
    label = make_label(lookat_pose(0.5, -0.3), intrinsics_matrix(FFHQ_FOCAL))
    points = torch.rand(7, 3) * 0.4 - 0.2
    expected = project_numpy(label[0].numpy(), points.numpy(), 64)
    assert np.abs(project(points, label)[0].numpy() * 64 - expected).max() < 1e-4


def test_the_embedded_mean_face_is_the_mean_of_its_heads():
    heads = [five_points(landmarks_3d(Identity.draw("people", i))) for i in range(200)]
    assert np.abs(np.mean(heads, axis=0) - WORLD_MEANS["embedded"].numpy()).max() < 0.002


@pytest.mark.skipif(find_spec("anny") is None, reason="the package anny is not installed: make people")
def test_the_mean_face_of_people_is_the_mean_of_neutral_heads():
    from eg3d.world.human.head_shape import human_head
    from eg3d.world.human.person import Person

    heads = [five_points(human_head(Person.draw("people", i)).landmarks) for i in range(60)]
    assert np.abs(np.mean(heads, axis=0) - WORLD_MEANS["people"].numpy()).max() < 0.004  # 0.010 / sqrt(60) is 0.0013


def test_the_standard_face_lies_in_ffhq_crops_where_the_spec_says():
    # spec 4, derived for a scaled orthographic camera; perspective moves the points by a few pixels of 512
    label = make_label(torch.tensor([[[1.0, 0, 0, 0], [0, -1, 0, 0.006], [0, 0, -1, 2.7], [0, 0, 0, 1]]]),
                       intrinsics_matrix(FFHQ_FOCAL))  # fmt: skip
    at = project(standard_face(), label)[0] * 512
    expected = torch.tensor([[187.7, 192.3], [324.0, 192.4], [256.7, 266.1], [200.7, 339.7], [310.5, 339.7]])
    assert (at - expected).abs().max() < 8
    assert at[0, 0] == pytest.approx(256 - 0.0841 / (2.7 - 0.1971) * FFHQ_FOCAL * 512, abs=0.1)
