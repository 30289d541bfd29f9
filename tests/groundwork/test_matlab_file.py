"""MATLAB files: what SciPy writes is read, and whatever is damaged is one reason, never the end of the process."""

import numpy as np
import pytest
import scipy.io

from groundwork.matlab_file import MatlabError, read_matlab

ARRAYS = {
    "tri": np.arange(1, 31, dtype=np.int32).reshape(3, 10),
    "cameraMatrix": np.array([[960.5, 0, 640.25], [0, 962, 360], [0, 0, 1]]),
    "few": np.array([[7, 8]], np.uint8),
    "half": np.ones((2, 3, 4), np.float32),
    "empty": np.zeros((0, 3)),
    "image": np.array([[1j]]),
    "text": "words",
    "cell": np.array([{"a": 1}, "b"], dtype=object),
}


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_that_scipy_writes_are_read(tmp_path, compressed):
    scipy.io.savemat(tmp_path / "x.mat", ARRAYS, do_compression=compressed)
    found = read_matlab(tmp_path / "x.mat", [*ARRAYS, "missing"])
    assert list(found) == ["tri", "cameraMatrix", "few", "half", "empty"], "real numbers only"
    for name, array in found.items():
        assert array.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(array, ARRAYS[name])
    assert list(read_matlab(tmp_path / "x.mat", ["few"])) == ["few"]


def test_numbers_of_the_other_byte_order_are_read(tmp_path):
    # header, then one matrix by hand: flags, sides 1 x 1, a name of two letters in the tag, one double
    words = [b"\0\0\0\x06\0\0\0\x08\0\0\0\x06\0\0\0\0", b"\0\0\0\x05\0\0\0\x08\0\0\0\x01\0\0\0\x01"]
    words += [b"\0\x02\0\x01ab\0\0", b"\0\0\0\x09\0\0\0\x08" + np.array(2.5, ">f8").tobytes()]
    body = b"".join(words)
    header = b"MATLAB 5.0".ljust(124) + b"\x01\x00MI"
    (tmp_path / "x.mat").write_bytes(header + b"\0\0\0\x0e" + len(body).to_bytes(4, "big") + body)
    assert read_matlab(tmp_path / "x.mat", ["ab"])["ab"].tolist() == [[2.5]]


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_files_are_one_reason(tmp_path, compressed):
    path, rng = tmp_path / "x.mat", np.random.default_rng(2)
    scipy.io.savemat(path, ARRAYS, do_compression=compressed)
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 61)]
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 6)):
            data[place] = rng.integers(256)
        damaged.append(bytes(data))
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            read_matlab(path, list(ARRAYS))
        except MatlabError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 80
    assert refused > 60


def test_what_is_too_large_or_of_another_kind_says_so(tmp_path):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"x": np.zeros((1000, 1000))}, do_compression=True)
    assert path.stat().st_size < 20_000
    with pytest.raises(MatlabError, match="holds more than 100000 bytes, compressed"):
        read_matlab(path, ["x"], most_bytes=100_000)
    with pytest.raises(MatlabError, match="more than 1000 bytes"):
        read_matlab(path, ["x"], most_bytes=1000)
    for data, reason in ((b"MATLAB 7.3 MAT-file".ljust(600), "save it with -v7"), (b"\x89PNG", "does not begin")):
        path.write_bytes(data)
        with pytest.raises(MatlabError, match=reason):
            read_matlab(path, ["x"])
