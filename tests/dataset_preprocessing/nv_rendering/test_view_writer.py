"""Files of novel views: the published description and listing, and packing parts."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from made_views import made_views

from dataset_preprocessing.nv_rendering import view_writer
from dataset_preprocessing.nv_rendering.view_writer import Layout, pack, sources_in, write_part

GOLDEN = json.loads((Path(__file__).parents[2] / "data" / "nv_rendering.json").read_text())["hdf5"]
LAYOUTS = {"ours": Layout(8), "published": Layout(8, published=True)}
# As the README of the published program promises them; the listing of what it writes lacks the last two.
PROMISED = {
    "face_gaze": ("float64", (2,)), "face_head_pose": ("float64", (3,)), "rotation_matrix": ("float64", (3, 3)),
    "face_mask": ("uint8", (224, 224)), "face_patch": ("uint8", (224, 224, 3)), "face_mat_norm": ("float32", (3, 3)),
    "landmarks_norm": ("float32", (68, 2)),
}  # fmt: skip


def written(folder: Path, layout: Layout, rows=(0, 1), views: int = 2, **facts) -> Path:
    """A packed file with these sources."""
    parts = []
    for row in rows:
        parts.append((row, folder / f"{row}.h5"))
        write_part(parts[-1][1], layout, row, [made_views(layout, views, row)])
    pack(folder / "p00.h5", layout, parts, facts)
    return folder / "p00.h5"


def test_our_file_has_all_seven_promised_keys_with_their_shapes_and_types(tmp_path):
    with h5py.File(written(tmp_path, Layout())) as file:
        for name, (dtype, shape) in PROMISED.items():
            assert file[name].dtype == dtype and file[name].shape == (4, *shape), name
            assert file[name].chunks == (1, *shape) and file[name].compression == "lzf", name
            assert file[name].maxshape == (None, *shape) and file[name].attrs["meaning"], name
        assert file["face_head_pose"].attrs["columns"] == "roll, pitch, yaw"
        assert file["face_patch"].attrs["columns"] == "B, G, R"


def test_the_published_layout_equals_the_golden_listing(tmp_path):
    with h5py.File(written(tmp_path, Layout(published=True))) as file:
        golden = {name: about for name, about in GOLDEN.items() if name.startswith(("face", "rotation"))}
        assert set(file) == set(golden)
        for name, (dtype, shape, *_) in golden.items():
            assert file[name].dtype == dtype and str((*file[name].shape,)).replace("4", "N", 1) == shape, name
            assert file[name].chunks == (1, *file[name].shape[1:]) and file[name].compression == GOLDEN["compression"]
            assert file[name].maxshape[0] is None


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_packing_keeps_every_number_and_the_order_asked_for(tmp_path, layout):
    with h5py.File(written(tmp_path, layout, rows=(3, 1, 2))) as file:
        expected = [made_views(layout, 2, row) for row in (3, 1, 2)]
        for name in layout.keys:
            assert np.array_equal(file[name][:], np.concatenate([views[name] for views in expected])), name


def test_a_packed_file_is_a_part_of_the_next_and_the_bytes_are_those_of_one_packing(tmp_path):
    layout, (at_once, in_two) = Layout(8), (tmp_path / "one", tmp_path / "two")
    whole = written(at_once, layout, rows=(0, 1, 2)).read_bytes()
    first = written(in_two, layout, rows=(0, 2))
    write_part(in_two / "1.h5", layout, 1, [made_views(layout, 2, 1)])
    pack(first, layout, [(0, first), (1, in_two / "1.h5"), (2, first)], {})
    assert first.read_bytes() == whole and list(sources_in(first)) == [0, 1, 2]
    assert not [file for file in in_two.iterdir() if file.name.startswith(".")]


def test_more_sources_than_one_attribute_holds_are_all_found_again(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "many.h5", "w") as file:
        view_writer._note_rows(file, range(40_001))
    assert list(sources_in(tmp_path / "many.h5")) == list(range(40_001))
    monkeypatch.setattr(view_writer, "MOST", 2)
    layout = Layout(8)
    first = written(tmp_path, layout, rows=(0, 1, 2, 3, 4))
    write_part(tmp_path / "7.h5", layout, 7, [made_views(layout, 2, 7)])
    pack(first, layout, [*((row, first) for row in range(5)), (7, tmp_path / "7.h5")], {})
    assert list(sources_in(first)) == [0, 1, 2, 3, 4, 7]
    with h5py.File(first) as file:
        assert file["source_row"][::2].tolist() == [0, 1, 2, 3, 4, 7]
        assert np.array_equal(file["face_patch"][8:10], made_views(layout, 2, 4)["face_patch"])


def test_a_packing_that_fails_leaves_what_was_there(tmp_path):
    layout = Layout(8)
    before = written(tmp_path, layout).read_bytes()
    with pytest.raises(KeyError):
        pack(tmp_path / "p00.h5", layout, [(0, tmp_path / "0.h5"), (7, tmp_path / "1.h5")], {})
    assert (tmp_path / "p00.h5").read_bytes() == before and len(list(tmp_path.iterdir())) == 3


def test_views_without_a_key_or_with_another_shape_are_our_slip(tmp_path):
    views = made_views(Layout(8), 2)
    with pytest.raises(KeyError, match="landmarks_norm"):
        write_part(
            tmp_path / "x.h5", Layout(8), 0, [{key: value for key, value in views.items() if key != "landmarks_norm"}]
        )
    with pytest.raises(AssertionError, match="face_head_pose"):
        write_part(tmp_path / "x.h5", Layout(8), 0, [views | {"face_head_pose": views["face_gaze"]}])
    assert not (tmp_path / "x.h5").exists()


def test_the_file_is_at_most_a_fifth_larger_than_its_compressed_rows(tmp_path):
    path = written(tmp_path, Layout(224), rows=range(4), views=4)
    with h5py.File(path) as file:
        raw = sum(file[name].id.get_storage_size() for name in file)
    assert path.stat().st_size < 1.2 * raw
