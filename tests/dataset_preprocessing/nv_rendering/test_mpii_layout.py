"""MPIIFaceGaze's layout: read as its readme says, written back the same, and one line for whatever is damaged."""

import dataclasses

import h5py
import numpy as np
import pytest
import scipy.io

from dataset_preprocessing.nv_rendering import mpii_layout
from dataset_preprocessing.nv_rendering.mpii_layout import Camera, PhotoRow, SourceRow

# Written by hand after the readme: every column has a number of its own.
LINE = ("day13/0203.jpg 1 2 103 104 105 106 107 108 109 110 111 112 113 114 0.15 0.16 0.17 18 19 20 21 22 23 "
        "24.5 25.5 26.5 left")  # fmt: skip
CAMERA = Camera(np.array([[960.0, 0, 640], [0, 962, 360], [0, 0, 1]]), np.array([0.1, -0.2, 0.001, 0.002, 0.03]))


@pytest.fixture
def root(tmp_path):
    """Two people, one photo each."""
    for person in ("p00", "p07"):
        mpii_layout.write_camera(tmp_path, person, CAMERA)
        (tmp_path / person / f"{person}.txt").write_text(LINE + "\n")
    return tmp_path


def source_rows(count=3):
    rng = np.random.default_rng(0)
    return [
        SourceRow(f"p00/day01/{n:04}.jpg", rng.normal(size=3), CAMERA, rng.normal(size=6), rng.normal(size=(68, 2)))
        for n in range(count)
    ]


def same(one, other) -> bool:
    """Whether two rows hold the same names and numbers."""
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    return np.array_equal(one, other)


def test_a_line_is_read_as_the_readme_numbers_its_columns(root):
    (row,) = mpii_layout.read_person(root, "p07")
    assert (row.name, row.person, row.eye) == ("p07/day13/0203.jpg", "p07", "left")
    np.testing.assert_array_equal(row.screen, [1, 2])
    np.testing.assert_array_equal(row.landmarks6, np.arange(103, 115).reshape(6, 2))
    np.testing.assert_array_equal(row.rotation, [0.15, 0.16, 0.17])
    np.testing.assert_array_equal(row.translation, [18, 19, 20])
    np.testing.assert_array_equal(row.centre, [21, 22, 23])
    np.testing.assert_array_equal(row.gaze_target, [24.5, 25.5, 26.5])
    assert mpii_layout.people(root) == ["p00", "p07"]


def test_a_line_that_was_written_is_read_back(root):
    rng = np.random.default_rng(1)
    lengths = rng.normal(0, 500, (3, 3)).round(3)
    pixels, turn = rng.integers(0, 999, (7, 2)), rng.normal(size=3).round(6)
    row = PhotoRow(
        "p03/day02/0009.jpg", "p03", pixels[:6], lengths[0], turn, lengths[1], lengths[2], "right", pixels[6]
    )
    mpii_layout.write_person(root, "p03", [row, dataclasses.replace(row, landmarks6=pixels[:6] - 0.4)], CAMERA)
    for read in mpii_layout.read_person(root, "p03"):
        assert same(read, row), "landmarks are whole pixels in the file"


def test_a_camera_is_read_from_the_sets_own_file_and_from_ours(root):
    assert same(mpii_layout.camera_of(root, "p00"), CAMERA)
    path = root / "p00" / "Calibration" / "Camera.mat"
    before = path.read_bytes()
    mpii_layout.write_camera(root, "p00", CAMERA)
    assert path.read_bytes() == before and b"Created on" not in before, "the day of writing is not in the file"
    # the set's own file: compressed, with other variables, a lens of 4 numbers in a column
    more = {"rvecs": np.zeros((3, 9)), "cameraMatrix": CAMERA.matrix, "distCoeffs": CAMERA.distortion[:4, None]}
    scipy.io.savemat(path, more, do_compression=True)
    np.testing.assert_array_equal(mpii_layout.camera_of(root, "p00").distortion, [*CAMERA.distortion[:4], 0])


def test_source_rows_are_read_back_and_are_the_same_bytes_each_time(tmp_path):
    rows = source_rows()
    mpii_layout.write_sources(tmp_path / "one", "p00", rows)
    mpii_layout.write_sources(tmp_path / "two", "p00", rows)
    assert (tmp_path / "one" / "p00.h5").read_bytes() == (tmp_path / "two" / "p00.h5").read_bytes()
    assert mpii_layout.sources(tmp_path / "one") == ["p00"]
    assert all(map(same, mpii_layout.read_sources(tmp_path / "one", "p00"), rows))


def test_source_rows_with_a_lens_in_a_row_and_names_of_one_length_are_read(tmp_path):
    with h5py.File(tmp_path / "p00.h5", "w") as file:
        file["file_name"] = np.array([b"p00/day01/0005.jpg"])
        file["3d_gaze_target"], file["camera_parameters"] = [[1, 2, 3]], CAMERA.matrix[None]
        file["distortion_parameters"], file["head_pose"] = CAMERA.distortion.reshape(1, 1, 5), np.zeros((1, 2, 3))
        file["landmarks_2d_detect"] = np.arange(136, dtype=np.float32).reshape(1, 68, 2)
    (row,) = mpii_layout.read_sources(tmp_path, "p00")
    assert row.file_name == "p00/day01/0005.jpg" and same(row.camera, CAMERA) and row.landmarks[67, 1] == 135


@pytest.mark.parametrize("name, values", [
    ("random_bg_ids", [[3], [36499]]), ("random_colors", [[0, 128, 255]]), ("random_lightings_ac", [[0.25], [0.75]]),
    ("augmentation_ids", np.arange(32).reshape(2, 16) / 64), ("random_dark_ids", [[1, 2], [3, 4]]),
])  # fmt: skip
def test_tables_of_random_numbers_are_read_back(tmp_path, name, values):
    path = tmp_path / f"{name}.txt"
    mpii_layout.write_table(path, name, values)
    np.testing.assert_array_equal(mpii_layout.read_table(path, name), values)


# ---------------------------------------------------------------- what is damaged


def words_with(place: int, word: str) -> str:
    words = LINE.split()
    words[place : place + 1] = [word] if word else []
    return " ".join(words)


@pytest.mark.parametrize("text, reason", [
    ("", "has no line"),
    ("\n \n", "has no line"),
    (words_with(3, ""), "line 1: has 27 words"),
    (words_with(3, "inf"), "line 1: 'inf' is not a finite number"),
    (LINE + "\n" + words_with(24, "1,5"), "line 2: '1,5' is not a number"),
    (words_with(27, "both"), "must be left or right"),
    (words_with(0, "../p01/day01/0001.jpg"), "below this folder"),
    (words_with(0, "/etc/passwd"), "below this folder"),
    (b"\xff\xfe\x00\x80", "holds no text"),
    (None, "there is no such file"),
])  # fmt: skip
def test_an_annotation_file_that_is_damaged_is_one_line(root, text, reason):
    path = root / "p00" / "p00.txt"
    path.unlink() if text is None else path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as error:
        mpii_layout.read_person(root, "p00")
    assert str(error.value).startswith(str(path)) and reason in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_a_folder_without_people_or_sources_is_one_line(tmp_path):
    (tmp_path / "p00.jpg").touch()
    with pytest.raises(ValueError, match="holds no folder p00"):
        mpii_layout.people(tmp_path)
    with pytest.raises(ValueError, match="holds no file p00.h5"):
        mpii_layout.sources(tmp_path)


@pytest.mark.parametrize("change, reason", [
    ({"cameraMatrix": np.eye(4)}, "cameraMatrix: must be 3 x 3"),
    ({"cameraMatrix": np.full((3, 3), np.nan)}, "cameraMatrix: must be 3 x 3"),
    ({"cameraMatrix": CAMERA.matrix.T}, "no matrix of a camera"),
    ({"cameraMatrix": np.diag([0.0, 1, 1])}, "no matrix of a camera"),
    ({"cameraMatrix": "text"}, "cameraMatrix: must be 3 x 3"),
    ({"distCoeffs": np.zeros(8)}, "distCoeffs: must be 4 or 5"),
    ({"distCoeffs": np.zeros((3000, 30))}, "distCoeffs: must be 4 or 5"),
    ({"distCoeffs": [np.inf] * 5}, "distCoeffs: must be 4 or 5"),
])  # fmt: skip
def test_a_camera_that_cannot_be_is_one_line(root, change, reason):
    path = root / "p00" / "Calibration" / "Camera.mat"
    scipy.io.savemat(path, {"cameraMatrix": CAMERA.matrix, "distCoeffs": CAMERA.distortion} | change)
    with pytest.raises(ValueError, match=reason) as error:
        mpii_layout.camera_of(root, "p00")
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_a_camera_file_that_is_missing_or_damaged_is_one_line(root):
    # damage anywhere in such a file: tests/groundwork/test_matlab_file.py
    path = root / "p00" / "Calibration" / "Camera.mat"
    whole = path.read_bytes()
    for data in (b"", whole[:100], whole[:250], whole[:126] + b"??" + whole[128:]):
        path.write_bytes(data)
        with pytest.raises(ValueError) as error:
            mpii_layout.camera_of(root, "p00")
        assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(ValueError, match="there is no such file; it must be the camera"):
        mpii_layout.camera_of(root, "p00")


@pytest.mark.parametrize("change, reason", [
    ({"landmarks_2d_detect": np.zeros((3, 67, 2))}, "'landmarks_2d_detect' has shape Nx67x2, not Nx68x2"),
    ({"landmarks_2d_detect": np.zeros((2, 68, 2))}, "not of each kind as many"),
    ({"3d_gaze_target": np.full((3, 3), np.nan)}, "row 0: 3d_gaze_target holds a number that is not finite"),
    ({"3d_gaze_target": np.zeros((3, 3), complex)}, "'3d_gaze_target' holds no numbers"),
    ({"3d_gaze_target": None}, "lacks the data set '3d_gaze_target'"),
    ({"3d_gaze_target": 4.0}, "lacks the data set '3d_gaze_target'"),
    ({"3d_gaze_target": h5py.ExternalLink("other.h5", "x")}, "lacks the data set '3d_gaze_target'"),
    ({"camera_parameters": np.zeros((3, 3, 3))}, "row 0: camera_parameters: is no matrix of a camera"),
    ({"file_name": np.arange(3)}, "'file_name' holds no names"),
    ({"file_name": np.array([b"p00/../../x", b"a/b", b"a/c"])}, "row 0: 'p00/../../x' must be the name of a photo"),
])  # fmt: skip
def test_source_rows_that_are_damaged_are_one_line(tmp_path, change, reason):
    mpii_layout.write_sources(tmp_path, "p00", source_rows())
    path = tmp_path / "p00.h5"
    with h5py.File(path, "r+") as file:
        for name, value in change.items():
            del file[name]
            if value is not None:
                file[name] = value
    with pytest.raises(ValueError) as error:
        mpii_layout.read_sources(tmp_path, "p00")
    assert reason in str(error.value) and str(error.value).startswith(str(path)) and "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [0, 10, 700, -1, None])
def test_a_file_of_source_rows_that_is_cut_is_one_line(tmp_path, keep):
    mpii_layout.write_sources(tmp_path, "p00", source_rows())
    path = tmp_path / "p00.h5"
    path.unlink() if keep is None else path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError) as error:
        mpii_layout.read_sources(tmp_path, "p00")
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("name, text, reason", [
    ("random_bg_ids", "1\n2.5\n", "line 2: random_bg_ids holds whole numbers"),
    ("random_colors", "1 2\n", "line 1: has 2 numbers, not 3"),
    ("random_colors", "1 2 256\n", "numbers from 0 to 255"),
    ("random_lightings_ac", "0.5\nnan\n", "'nan' is not a finite number"),
    ("augmentation_ids", "", "holds no numbers"),
    ("random_dark_ids", "1\n\n1 2\n", "line 2: has 2 numbers, not 1"),
])  # fmt: skip
def test_a_table_that_is_damaged_is_one_line(tmp_path, name, text, reason):
    path = tmp_path / f"{name}.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as error:
        mpii_layout.read_table(path, name)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
