"""Arrays in files of NumPy: what NumPy writes is read, and nothing in a file is run or believed."""

import io
import os
import pickle

import numpy as np
import pytest

from groundwork.array_file import read_npy, read_pickled_arrays

ARRAYS = [
    np.arange(12, dtype=np.float32).reshape(3, 4),
    np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
    np.arange(5, dtype=">i8"),
    np.zeros((0, 3), np.uint8),
    np.random.default_rng(0).normal(size=5000),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype.str}{array.shape}")
def test_what_numpy_writes_is_read(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    found = read_npy(tmp_path / "a.npy")
    assert (found == array).all() and found.shape == array.shape and found.dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickled_dict_of_arrays_is_read(tmp_path, protocol):
    wanted = {"param_mean": ARRAYS[0], "by columns": ARRAYS[1], "big endian": ARRAYS[2], "long": ARRAYS[4], "note": "x"}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(wanted, protocol if protocol < 5 else 4))
    found = read_pickled_arrays(tmp_path / "a.pkl")
    assert set(found) == set(wanted) - {"note"}
    for name, array in found.items():
        assert (array == wanted[name]).all() and array.shape == wanted[name].shape, name


def npy_bytes(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


GOOD = npy_bytes(ARRAYS[0])


@pytest.mark.parametrize(
    "data",
    [
        b"", b"no array", GOOD[:-1], GOOD + b"\0", GOOD.replace(b"(3, 4)", b"(3, 9)"),
        GOOD.replace(b"(3, 4)", b"(-3,4)"), GOOD.replace(b"<f4", b"|O8"), GOOD.replace(b"(3, 4)", b"((((((") ,
        npy_bytes(np.array([{}], object)), GOOD.replace(b"\x93NUMPY\x01", b"\x93NUMPY\x09"),
    ],
)  # fmt: skip
def test_another_npy_file_is_one_line(tmp_path, data):
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npy: is no \.npy of numbers") as error:
        read_npy(tmp_path / "a.npy")
    assert "\n" not in str(error.value)


class Attack:
    def __reduce__(self):
        return os.system, ("touch owned",)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps({"param_mean": Attack()}, 4),
        pickle.dumps([1, 2], 4),
        pickle.dumps({"a": ARRAYS[0]}, 4)[:-30],
        pickle.dumps({"a": ARRAYS[0]}, 4) + b"more",
        pickle.dumps({"a": ARRAYS[0]}, 4).replace(b"K\x03K\x04", b"K\xffK\xff"),
        pickle.dumps({"a": np.array(["text"])}, 4),
    ],
    ids=["code", "no dict", "cut short", "more behind it", "a shape that does not fit", "texts"],
)
def test_another_pickle_is_one_line_and_nothing_runs(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.pkl: is no pickled dict of NumPy arrays") as error:
        read_pickled_arrays(tmp_path / "a.pkl")
    assert "\n" not in str(error.value) and not (tmp_path / "owned").exists()
