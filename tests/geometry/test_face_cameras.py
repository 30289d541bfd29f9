"""Cameras of fitted faces; see also the tests of Deep3DFaceRecon (dataset_preprocessing/test_recon.py)."""

import torch

from eg3d.geometry.face_cameras import face_labels
from eg3d.metrics.pose import rotation_of_angles


def test_without_a_translation_the_face_is_where_its_crop_expects_it():
    rotation = rotation_of_angles(torch.tensor([[0.0, 0.0, 0.0], [0.2, 0.0, 0.0], [0.0, 0.4, 0.0]]))
    position = face_labels(rotation)[:, [3, 7, 11]]
    # worked out by hand: 0.27 * 10 along the camera's back axis, plus (0, 0.006, 0.161), scaled to 2.7
    expected = torch.tensor([[0, 0.006, 2.700], [0, 0.512, 2.651], [-0.996, 0.006, 2.509]])
    torch.testing.assert_close(position, expected, atol=1e-3, rtol=0)
    assert torch.equal(face_labels(rotation), face_labels(rotation, torch.zeros(3, 3)))
