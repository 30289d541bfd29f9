"""Attacks in files of torch.save."""

import struct
import zipfile
import zlib

import torch

from attacks.pickle_pieces import (
    DAG_TUPLE,
    DEEP,
    DEEP_TUPLE,
    MAGIC,
    MANY_PAIRS,
    ORDERED_DICT,
    PARAMETER,
    a_dict,
    a_global,
    a_list,
    a_storage,
    a_tensor,
    a_tuple,
    archive_of,
    archived,
    call,
    get,
    good,
    keep,
    legacy,
    members_of,
    number,
    small_generator,
    state_dict,
    storage_id,
    text,
)
from attacks.published_files import BOMBS, HOSTILE, ONE, SHAPES, TWO, unfolded_generator
from groundwork.torch_file import ALLOWED as TORCH_GLOBALS


def entries(members, start: int = 0) -> tuple[bytes, list[int]]:
    """The members of an archive as (bytes, offset of each), written by hand."""
    result, offsets = b"", []
    for name, data in members:
        offsets.append(start + len(result))
        head = (20, 0, 0, 0, 0, zlib.crc32(data), len(data), len(data), len(name), 0)
        result += struct.pack("<4s5H3L2H", b"PK\3\4", *head) + name.encode() + data
    return result, offsets


def directory(members, offsets) -> bytes:
    return b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, zlib.crc32(data), len(data), len(data), len(name),
                    0, 0, 0, 0, 0, at) + name.encode()
        for (name, data), at in zip(members, offsets, strict=True)
    )  # fmt: skip


def two_faced_archive() -> bytes:
    """An archive in which Python's zipfile finds harmless members, and readers that trust its end find others.

    The end names a directory in the middle of the file; zipfile takes the one right before the end.
    """
    shown = list(members_of(good("zip")).items())
    bomb = b"\x80\x02" + a_dict(x=call("builtins", "bytearray", number(2 * 10**9))) + b"."
    hidden = [("archive/data.pkl", bomb), ("archive/byteorder", b"little"), ("archive/version", b"3\n")]
    hidden += [(f"archive/data/{i}", b"") for i in range(len(shown) - 4)]
    length = len(directory(shown, [0] * len(shown)))
    padding = length - len(directory(hidden, [0] * len(hidden))) - 46 - len("archive/")
    hidden.append(("archive/" + "p" * padding, bytes(len(entries(shown)[0]) + length)))  # equally long directories
    first, offsets = entries(hidden)
    hidden_directory = directory(hidden, offsets)
    second, offsets = entries(shown, len(first) + length)
    shift = len(second) + length  # what zipfile takes for bytes before the archive
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(shown), len(shown), length, len(first), 0)
    result = first + hidden_directory + second + directory(shown, [at - shift for at in offsets]) + end
    assert members_of(result) == dict(shown)
    return result


def crowded_archive(name: str, count: int) -> bytes:
    """An archive whose directory has one empty member many times."""
    members, offsets = entries([(name, b"")])
    listed = directory([(name, b"")], offsets) * count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, len(listed), len(members), 0)
    return members + listed + end


def patched(data: bytes, field: int, value: bytes) -> bytes:
    """An archive whose directory has other bytes at `field` of the entry of data.pkl."""
    at = data.rindex(b"archive/data.pkl") - 46 + field
    return data[:at] + value + data[at + len(value) :]


def torch_attacks():
    """(name, content, part of the refusal) of files of torch.save, for any reader."""
    for module, name in TORCH_GLOBALS:
        for kind, arguments in HOSTILE.items():
            yield f"{module}.{name} of {kind}", archived(call(module, name, *arguments)), "damaged"
    for name, (shape, stride, offset) in SHAPES.items():
        value = a_dict(x=a_tensor(a_storage(2), shape, stride, offset))
        yield f"a tensor of {name}", archived(value), "more numbers than|wrong parts"
        yield f"a legacy tensor of {name}", legacy(value), "more numbers than|wrong parts"
    beyond = a_tensor(a_storage(2), TWO, ONE, b"K\1")
    yield "a tensor beyond its numbers", archived(a_dict(x=beyond)), "more numbers than"
    many_strides = keep(0, a_tuple(*[b"K\0"] * DEEP)) + keep(1, a_storage(2)) + a_tensor(get(1), b")", get(0)) * 1000
    yield "strides without end", archived(many_strides), "more numbers than"
    shared = keep(0, a_storage(2)) + a_tuple(*[a_tensor(get(0), TWO, ONE)] * 5)
    yield "tensors that share their numbers", archived(shared), "more numbers than"
    yield "a parameter of text", archived(call(*PARAMETER, text("x"), b"N", b"N")), "no tensor"
    deep_key = call(*ORDERED_DICT, a_list(a_tuple(DEEP_TUPLE, b"N")))
    yield "an OrderedDict with a deep key", archived(deep_key), "damaged"
    copies = keep(0, a_global(*ORDERED_DICT)) + keep(1, a_tuple(MANY_PAIRS)) + a_tuple(*[get(0) + get(1) + b"R"] * 1000)
    yield "copies of a long OrderedDict", archived(copies), "damaged"
    yield "attributes of text", archived(call(*ORDERED_DICT) + text("x") + b"b"), "attributes of"
    ids = {
        "text": text("storage") + b"Q",
        "2^60 parts": DAG_TUPLE + b"Q",
        "2^40 numbers": a_storage(2**40),
        "2^39 numbers": a_storage(2**39),
        "two sizes": a_storage(2) + b"0" + a_storage(1),
        "a function": storage_id(a_global(*PARAMETER), text("0"), text("cpu"), b"K\2"),
        "a key that is a tuple": storage_id(a_global("torch", "FloatStorage"), DAG_TUPLE, text("cpu"), b"K\2"),
    }
    for name, value in ids.items():
        yield f"a storage of {name}", archived(value), "storage|not all there"
        yield f"a legacy storage of {name}", legacy(value), "storage|more numbers than it has bytes"
    yield "a storage in another member", archived(a_storage(2, "../data.pkl")), "not all there"
    yield "another magic number", MAGIC[:-2] + b"\x18" + legacy(b"N", ())[len(MAGIC) - 1 :], "no file of torch"
    whole = members_of(good("zip"))
    pickled, plain = whole["archive/data.pkl"], archive_of(whole)
    yield "compressed members", archive_of(whole, compression=zipfile.ZIP_DEFLATED), "none of torch.save"
    bomb = {"archive/data.pkl": b"\x80\x02" + b"N0" * 10_000_000}
    yield "a zip bomb", archive_of(bomb, compression=zipfile.ZIP_DEFLATED), "none of torch.save"
    yield "two members of one name", archive_of([*whole.items(), ("archive/data.pkl", pickled)]), "none of torch.save"
    yield "two folders", archive_of([*whole.items(), ("other/data.pkl", pickled)]), "no data.pkl"
    yield "no data.pkl", archive_of({"archive/data/0": b"x"}), "no data.pkl"
    yield "60,000 members", crowded_archive("archive/0", 60_000), "none of torch.save"
    yield "a directory of 60 MB", crowded_archive("archive/" + "0" * 992, 60_000), "damaged or cut short"
    yield "members of another machine", archive_of(whole | {"archive/byteorder": b"big"}), "big-endian"
    yield "two faces", two_faced_archive(), "damaged or cut short"
    yield "bytes before the archive", plain[:4] + bytes(100) + plain, "damaged or cut short"
    yield "a comment behind the archive", plain[:-2] + b"\x05\0hello", "damaged or cut short"
    yield "a member of 4 GB", patched(plain, 20, b"\xf0\xff\xff\xff" * 2), "none of torch.save"
    yield "an encrypted member", patched(plain, 8, b"\x01\0"), "damaged or cut short"
    yield "a member of unknown compression", patched(plain, 10, b"\x63\0"), "none of torch.save"
    yield "a member with a wrong checksum", patched(plain, 16, b"abcd"), "damaged or cut short"
    yield "a member outside of the file", patched(plain, 42, b"\xf0\xff\xff\x7f"), "damaged or cut short"


def state_dict_attacks():
    """(name, content, part of the refusal) of state dicts that torch.save wrote."""
    endless = ()
    for _ in range(60):
        endless = (endless, endless)
    for name, bomb in BOMBS.items():
        yield f"{name} in init_kwargs", state_dict(init_kwargs=dict(a=bomb)), "too large"
        yield f"{name} in rendering_kwargs", state_dict(rendering_kwargs=dict(a=bomb)), "too large"
    yield "a class of 2^60 parts", state_dict(class_name=endless), "is of a class"
    yield "a class of two lines", state_dict(class_name="a\nb"), "is of a class"
    yield "a state dict of numbers", state_dict(state_dict={"a": 1}), "more than tensors"
    yield "a state dict of text", state_dict(state_dict="a"), "damaged"
    yield "arguments of a number", state_dict(init_kwargs=5), "damaged"
    yield "a billion rays", state_dict(neural_rendering_resolution=10**9), "no positive integer"
    yield "a tensor of two lines", state_dict(state_dict={"a\nb": torch.zeros(1)}), "cannot be printed"
    yield "facts without end", archived(a_dict(G_ema=a_dict(init_kwargs=b"}"), facts=text("[" * DEEP))), "damaged"
    yield "terabytes by strides of zero", state_dict(unfolded_generator(w_dim=2**20)), "more numbers than"
    G, half = small_generator(w_dim=64, mapping_kwargs=dict(num_layers=60)), torch.zeros(64 * 64).half()
    shared = {k: half[: v.numel()].view(v.shape) if v.numel() <= 4096 else v for k, v in G.state_dict().items()}
    yield "weights that share their numbers", state_dict(G, state_dict=shared), "more numbers than"
