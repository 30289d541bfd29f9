"""The sheet of set gazes: which picture stands where."""

import numpy as np
import torch
from tiny_networks import tiny_eye_field, tiny_generator

from eg3d.geometry.head_gaze import CAMERA, gaze_into_camera
from eg3d.pictures.gaze_grid import AIMS, gaze_grid
from eg3d.pictures.layout import to_uint8
from eg3d.pictures.views import camera_labels, render_ws, ws_of_seeds


def test_the_base_comes_first_and_every_gaze_is_drawn_from_every_camera():
    base = tiny_generator()
    field, seeds, yaws, strip = tiny_eye_field(base), [0, 5], (0.4, -0.4), 26
    sheet = gaze_grid(field, seeds, yaws=yaws, side=32)
    assert sheet.shape == (strip + 2 * 32, (1 + len(AIMS)) * 2 * 32, 3)
    labels, ws = camera_labels(yaws, [0.0, 0.0], base.orbit), ws_of_seeds(base, seeds)
    plain = to_uint8(render_ws(base, ws, labels)["image"])
    assert np.array_equal(sheet[strip : strip + 32, 32:64], plain[1])
    assert np.array_equal(sheet[strip + 32 :, :32], plain[2])
    last = to_uint8(render_ws(field, ws, labels, gaze_into_camera(labels))["image"])
    assert list(AIMS.values())[-1] == CAMERA
    assert np.abs(sheet[strip : strip + 32, -64:-32].astype(int) - last[0]).max() <= 1
    left = to_uint8(render_ws(field, ws, labels, torch.tensor([[0.4363, 0.0]] * 2))["image"])
    assert np.abs(sheet[strip : strip + 32, 64:96].astype(int) - left[0]).max() <= 1
    assert not np.array_equal(left[0], last[0])
