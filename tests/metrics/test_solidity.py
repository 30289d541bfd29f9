"""Measures of solid, varied heads, on rendered heads whose depth is known."""

import numpy as np
import pytest
import torch

from eg3d.metrics.solidity import measure, nose_relief, warp, warp_psnr_db
from eg3d.world.cartoon.cartoon_head import render_head
from eg3d.world.cartoon.heads import Identity
from eg3d.world.rendered_sets import camera_label

SIDE = 0.3


def heads(yaw, count=3):
    """Images [N, 3, 64, 64], depth [N, 1, 64, 64] (background at 3.15) and labels [N, 25] of rendered heads."""
    label = camera_label(yaw, 0.0)
    shots = [render_head(Identity.draw("test", i), label, np.array([0.0, 0, 1])) for i in range(count)]
    image = torch.tensor(np.array([s.rgb for s in shots])).permute(0, 3, 1, 2).float() / 127.5 - 1
    depth = torch.tensor(np.array([s.depth for s in shots])).float()[:, None].clamp(max=3.15)
    return image, depth, torch.tensor(label).float()[None].expand(count, -1)


@pytest.fixture(scope="module")
def front():
    return heads(0.0)


def test_rendered_noses_stand_out_and_flat_faces_do_not(front):
    depth = front[1]
    assert (nose_relief(depth) > 0.06).all() and (nose_relief(depth) < 0.13).all()
    assert nose_relief(torch.full_like(depth, 2.5)).abs().max() == 0
    assert (nose_relief(5.4 - depth) < 0).all()  # a hollow face


def test_a_picture_warped_to_its_own_camera_stays_what_it_is(front):
    image, depth, label = front
    warped, covered = warp(image, depth, label, label)
    assert covered.float().mean() > 0.98
    assert warp_psnr_db(image, depth, label, image, label).min() > 25


def test_true_depth_predicts_the_side_view_better_than_flat_or_hollow_depth(front):
    image, depth, label = front
    side, _, side_label = heads(SIDE)
    true, flat, hollow = (
        warp_psnr_db(image, d, label, side, side_label).mean()
        for d in (depth, torch.full_like(depth, 2.6), 5.4 - depth)
    )
    assert true > flat + 3 and true > hollow + 3


def test_equal_heads_have_no_spread(front):
    image, depth, label = front
    same = measure(image[:1].repeat(3, 1, 1, 1), depth, label, [(image, label)])
    assert same.spread == 0 and measure(image, depth, label, [(image, label)]).spread > 0.1
