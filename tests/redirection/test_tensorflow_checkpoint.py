"""Checkpoints of TensorFlow, written by tiny_checkpoints.py, are read whole, and damaged ones are one line."""

import numpy as np
import pytest
from tiny_checkpoints import snapped, write_bundle, write_version_1

from redirection.sorted_table import Damaged, crc32c, unsnapped
from redirection.tensorflow_checkpoint import TensorflowCheckpoint

ARRAYS = {
    "Gx/conv/w": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "Gx/conv/biases": np.float32([0, 0, 0, 0, 0, 0, 0, 1]),
    "global_step": np.array(70_000, np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "encode/e_c1/w": np.float64([[1.5, -2]]),
}


def check(found, arrays=ARRAYS):
    assert sorted(found) == sorted(arrays)
    for name, value in arrays.items():
        assert found[name].dtype == value.dtype and np.array_equal(found[name], value)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_bundle_is_read_by_prefix_index_or_folder(tmp_path, compressed):
    write_bundle(tmp_path / "model_070000", ARRAYS, compressed)
    for path in (tmp_path / "model_070000", tmp_path / "model_070000.index", tmp_path):
        check(TensorflowCheckpoint(path))


def test_version_1_is_read(tmp_path):
    arrays = {name: value for name, value in ARRAYS.items() if value.dtype == np.float32}
    write_version_1(tmp_path / "vgg_16.ckpt", arrays)
    check(TensorflowCheckpoint(tmp_path / "vgg_16.ckpt"), arrays)


def test_checksums_of_known_texts():
    assert crc32c(b"123456789") == 0xE3069283 and crc32c(bytes(32)) == 0x8A9136AA and crc32c(b"") == 0
    long = np.random.RandomState(0).bytes(300_001)
    whole, value = crc32c(long), 0xFFFFFFFF
    for byte in long:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    assert whole == value ^ 0xFFFFFFFF  # in parts and in one go


def test_snappy_of_all_kinds_of_elements():
    text = b"abcd" + b"x" * 11 + b"yz"
    assert unsnapped(snapped(text)) == text
    assert unsnapped(b"\x0a\x0cabcd\x16\x04\x00") == b"abcdabcdab"  # a copy with two bytes of distance
    assert unsnapped(b"\x46\xf0\x45" + b"q" * 70) == b"q" * 70  # a literal whose length follows
    for wrong in (
        b"\x0a\x0cabcd\x16\x05\x00",
        b"\x05\x0cabcd",
        b"\x03\x0cabcd",
        b"\x04\x0cab",
        b"\xff\xff\xff\x07\x00a",
    ):
        with pytest.raises(Damaged):
            unsnapped(wrong)


def test_any_damage_is_one_line(tmp_path):
    prefix = tmp_path / "model"
    write_bundle(prefix, ARRAYS)
    index, data = (prefix.with_name(f"model.{n}") for n in ("index", "data-00000-of-00001"))
    whole, numbers = index.read_bytes(), data.read_bytes()
    for at in range(0, len(whole), 7):
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        expect_one_line_or_all(prefix)
        index.write_bytes(whole[:at])
        with pytest.raises(ValueError, match="again|give the prefix"):
            TensorflowCheckpoint(prefix)
    index.write_bytes(whole)
    data.write_bytes(numbers[:40] + b"\xff" + numbers[41:])
    with pytest.raises(ValueError, match="checksum"):
        dict(TensorflowCheckpoint(prefix))
    data.write_bytes(numbers[:40])
    with pytest.raises(ValueError, match="too short"):
        dict(TensorflowCheckpoint(prefix))


def expect_one_line_or_all(prefix):
    """Bytes that nothing reads, as those of the meta index, may change; nothing else may."""
    try:
        check(TensorflowCheckpoint(prefix))
    except ValueError as error:
        assert "\n" not in str(error) and str(prefix) in str(error)


def test_what_is_no_checkpoint_is_one_line(tmp_path):
    (tmp_path / "x").write_bytes(b"no table")
    for path in (tmp_path / "x", tmp_path / "missing", tmp_path):
        with pytest.raises(ValueError, match="give the prefix"):
            TensorflowCheckpoint(path)
