import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label, mirror_label
from eg3d.geometry.landmarks import WORLD_MEANS, project
from eg3d.metrics.face_reader import FaceReader, FaceReading, mirrored_points, read_twice
from eg3d.metrics.iresnet import Architecture
from eg3d.metrics.landmark_sources import READER_KIND, READERS, WorldReader, load_source, read_points
from eg3d.metrics.network_file import save_network
from eg3d.metrics.pose import angles_of_label

FIVE = [[10, 20], [30, 20], [20, 30], [12, 40], [28, 40]]
LABELS = make_label(lookat_pose(torch.tensor([0.0, 0.5]), torch.tensor([0.1, -0.3])), intrinsics_matrix(FFHQ_FOCAL))
IMAGES = torch.zeros(2, 3, 64, 64)


def test_template_is_the_mean_face_at_the_camera():
    points = load_source("template", "embedded")(IMAGES, LABELS, ["a", "b"])
    assert torch.allclose(points, 64 * project(WORLD_MEANS["embedded"], LABELS))
    assert (load_source("template")(IMAGES, LABELS, ["a", "b"]) - points).abs().max() > 2


def test_files_are_matched_by_stem_and_a_missing_picture_has_no_face(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps({"b.png": FIVE, "other.png": FIVE}))
    (tmp_path / "b.txt").write_text("\n".join(f"{x} {y}" for x, y in FIVE) + "\n")
    (tmp_path / "._b.txt").write_bytes(b"\0\5\x16\7")  # macOS leaves these beside files
    for name in ("p.json", "."):
        points = load_source(str(tmp_path / name), "embedded")(IMAGES, LABELS, ["a.png", "b.png"])
        assert points[0].isnan().all()
        assert torch.equal(points[1], torch.tensor(FIVE) + 0.5)  # detectors count from the first pixel's centre


def test_68_points_become_five(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps({"a": [[i, -i] for i in range(1, 69)]}))
    assert read_points(tmp_path / "p.json")["a"][:, 0].tolist() == [38.5, 44.5, 31, 49, 55]


@pytest.mark.parametrize(
    "text, words",
    [
        ("hello", "is not JSON"),
        ("[]", "holds no points"),
        ("{}", "holds no points"),
        ('{"a.png": [[1, 2]]}', "'a.png' must have 5 or 68 points"),
        ('{"a.png": [[1, 2], [1, 2], [1, 2], [1, 2], [1, NaN]]}', "'a.png' must have"),
        ('{"a.png": [[1, 2], [1, 2], [1, 2], [1, 2], ["x", 1]]}', "'a.png' must have"),
        ('{"a.png": 7}', "'a.png' must have"),
    ],
)
def test_bad_files_are_one_line(tmp_path, text, words):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(ValueError, match="p.json") as error:
        read_points(tmp_path / "p.json")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_missing_file_and_missing_dlib_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="--landmarks=none.json: there is no such file"):
        load_source("none.json", "embedded")
    monkeypatch.setitem(sys.modules, "dlib", None)
    (tmp_path / "p.dat").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"needs dlib; pip install 'gaze-corrected-eg3d\[dlib\]'"):
        load_source(str(tmp_path / "p.dat"), "embedded")


class FakeDlib:
    """What `DlibPoints` uses of dlib: a predictor of given points within the box, and a detector of given boxes."""

    def __init__(self, parts, faces=()):
        self.parts, self.faces, self.seen = np.array(parts, float), faces, []

    def rectangle(self, left, top, right, bottom):
        return SimpleNamespace(left=left, top=top, side=right - left + 1, area=lambda: (right - left + 1) ** 2)

    def get_frontal_face_detector(self):
        return lambda picture, upsampled: [self.rectangle(*face) for face in self.faces]

    def shape_predictor(self, path):
        def predict(picture, box):
            self.seen.append(picture)
            rows = np.floor(self.parts * box.side + (box.left, box.top))
            return SimpleNamespace(parts=lambda: [SimpleNamespace(x=x, y=y) for x, y in rows])

        return predict


ARCFACE = [[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.75, 0.75]]


def by_fake_dlib(monkeypatch, parts, faces=()):
    fake = FakeDlib(parts, faces)
    monkeypatch.setitem(sys.modules, "dlib", fake)
    return load_source("p.dat", "embedded"), fake


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.dat").write_bytes(b"x")


def test_five_points_of_dlib_are_looked_for_in_the_whole_enlarged_picture(monkeypatch, in_folder):
    source, fake = by_fake_dlib(monkeypatch, ARCFACE)
    points = source(IMAGES, LABELS, ["a", "b"])
    assert torch.allclose(points[0], 64 * torch.tensor(ARCFACE) + 0.5 / 4)  # whole pixels of 256, from their centres
    assert source.name == "dlib p.dat (whole picture)" and fake.seen[-1].shape == (256, 256, 3)
    large = source(torch.full((1, 3, 512, 512), -1.0), LABELS, ["a"])  # never made smaller
    assert torch.allclose(large[0], 512 * torch.tensor(ARCFACE) + 0.5) and fake.seen[-1].shape == (512, 512, 3)
    assert fake.seen[-1].max() == 0 and set(fake.seen[-2].ravel()) <= {127, 128}


def test_68_points_of_dlib_are_looked_for_in_the_largest_face(monkeypatch, in_folder):
    parts = [[i / 68, 1 - i / 68] for i in range(68)]
    source, _ = by_fake_dlib(monkeypatch, parts, faces=[(0, 0, 9, 9), (32, 64, 231, 263), (5, 5, 20, 20)])
    points = source(torch.zeros(1, 3, 512, 512), LABELS[:1], ["a"])
    assert points[0, :, 0].tolist() == pytest.approx([32.5 + x for x in (110, 127.5, 88, 141, 158)], abs=1)
    assert points[0, :, 1].tolist() == pytest.approx([64.5 + y for y in (90, 72.5, 111, 58, 41)], abs=1)
    assert source.name == "dlib p.dat (largest detected face)"
    source, _ = by_fake_dlib(monkeypatch, parts)
    assert source(IMAGES, LABELS, ["a", "b"]).isnan().all()


@pytest.mark.parametrize(
    "parts, words",
    [
        ([[0.8, 0.3], [0.6, 0.3], [0.2, 0.3], [0.4, 0.3], [0.5, 0.6]], "has no mouth"),  # as dlib's own file
        ([[0.2, 0.3], [0.4, 0.3], [0.6, 0.3], [0.8, 0.3], [0.5, 0.6]], "has no mouth"),
        ([ARCFACE[i] for i in (1, 0, 2, 4, 3)], "are not two eyes"),  # left and right of the person
        ([ARCFACE[i] for i in (0, 1, 2, 4, 3)], "are not two eyes"),
        ([ARCFACE[i] for i in (3, 4, 2, 0, 1)], "are not two eyes"),
        (ARCFACE[:4], "gives 4 points"),
    ],
)
def test_other_points_of_dlib_are_refused(monkeypatch, in_folder, parts, words):
    with pytest.raises(ValueError, match="p.dat: ") as error:
        by_fake_dlib(monkeypatch, parts)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_reader_is_asked_by_how_much_the_mirror_image_is_read_otherwise():
    points, angles = project(WORLD_MEANS["embedded"], LABELS), angles_of_label(LABELS)
    images = LABELS.mean(dim=1)[:, None, None, None] + torch.tensor([0.0, 1.0])  # the second column is the larger
    moved = torch.tensor([0.03, 0.04])

    def reads(images):
        mirrored = images[0, 0, 0, 0] > images[0, 0, 0, 1]
        return FaceReading(mirrored_points(points) + moved if mirrored else points, angles)

    reading, off = read_twice(reads, images)
    assert torch.equal(reading.points, points) and torch.allclose(off, torch.full((len(LABELS),), 0.05))
    moved.zero_()
    assert read_twice(reads, images)[1].max() < 1e-6
    assert torch.allclose(mirrored_points(points), project(WORLD_MEANS["embedded"], mirror_label(LABELS)), atol=0.01)


def test_pictures_whose_mirror_image_is_read_otherwise_have_no_face(tmp_path, monkeypatch):
    torch.manual_seed(0)
    reader = FaceReader(Architecture((1, 1, 1, 1), (16, 16, 16, 16), input_size=32, embedding=16))
    save_network(tmp_path / "r.safetensors", READER_KIND, reader, {})
    monkeypatch.setitem(READERS, "people", tmp_path / "r.safetensors")
    points = WorldReader("people")(torch.randn(4, 3, 64, 64), LABELS, list("abcd"))
    assert points.isnan().all()  # random weights give random points


def test_reader_gives_the_same_for_one_picture_as_for_many():
    torch.manual_seed(0)
    reader = FaceReader(Architecture((1, 1, 1, 1), (16, 16, 16, 16), input_size=32, embedding=16)).eval()
    images = torch.rand(3, 3, 64, 64) * 2 - 1
    together, alone = reader(images), reader(images[1:2])
    assert torch.allclose(together.points[1:2], alone.points, atol=1e-5)
    assert torch.allclose(together.angles[1:2], alone.angles, atol=1e-5)


def test_points_of_two_folders_are_not_mixed_up(tmp_path):
    places = {"a/1.png": 1.0, "b/1.png": 2.0, "c/2.png": 3.0}
    (tmp_path / "p.json").write_text(json.dumps({name: [[x, x]] * 5 for name, x in places.items()}))
    for name, x in places.items():
        (tmp_path / "txt" / name).parent.mkdir(parents=True)
        (tmp_path / "txt" / name).with_suffix(".txt").write_text(f"{x} {x}\n" * 5)
    asked = ["b/1.jpg", "a\\1.png", "2.png", "1.png", "d/2.png"]
    for source in (load_source(str(tmp_path / "p.json")), load_source(str(tmp_path / "txt"))):
        points = source(torch.zeros(5, 3, 4, 4), torch.zeros(5, 25), asked)[:, 0, 0] - 0.5
        assert points[:3].tolist() == [2.0, 1.0, 3.0] and points[3:].isnan().all()
    (tmp_path / "p.json").write_text(json.dumps({"a.png": [[1, 1]] * 5, "a.jpg": [[2, 2]] * 5}))
    with pytest.raises(ValueError, match="two entries of one name"):
        read_points(tmp_path / "p.json")
