"""What needs an optional package: skipped where it is missing (pip install onnxruntime dlib-bin)."""

import base64

import numpy as np
import pytest
import torch

from eg3d.metrics.identity import IdentityNetwork
from eg3d.metrics.landmark_sources import load_source
from eg3d.world.datasets import camera_label
from eg3d.world.heads import Identity
from eg3d.world.render import render_head

# Global average pooling and a flatten, made with onnx.helper: for any batch, and for a batch of one.
MEAN_COLOUR = "CAg6YwoZCgF4EgFwIhFHbG9iYWxBdmVyYWdlUG9vbAoPCgFwEgF5IgdGbGF0dGVuEgFnWhwKAXgSFwoVCAESEQoDEgFOCgIIAwoCCHAKAghwYhQKAXkSDwoNCAESCQoDEgFOCgIIA0IECgAQDQ=="  # noqa: E501
MEAN_COLOUR_OF_ONE = "CAg6YQoZCgF4EgFwIhFHbG9iYWxBdmVyYWdlUG9vbAoPCgFwEgF5IgdGbGF0dGVuEgFnWhsKAXgSFgoUCAESEAoCCAEKAggDCgIIcAoCCHBiEwoBeRIOCgwIARIICgIIAQoCCANCBAoAEA0="  # noqa: E501


@pytest.mark.parametrize("text", [MEAN_COLOUR, MEAN_COLOUR_OF_ONE])
def test_an_onnx_file_computes_what_it_says_for_any_batch(tmp_path, text):
    pytest.importorskip("onnxruntime")
    (tmp_path / "a.onnx").write_bytes(base64.b64decode(text))
    network, crops = IdentityNetwork.load(tmp_path / "a.onnx"), torch.rand(3, 3, 112, 112)
    assert torch.allclose(network.network(crops), crops.mean(dim=(2, 3)), atol=1e-5) and len(network.sha256) == 64


def test_a_broken_onnx_file_is_one_line(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="bad.onnx: onnxruntime cannot read it") as error:
        IdentityNetwork.load(tmp_path / "bad.onnx")
    assert "\n" not in str(error.value)


def test_dlib_finds_the_points_of_rendered_heads_and_none_on_a_wall(tmp_path):
    dlib = pytest.importorskip("dlib")
    heads = [
        render_head(Identity.draw("people", i), camera_label(0.2 * (i % 3 - 1), 0), np.array([0.0, 0, 1]), 256)
        for i in range(6)
    ]
    detect, truth = dlib.get_frontal_face_detector(), []
    for head in heads:
        points = [dlib.point(int(x), int(y)) for x, y in head.landmarks]
        truth.append([dlib.full_object_detection(detect(head.rgb, 1)[0], points)])
    options = dlib.shape_predictor_training_options()
    options.oversampling_amount, options.cascade_depth, options.num_trees_per_cascade_level = 5, 3, 20
    dlib.train_shape_predictor([head.rgb for head in heads], truth, options).save(str(tmp_path / "p.dat"))
    source = load_source(str(tmp_path / "p.dat"), embedded=False)
    wall = np.full((256, 256, 3), 128, np.uint8)
    images = torch.from_numpy(np.stack([heads[0].rgb, wall])).permute(0, 3, 1, 2).float() / 127.5 - 1
    points = source(images, torch.zeros(2, 25), ["a", "b"])
    nose = torch.from_numpy(heads[0].landmarks[30])
    assert (points[0, 2] - nose).norm() < 8 and points[1].isnan().all()
    (tmp_path / "bad.dat").write_bytes(b"xxx")
    with pytest.raises(ValueError, match="bad.dat: not a shape predictor"):
        load_source(str(tmp_path / "bad.dat"), embedded=False)
