"""Writes checkpoints as TensorFlow does, from the description of its formats; shares no code with the reader."""

import struct

import numpy as np

DTYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9}


def crc(data: bytes) -> int:
    """CRC-32C, bit by bit, masked as it is stored."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) % (1 << 32)


def varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def message(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def shape(sizes) -> bytes:
    return b"".join(message(2, whole(1, size)) for size in sizes)


def snapped(data: bytes) -> bytes:
    """Snappy: literals of up to 60 bytes, and runs of one byte as copies that overlap themselves."""
    out, at = varint(len(data)), 0
    while at < len(data):
        run = 1
        while at + run < len(data) and data[at + run] == data[at] and run < 12:
            run += 1
        if run >= 5:  # one literal, then a copy of 4 to 11 bytes from one byte back
            out += bytes([0]) + data[at : at + 1] + bytes([(run - 1 - 4) << 2 | 1, 1])
            at += run
        else:
            out += bytes([0]) + data[at : at + 1]
            at += 1
    return out


def block(rows, compressed: bool) -> bytes:
    out, restarts, last = b"", [], b""
    for number, (key, value) in enumerate(rows):
        shared = 0
        if number % 4 == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    out += b"".join(struct.pack("<I", r) for r in restarts) + struct.pack("<I", len(restarts))
    out = snapped(out) if compressed else out
    kind = b"\x01" if compressed else b"\x00"
    return out + kind + struct.pack("<I", crc(out + kind))


def table(rows, compressed=False, rows_a_block=3) -> bytes:
    """rows sorted by key, bytes -> bytes."""
    out, index = b"", []
    for start in range(0, len(rows), rows_a_block):
        part = rows[start : start + rows_a_block]
        data = block(part, compressed)
        index.append((part[-1][0] + b"~", varint(len(out)) + varint(len(data) - 5)))
        out += data
    places = []
    for last in (block([], False), block(index, False)):
        places.append(varint(len(out)) + varint(len(last) - 5))
        out += last
    return out + b"".join(places).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def write_bundle(prefix, arrays, compressed=False) -> None:
    """Version 2: PREFIX.index and PREFIX.data-00000-of-00001."""
    data, rows = b"", [(b"", whole(1, 1) + message(3, whole(1, 1)))]
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        its = array.tobytes()
        entry = whole(1, DTYPES[array.dtype.name]) + message(2, shape(array.shape)) + whole(5, len(its))
        if data:
            entry += whole(4, len(data))
        rows.append((name.encode(), entry + varint(6 << 3 | 5) + struct.pack("<I", crc(its))))
        data += its
    prefix.with_name(prefix.name + ".index").write_bytes(table(rows, compressed))
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)
    prefix.with_name("checkpoint").write_text(f'model_checkpoint_path: "{prefix}"\n')


def write_version_1(path, arrays) -> None:
    metas, rows = b"", []
    for name in sorted(arrays):
        array = np.asarray(arrays[name], np.float32)
        metas += message(1, message(1, name.encode()) + message(2, shape(array.shape)) + whole(3, 1))
        tensor = whole(1, 1) + message(2, shape(array.shape)) + message(5, array.tobytes())
        rows.append((b"\1" + name.encode(), message(2, message(1, name.encode()) + message(3, tensor))))
    path.write_bytes(table([(b"", message(1, metas)), *rows], rows_a_block=1))
