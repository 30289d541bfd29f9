"""Cameras and gaze of crops are estimated once, and again where a crop is newer or another network is asked."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dataset_preprocessing.ffhq import crop_labels
from dataset_preprocessing.ffhq.crop_labels import cameras_from, estimate_cameras, estimate_gaze, read_cameras
from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label


class Estimator:
    """Tells a crop's yaw from its grey; none of black ones. `seen`: the names that it was asked for."""

    landmarks = "none"

    def __init__(self, name="one"):
        self.name, self.sha256, self.seen = name, name * 8, []

    def prepare(self, picture, name):
        self.seen.append(name)
        return torch.tensor(np.array(picture)[0, 0, 0] / 255.0)

    def labels(self, batch):
        rows = make_label(lookat_pose(batch, batch * 0), intrinsics_matrix(FFHQ_FOCAL))
        return [row if grey > 0 else "black" for grey, row in zip(batch, rows, strict=True)]


CROPS = ["00000/a.png", "00000/b.png", "00000/c.png"]


@pytest.fixture
def folder(tmp_path):
    for name, grey in zip(CROPS, (50, 100, 0), strict=True):
        write(tmp_path / name, grey)
    return tmp_path


def write(path, grey):
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (16, 16), (grey,) * 3).save(path)


def newer(path):
    now = path.stat().st_mtime_ns + 10**10
    os.utime(path, ns=(now, now))


def rows(folder, file="dataset.json", key="labels"):
    return dict(json.loads((folder / file).read_text())[key])


def test_only_crops_without_a_camera_or_newer_than_it_are_read_again(folder):
    first = Estimator()
    assert estimate_cameras(folder, CROPS, first, 2) == {CROPS[2]: "black"}
    assert first.seen == CROPS and list(rows(folder)) == CROPS[:2]
    before, again = rows(folder), Estimator()
    write(folder / CROPS[1], 150)
    newer(folder / CROPS[1])
    estimate_cameras(folder, CROPS, again, 2)
    assert again.seen == CROPS[1:] and rows(folder)[CROPS[0]] == before[CROPS[0]]
    assert rows(folder)[CROPS[1]] != before[CROPS[1]]
    facts = json.loads((folder / "pose_estimate.json").read_text())
    assert facts["failed"] == {CROPS[2]: "black"} and (facts["pictures"], facts["labelled"]) == (3, 2)


def test_cameras_of_two_estimators_never_share_a_file(folder):
    estimate_cameras(folder, CROPS, Estimator(), 2)
    other = Estimator("other")
    estimate_cameras(folder, CROPS, other, 2)
    assert other.seen == CROPS
    assert json.loads((folder / "pose_estimate.json").read_text())["estimator"] == "other"


def test_what_was_estimated_is_saved_before_a_run_is_stopped(folder, monkeypatch):
    monkeypatch.setattr(crop_labels, "AT_ONCE", 1)
    estimator = Estimator()
    original = estimator.labels
    estimator.labels = lambda batch: original(batch) if len(estimator.seen) < 2 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        estimate_cameras(folder, CROPS, estimator, 1)
    assert list(rows(folder)) == CROPS[:1]


def test_cameras_of_a_file_are_those_of_the_crops_names(folder, tmp_path):
    labels = make_label(lookat_pose(torch.tensor([0.1, 0.2]), torch.zeros(2)), intrinsics_matrix(FFHQ_FOCAL)).tolist()
    file = tmp_path / "given.json"
    file.write_text(json.dumps({"labels": [["b.png", labels[1]], ["x.png", labels[0]], ["a.png", labels[0]]]}))
    assert cameras_from(file, read_cameras(file), folder, CROPS) == {CROPS[2]: "given.json has no camera of it"}
    assert rows(folder)[CROPS[0]] == pytest.approx(labels[0]) and rows(folder)[CROPS[1]] == pytest.approx(labels[1])
    file.write_text(json.dumps({"labels": [["x.png", labels[0]]]}))
    with pytest.raises(ValueError, match="--labels=.*given.json: lists none of the 3 crops"):
        cameras_from(file, read_cameras(file), folder, CROPS)


def test_gaze_is_read_once_by_each_network(folder):
    seen = []

    def network(images):
        seen.append(len(images))
        grey = images[:, 0, 0, 0]
        return SimpleNamespace(yaw=grey, pitch=-grey)

    for sha, name in (("1", "n.pkl"), ("1", "n.pkl"), ("2", "m.pkl")):
        network.sha256, network.facts = sha, {}
        found = estimate_gaze(folder, CROPS, network, name, 2, "cpu")
    assert seen == [2, 1, 2, 1] and list(found) == CROPS
    assert rows(folder, "gaze.json", "gaze")[CROPS[1]] == pytest.approx([100 / 127.5 - 1, 1 - 100 / 127.5], abs=1e-5)


def test_a_crop_without_a_face_has_no_gaze_and_is_tried_again(folder):
    def network(images):
        grey = images[:, 0, 0, 0]
        return SimpleNamespace(yaw=torch.where(grey > -1, grey, torch.nan), pitch=grey)

    network.sha256, network.facts = "1", {"limits": "near the lens only"}
    for _ in range(2):
        assert list(estimate_gaze(folder, CROPS, network, "iris", 2, "cpu")) == CROPS[:2]
    assert "NaN" not in (folder / "gaze.json").read_text()
    assert json.loads((folder / "gaze.json").read_text())["limits"] == "near the lens only"


def test_a_network_of_faces_sees_the_face_of_each_crop_that_has_a_camera(folder):
    seen = []

    def network(images):
        seen.append((len(images), images.shape[-1]))
        return SimpleNamespace(yaw=images.mean(dim=(1, 2, 3)), pitch=images.mean(dim=(1, 2, 3)))

    network.sha256, network.facts = "1", {"crop": "face"}
    assert list(estimate_gaze(folder, CROPS, network, "views", 2, "cpu")) == [] and not seen
    estimate_cameras(folder, CROPS, Estimator(), 2)
    side = Image.open(folder / CROPS[0]).width
    assert list(estimate_gaze(folder, CROPS, network, "views", 4, "cpu")) == [
        name for name, _ in json.loads((folder / "dataset.json").read_text())["labels"]
    ]
    assert [part[1] for part in seen] == [max(8, round(0.56 * side))] * len(seen) and seen
