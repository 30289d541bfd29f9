"""Sorted tables of keys and values in a file (LevelDB's table format, in which TensorFlow keeps its checkpoints).

Blocks, each of entries whose keys share beginnings; an index block of the blocks; a footer that says where it lies.
Numbers are varints; each block has a checksum (CRC-32C); a block may be compressed (Snappy).
"""

import bisect
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from groundwork.files import open_regular

FOOTER, MAGIC = 48, 0xDB4775248B80FB57
TRAILER = 5  # bytes after a block: its kind, its checksum
LARGEST_BLOCK, MOST_ROWS = 1 << 30, 1 << 20
POLYNOMIAL = 0x82F63B78  # of CRC-32C, reversed
LANES = 1 << 14  # parts of a text whose sums are taken side by side


class Damaged(Exception):
    """The text says what is wrong."""


def is_table(path: Path) -> bool:
    """Whether a file ends as a table does."""
    with open_regular(path) as file:
        size = file.seek(0, 2)
        file.seek(max(size - 8, 0))
        return file.read(8) == MAGIC.to_bytes(8, "little")


class SortedTable:
    """One file. Every row is checked before it is given; Damaged if it is not whole."""

    def __init__(self, path: Path):
        self._path = path
        with open_regular(path) as file:
            self._size = file.seek(0, 2)
            file.seek(max(self._size - FOOTER, 0))
            footer = file.read(FOOTER)
        if len(footer) != FOOTER or footer[-8:] != MAGIC.to_bytes(8, "little"):
            raise Damaged("its end is missing")
        at = 0
        for _ in range(2):  # of the meta index
            _, at = varint(footer, at)
        offset, at = varint(footer, at)
        length, at = varint(footer, at)
        self._blocks = [_handle(value) for _, value in _rows_of(self._block(offset, length))]

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, value), in the order of the keys."""
        self._firsts, number = [], 0
        for handle in self._blocks:
            self._firsts.append(number)
            for row in _rows_of(self._block(*handle)):
                if (number := number + 1) > MOST_ROWS:
                    raise Damaged(f"it has more than {MOST_ROWS} entries")
                yield row

    def row(self, number: int) -> tuple[bytes, bytes]:
        """The row of that number, after `rows` has been gone through."""
        block = bisect.bisect_right(self._firsts, number) - 1
        return list(_rows_of(self._block(*self._blocks[block])))[number - self._firsts[block]]

    def _block(self, offset: int, length: int) -> bytes:
        if length > LARGEST_BLOCK or offset + length + TRAILER > self._size:
            raise Damaged("a block lies outside the file")
        with open_regular(self._path) as file:
            file.seek(offset)
            data = file.read(length + TRAILER)
        if len(data) != length + TRAILER:
            raise Damaged("a block is cut off")
        if masked(crc32c(data[:-4])) != int.from_bytes(data[-4:], "little"):
            raise Damaged("a block does not have its checksum")
        kind, content = data[length], data[:length]
        if kind not in (0, 1):
            raise Damaged(f"a block is compressed in the unknown way {kind}")
        return unsnapped(content) if kind else content


def _handle(value: bytes) -> tuple[int, int]:
    offset, at = varint(value, 0)
    return offset, varint(value, at)[0]


def _rows_of(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise Damaged("a block is too short")
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise Damaged("a block is too short")
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        size, at = varint(block, at)
        if shared > len(key) or at + own + size > end:
            raise Damaged("an entry of a block is cut off")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + size]
        at += own + size


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(whole number of at most 64 bits, place after it)."""
    value = 0
    for k in range(10):
        if at + k >= len(data):
            raise Damaged("a number is cut off")
        byte = data[at + k]
        value |= (byte & 127) << 7 * k
        if byte < 128:
            return value & (1 << 64) - 1, at + k + 1
    raise Damaged("a number has no end")


def unsnapped(data: bytes) -> bytes:
    """Undoes Snappy: a length, then literals and copies of what came before."""
    length, at = varint(data, 0)
    if length > LARGEST_BLOCK or length > 64 * len(data) + 64:
        raise Damaged("a compressed block claims to be too long")
    out = bytearray()
    while at < len(data):
        tag, at = data[at], at + 1
        if tag & 3 == 0:
            size = tag >> 2
            if size >= 60:
                more = size - 59
                size, at = int.from_bytes(data[at : at + more], "little"), at + more
            size += 1
            if at + size > len(data):
                raise Damaged("a compressed block is cut off")
            out += data[at : at + size]
            at += size
        else:
            if tag & 3 == 1:
                size, back, more = (tag >> 2 & 7) + 4, tag >> 5 << 8, 1
            else:
                size, back, more = (tag >> 2) + 1, 0, 2 if tag & 3 == 2 else 4
            if at + more > len(data):
                raise Damaged("a compressed block is cut off")
            back, at = back | int.from_bytes(data[at : at + more], "little"), at + more
            if not 0 < back <= len(out):
                raise Damaged("a compressed block copies from before its begin")
            for _ in range(size):  # a copy may overlap what it makes
                out.append(out[-back])
        if len(out) > length:
            raise Damaged("a compressed block is longer than it says")
    if len(out) != length:
        raise Damaged("a compressed block is shorter than it says")
    return bytes(out)


def masked(crc: int) -> int:
    """As checksums are stored: turned by 15 bits, plus a constant."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _table() -> np.ndarray:
    """What a byte does to an empty sum."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(POLYNOMIAL), table >> 1)
    return table


def _applied(operator: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """A linear map of 32 bits, as the images of its bits [32], of sums [...]."""
    out = np.zeros_like(sums)
    for bit in range(32):
        out ^= operator[bit] * (sums >> np.uint32(bit) & np.uint32(1))
    return out


def _after_zeros(count: int) -> np.ndarray:
    """The map that so many zero bytes make of a sum."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    once, whole = _table()[bits & np.uint32(255)] ^ bits >> np.uint32(8), bits
    while count:
        if count & 1:
            whole = _applied(once, whole)
        once, count = _applied(once, once), count >> 1
    return whole


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli). Long texts are cut into parts, whose sums are taken side by side and then joined."""
    text = np.frombuffer(data, np.uint8)
    lanes = LANES if len(text) > 1 << 16 else 1
    length = -(-len(text) // lanes)
    parts = np.concatenate([np.zeros(lanes * length - len(text), np.uint8), text]).reshape(lanes, length)
    if lanes == 1:
        value, table = 0, _table().tolist()
        for byte in data:
            value = table[(value ^ byte) & 255] ^ value >> 8
        joined = np.uint32(value)
    else:
        table, sums = _table(), np.zeros(lanes, np.uint32)
        for column in np.ascontiguousarray(parts.T):
            sums = table[(sums ^ column) & np.uint32(255)] ^ sums >> np.uint32(8)
        operator = _after_zeros(length)
        while len(sums) > 1:
            sums = _applied(operator, sums[0::2]) ^ sums[1::2]
            operator = _applied(operator, operator)
        joined = sums[0]
    start = _applied(_after_zeros(len(text)), np.array([0xFFFFFFFF], np.uint32))[0]
    return int(joined ^ start) ^ 0xFFFFFFFF
