"""Arrays in the cache: made once, and again if the file was damaged."""

import numpy as np
import pytest

from eg3d.world.kept_arrays import kept_arrays


def make():
    return {"one": np.arange(1000), "two": np.ones((2, 3), np.float32)}


def never():
    raise AssertionError("made again")


def test_arrays_are_made_once(tmp_path):
    for maker in (make, never):
        read = kept_arrays(tmp_path / "a.npz", ["one", "two"], maker)
        assert set(read) == {"one", "two"}
        for name, array in make().items():
            np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"not an archive",
        lambda whole: whole[:2000] + bytes([whole[2000] ^ 255]) + whole[2001:],
        lambda whole: whole.replace(b"two.npy", b"owt.npy"),
    ],
    ids=["empty", "truncated", "text", "flipped", "another name"],
)
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    path = tmp_path / "a.npz"
    kept_arrays(path, ["one", "two"], make)
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(kept_arrays(path, ["one", "two"], make)["one"], np.arange(1000))
    kept_arrays(path, ["one", "two"], never)
