"""What needs an optional package: skipped where it is missing (pip install onnxruntime dlib-bin)."""

import base64
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from tiny_onnx import linear_network

from eg3d import calc_id
from eg3d.metrics.identity import IdentityNetwork, trouble
from eg3d.metrics.landmark_sources import load_source
from eg3d.world.cartoon.cartoon_head import render_head
from eg3d.world.cartoon.heads import Identity
from eg3d.world.rendered_sets import camera_label
from eg3d.world.training import fit_five_points
from eg3d.world.views_of_persons import render_people
from groundwork.onnx_head import Wanted

FAULT = Path(__file__).resolve().parent.parent / "data" / "faults" / "b04"

# Global average pooling and a flatten, made with onnx.helper: for any batch, and for a batch of one.
MEAN_COLOUR = "CAg6YwoZCgF4EgFwIhFHbG9iYWxBdmVyYWdlUG9vbAoPCgFwEgF5IgdGbGF0dGVuEgFnWhwKAXgSFwoVCAESEQoDEgFOCgIIAwoCCHAKAghwYhQKAXkSDwoNCAESCQoDEgFOCgIIA0IECgAQDQ=="  # noqa: E501
MEAN_COLOUR_OF_ONE = "CAg6YQoZCgF4EgFwIhFHbG9iYWxBdmVyYWdlUG9vbAoPCgFwEgF5IgdGbGF0dGVuEgFnWhsKAXgSFgoUCAESEAoCCAEKAggDCgIIcAoCCHBiEwoBeRIOCgwIARIICgIIAQoCCANCBAoAEA0="  # noqa: E501


@pytest.mark.parametrize("text", [MEAN_COLOUR, MEAN_COLOUR_OF_ONE])
def test_an_onnx_file_computes_what_it_says_for_any_batch(tmp_path, text):
    pytest.importorskip("onnxruntime")
    (tmp_path / "a.onnx").write_bytes(base64.b64decode(text))
    network, crops = IdentityNetwork.load(tmp_path / "a.onnx"), torch.rand(3, 3, 112, 112)
    assert torch.allclose(network.network(crops), crops.mean(dim=(2, 3)), atol=1e-5) and len(network.sha256) == 64


def arcface_of(path, **options):
    """An ArcFace-like network of one random linear map."""
    kernel = np.random.default_rng(0).normal(size=(8, 3, 112, 112)) / 100
    path.write_bytes(linear_network({"embedding": kernel}, **options))
    return path, torch.from_numpy(kernel).float()


@pytest.mark.parametrize("options", [{}, {"taken": [1, 3, 112, 112]}, {"taken": [4, 3, 112, 112]},
                                     {"taken": ["N", "C", "H", "W"]},
                                     {"channels_last": True, "taken": ["N", "H", "W", "C"]},
                                     {"channels_last": True}, {"channels_last": True, "taken": [2, 112, 112, 3]}],
                         ids=str)  # fmt: skip
def test_every_layout_and_every_fixed_batch_is_served(tmp_path, options):
    pytest.importorskip("onnxruntime")
    path, kernel = arcface_of(tmp_path / "a.onnx", **options)
    crops = torch.rand(5, 3, 112, 112) * 2 - 1
    found = IdentityNetwork.load(path).network(crops)
    torch.testing.assert_close(found, (crops[:, None] * kernel).sum(dim=(2, 3, 4)), rtol=1e-3, atol=1e-3)


def test_a_network_that_normalises_inside_scores_as_the_one_that_does_not(tmp_path):
    pytest.importorskip("onnxruntime")
    crops = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain, inside = (IdentityNetwork.load(FAULT / f"{name}.onnx").network(crops) for name in ("plain", "inside"))
        given = IdentityNetwork.load(FAULT / "inside.onnx", given="bytes").network(crops)
    assert F.cosine_similarity(plain, inside).min() > 0.9999 and torch.equal(inside, given)
    turned = IdentityNetwork.load(FAULT / "inside.onnx", given="bytes-bgr").network(crops.flip(1))
    torch.testing.assert_close(turned, inside)


def test_scores_that_mean_nothing_are_said(tmp_path, run_script):
    pytest.importorskip("onnxruntime")
    with pytest.warns(UserWarning, match=r"inside\.onnx: two different faces score (0\.999\d|1\.0000), so its"):
        IdentityNetwork.load(FAULT / "inside.onnx", given="signed")
    code, _, err = run_script("eg3d/calc_id.py", "--network=embedded", "--seeds=0", "--arcface-input=bytes")
    assert code == 2 and "--arcface-input=bytes is of --arcface-weights=FILE.onnx" in err


def test_a_scale_that_the_graph_hides_is_found_by_two_faces(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("groundwork.onnx_file.wanted_by", lambda data: Wanted())
    with pytest.warns(UserWarning, match=r"inside\.onnx: takes bytes, for only so it tells faces apart"):
        network = IdentityNetwork.load(FAULT / "inside.onnx")
    assert trouble(network.network) is None


def test_a_network_that_sees_nothing_is_in_trouble():
    assert "the same face scores" in trouble(lambda faces: torch.zeros(len(faces), 4))
    assert "two different faces score 1.0000" in trouble(lambda faces: torch.ones(len(faces), 4))
    assert trouble(lambda faces: faces.flatten(1)) is None


def test_a_broken_onnx_file_is_one_line(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="bad.onnx: onnxruntime cannot read it") as error:
        IdentityNetwork.load(tmp_path / "bad.onnx")
    assert "\n" not in str(error.value)


def heads_at_256(count: int):
    return [
        render_head(Identity.draw("people", i), camera_label(0.2 * (i % 3 - 1), 0), np.array([0.0, 0, 1]), 256)
        for i in range(count)
    ]


def trained(dlib, heads, boxes, kept, path):
    """A small predictor of the 68 landmarks `kept`, trained on these heads."""
    truth = [
        [dlib.full_object_detection(box, [dlib.point(int(x), int(y)) for x, y in head.landmarks[kept]])]
        for head, box in zip(heads, boxes, strict=True)
    ]
    options = dlib.shape_predictor_training_options()
    options.oversampling_amount, options.cascade_depth, options.num_trees_per_cascade_level = 5, 3, 20
    dlib.train_shape_predictor([head.rgb for head in heads], truth, options).save(str(path))


def test_dlib_finds_the_points_of_rendered_heads_and_none_on_a_wall(tmp_path):
    dlib = pytest.importorskip("dlib")
    heads, detect = heads_at_256(6), dlib.get_frontal_face_detector()
    trained(dlib, heads, [detect(head.rgb, 1)[0] for head in heads], slice(None), tmp_path / "p.dat")
    source = load_source(str(tmp_path / "p.dat"))
    wall = np.full((256, 256, 3), 128, np.uint8)
    images = torch.from_numpy(np.stack([heads[0].rgb, wall])).permute(0, 3, 1, 2).float() / 127.5 - 1
    points = source(images, torch.zeros(2, 25), ["a", "b"])
    nose = torch.from_numpy(heads[0].landmarks[30])
    assert (points[0, 2] - nose).norm() < 8 and points[1].isnan().all()
    assert source.name == "dlib p.dat (largest detected face)"


@pytest.mark.parametrize(
    "kept",
    [[45, 42, 36, 39, 33], [36, 39, 42, 45, 33], [36, 45, 30]],
    ids=["as dlib's own five", "the same from left to right", "three"],
)
def test_dlib_files_with_other_points_are_refused(tmp_path, kept):
    dlib = pytest.importorskip("dlib")
    heads = heads_at_256(2)
    trained(dlib, heads, [dlib.rectangle(0, 0, 255, 255)] * 2, kept, tmp_path / "p.dat")
    expected = "gives 3 points" if len(kept) == 3 else "its five points are not two eyes, nose and mouth corners"
    with pytest.raises(ValueError, match=f"p.dat: {expected}"):
        load_source(str(tmp_path / "p.dat"), "embedded")


@pytest.mark.parametrize("content", [b"", b"xxx", None], ids=["empty", "nonsense", "folder"])
def test_what_is_no_dlib_file_is_one_line(tmp_path, content):
    pytest.importorskip("dlib")
    path = tmp_path / "bad.dat"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match="bad.dat: not a shape predictor") as error:
        load_source(str(path))
    assert "\n" not in str(error.value)


def test_the_shipped_five_point_file_finds_the_points_of_unseen_people():
    pytest.importorskip("dlib")
    found = fit_five_points.errors(fit_five_points.POINTS_FILE, render_people("test", 8, views=3))
    assert found["point_error_share_of_side"] < 0.009 < 0.03 < found["mean_points_error_share_of_side"]


def test_identity_by_the_shipped_five_point_file(tmp_path):
    pytest.importorskip("dlib")
    options = [f"--landmarks={fit_five_points.POINTS_FILE}", f"--json={tmp_path / 'id.json'}", "--num-gen=6"]
    assert CliRunner().invoke(calc_id.main, ["--network=embedded", *options]).exit_code == 0
    score = json.loads((tmp_path / "id.json").read_text())
    assert score["id_pairs"] == 6 and 0.3 < score["id_similarity_mean"] < 1
    assert score["landmarks"] == "dlib five_points.dat (whole picture)"


@pytest.mark.slow
def test_training_writes_a_file_with_the_error_it_has(tmp_path, capsys):
    pytest.importorskip("dlib")
    people, path = render_people("people", 20), tmp_path / "p.dat"
    recipe = fit_five_points.Recipe(pictures=100, cascade_depth=2, num_trees_per_cascade_level=20)
    facts = fit_five_points.make_five_points(people, people, "people", path, recipe)
    assert facts["point_error_share_of_side"] < 0.7 * facts["mean_points_error_share_of_side"]
    assert json.loads(path.with_suffix(".json").read_text()) == facts
    assert f"off by {64 * facts['point_error_share_of_side']:.2f} pixels of 64 on 120" in capsys.readouterr().out
