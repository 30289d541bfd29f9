"""Reading files of face pictures with gaze labels: ours, the published ones, and what is none."""

import h5py
import numpy as np
import pytest
from made_views import made_views

from dataset_preprocessing.nv_rendering.view_writer import Layout, pack, write_part
from l2cs.view_files import KEYS, ViewFile, view_files

LAYOUT = Layout(8)


@pytest.fixture
def ours(tmp_path):
    write_part(tmp_path / "part", LAYOUT, 0, [made_views(LAYOUT, 5)])
    pack(tmp_path / "p03.h5", LAYOUT, [(0, tmp_path / "part")], {"made_by": "a test", "person": "p03"})
    return tmp_path / "p03.h5"


def published(path, *left_out, **changed):
    """A file as ETH-XGaze has them: no attributes, float32 labels."""
    views = made_views(Layout(8, published=True), 4) | {"face_mat_norm": np.tile(np.eye(3), (4, 1, 1))} | changed
    with h5py.File(path, "w") as file:
        for name, rows in views.items():
            if name not in left_out and rows is not None:
                file[name] = rows.astype("float32") if rows.dtype == "float64" else rows
    return path


def test_rows_come_in_the_order_asked_for_as_rgb(ours):
    views = made_views(LAYOUT, 5)
    with ViewFile(ours) as file:
        assert len(file) == 5 and file.side == 8 and file.person == "p03" and set(KEYS) <= set(file.keys)
        pictures = file.images([4, 0, 4])
        assert np.array_equal(pictures, views["face_patch"][[4, 0, 4]][..., ::-1])
        assert np.array_equal(file.masks([1]), views["face_mask"][[1]])
        assert np.array_equal(file.gaze(), views["face_gaze"])
        assert np.array_equal(file.head_pose(), views["face_head_pose"][:, 1:])  # roll stands first
        assert file.table("file_name", [0])[0] == b"p00/day01/0000.jpg"


def test_two_head_angles_and_missing_keys_are_read_too(tmp_path):
    path = published(tmp_path / "subject0000.h5", "face_mask", "rotation_matrix")
    with ViewFile(path) as file:
        views = made_views(Layout(8, published=True), 4)
        assert np.array_equal(file.head_pose(), views["face_head_pose"].astype("float32").astype("float64"))
        assert file.masks([0]) is None and file.person == "subject0000" and "face_mat_norm" in file.keys
    with ViewFile(published(tmp_path / "test.h5", "face_gaze", "face_head_pose")) as file:
        assert file.head_pose() is None
        with pytest.raises(ValueError, match="has no face_gaze"):
            file.gaze()


def test_no_more_than_the_rows_asked_for_are_read(ours, monkeypatch):
    asked = []
    original = h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset, "__getitem__", lambda self, at: asked.append((self.name, at)) or original(self, at)
    )
    with ViewFile(ours) as file:
        file.images([2, 3])
    assert asked == [("/face_patch", 2), ("/face_patch", 3)]


def refusal(path) -> str:
    with pytest.raises(ValueError) as error, ViewFile(path) as file:
        file.gaze(), file.head_pose(), file.images([0])
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    return str(error.value)


def test_files_that_are_damaged_or_of_another_kind_are_one_line(ours, tmp_path):
    whole = ours.read_bytes()
    for name, content, said in (
        ("text.h5", b"hello", "is no HDF5 file"),
        ("empty.h5", b"", "is no HDF5 file"),
        ("cut.h5", whole[: len(whole) // 2], "is damaged or not whole"),
    ):
        (tmp_path / name).write_bytes(content)
        assert said in refusal(tmp_path / name)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["weights"] = np.zeros(3)
    assert "no face_patch, so it is no file of faces; it holds weights" in refusal(tmp_path / "other.h5")
    with h5py.File(ours) as file:
        middle = file["face_patch"].id.get_chunk_info(0).byte_offset + 50
    flipped = bytes([whole[middle] ^ 1])
    (tmp_path / "bits.h5").write_bytes(whole[:middle] + flipped + whole[middle + 1 :])
    assert "face_patch cannot be read" in refusal(tmp_path / "bits.h5")


def test_datasets_that_do_not_fit_are_named(tmp_path):
    for name, rows, said in (
        ("face_gaze", np.zeros((3, 2)), "face_gaze is float32 (3, 2); float64 (4, 2) is wanted"),
        ("face_gaze", np.zeros((4, 2), int), "face_gaze is int64"),
        ("face_patch", np.zeros((4, 8, 9, 3), np.uint8), "face_patch is uint8 (4, 8, 9, 3)"),
        ("face_patch", np.zeros((0, 8, 8, 3), np.uint8), "face_patch has 0 rows"),
        ("face_mask", np.zeros((4, 8, 8), np.uint16), "face_mask is uint16"),
        ("face_gaze", np.full((4, 2), 30.0), "face_gaze of row 0 is [30.0, 30.0], which are no angles in radians"),
        ("face_head_pose", np.full((4, 2), np.nan), "which are no angles in radians"),
    ):
        assert said in refusal(published(tmp_path / "x.h5", **{name: rows}))


def test_sides_that_no_picture_has_are_refused_before_memory_is_taken(tmp_path):
    for side in (0, 60_000):
        with h5py.File(tmp_path / "side.h5", "w") as file:
            file.create_dataset("face_patch", (1, side, side, 3), "uint8")
        assert f"the pictures have {side} px a side; 1 to 2048 are read" in refusal(tmp_path / "side.h5")


@pytest.mark.parametrize("person", ["../p03", "a\nb", "", 3.0])
def test_a_person_is_a_name_that_leads_to_no_other_folder(ours, person):
    with h5py.File(ours, "a") as file:
        file.attrs["person"] = person
    assert "which is no name" in refusal(ours)


def test_bytes_that_are_wrong_anywhere_in_the_description_are_one_line(ours):
    """The library raises errors of many types for them."""
    whole, said = ours.read_bytes(), 0
    draws = np.random.default_rng(0)
    with h5py.File(ours) as file:
        start = min(file[name].id.get_chunk_info(0).byte_offset for name in file)
    for place in draws.integers(8, start, 150):
        ours.write_bytes(whole[:place] + bytes([draws.integers(256)]) * 8 + whole[place + 8 :])
        try:
            with ViewFile(ours) as file:
                file.gaze(), file.head_pose(), file.images([0])
        except ValueError as error:
            assert str(error).startswith(str(ours)) and "\n" not in str(error)
            said += 1
    assert said > 20


def test_numbers_of_another_file_are_not_read(ours, tmp_path):
    with h5py.File(published(tmp_path / "linked.h5", "face_mask"), "a") as file:
        file["face_mask"] = h5py.ExternalLink(str(ours), "/face_mask")
    assert "face_mask is no dataset of this file itself" in refusal(tmp_path / "linked.h5")
    (tmp_path / "bytes").write_bytes(bytes(256))
    with h5py.File(published(tmp_path / "outside.h5", "face_mask"), "a") as file:
        file.create_dataset("face_mask", (4, 8, 8), "uint8", external=[(str(tmp_path / "bytes"), 0, 256)])
    assert "face_mask is no dataset of this file itself" in refusal(tmp_path / "outside.h5")


def test_a_folder_names_its_files_or_those_of_full(ours, tmp_path):
    (tmp_path / ".p04.h5.x").write_bytes(b"")
    (tmp_path / "above" / "full").mkdir(parents=True)
    ours.rename(tmp_path / "above" / "full" / "p03.h5")
    found = [tmp_path / "above" / "full" / "p03.h5"]
    assert view_files(found[0]) == view_files(tmp_path / "above") == view_files(tmp_path / "above" / "full") == found
    (tmp_path / "empty").mkdir()
    for path, said in ((tmp_path / "empty", "no .h5 file lies there"), (tmp_path / "none", "no such file or folder")):
        with pytest.raises(ValueError, match=said):
            view_files(path)
