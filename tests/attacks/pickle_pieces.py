"""Pieces of pickles and whole files, written by hand; an attack is made of them."""

import functools
import io
import json
import struct
import zipfile
from typing import NamedTuple

import torch
from published_layout import published_bytes
from tiny_networks import generator_of, tiny_generator_kwargs

from eg3d.checkpoints.arguments import file_arguments
from eg3d.checkpoints.own import snapshot_bytes
from eg3d.models.generator import TriPlaneGenerator

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the first of the five pickles of a legacy torch.save


class Attack(NamedTuple):
    """What a file holds, what the refusal says (a regular expression), who reads it."""

    data: bytes
    reason: str
    reader: str = "load_generator"
    size: int | None = None  # of the file, where it ends with a hole


def number(n: int) -> bytes:
    data = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def text(s: str) -> bytes:
    data = s.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def raw(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def a_global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def a_tuple(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def a_list(*items: bytes) -> bytes:
    return b"](" + b"".join(items) + b"e"


def a_dict(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return a_global(module, name) + a_tuple(*arguments) + b"R"


def put(i: int) -> bytes:
    """Remembers the top of the stack, far from the numbers that the spliced file uses itself."""
    return b"r" + struct.pack("<I", 400_000 + i)


def get(i: int) -> bytes:
    return b"j" + struct.pack("<I", 400_000 + i)


def keep(i: int, value: bytes) -> bytes:
    return value + put(i) + b"0"


DEEP = 100_000
DEEP_TUPLE = b")" + b"\x85" * DEEP
DAG_TUPLE = b")" + b"".join(put(i) + get(i) + b"\x86" for i in range(60))  # hashing it takes 2^60 steps
MANY = 50_000
MANY_TEXTS = a_list(*(text(f"{i:x}") for i in range(MANY)))
MANY_PAIRS = a_list(*(text(f"{i:x}") + b"N\x86" for i in range(MANY)))
MANY_ITEMS = a_dict(**{f"{i:x}": b"N" for i in range(MANY)})
OSG = a_global("training.triplane", "OSGDecoder")
A_MODULE = OSG + b")\x81"
ORDERED_DICT = ("collections", "OrderedDict")
LOAD, PARAMETER = ("torch.storage", "_load_from_bytes"), ("torch._utils", "_rebuild_parameter")


def small_generator(**changes) -> TriPlaneGenerator:
    """The smallest generator: 3,000 weights."""
    small = dict(z_dim=4, w_dim=8, img_resolution=16, plane_resolution=8, plane_channels=4, decoder_width=4)
    small |= dict(channel_max=4, channel_base=64, mapping_kwargs=dict(num_layers=1), sr_kwargs=dict(widths=[4, 4]))
    return generator_of(**tiny_generator_kwargs() | small | changes).eval().requires_grad_(False)


def published(G=None, **options) -> bytes:
    options = dict(protocol=3, module_src="", dataset_label_std=False) | options
    return published_bytes(G_ema=G or small_generator(), **options)


def state_dict(G=None, legacy=False, **changes) -> bytes:
    """A file of torch.save that `open_state_dict` accepts."""
    G, buffer = G or small_generator(), io.BytesIO()
    arguments = file_arguments(G)
    entry = {"init_kwargs": arguments, "state_dict": dict(G.state_dict())}
    entry["rendering_kwargs"] = arguments["rendering_kwargs"]
    torch.save(entry | changes, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


@functools.cache
def good(kind: str) -> bytes:
    """Files that load."""
    if kind == "snapshot":
        return snapshot_bytes({"G_ema": small_generator()}, {})
    return published() if kind == "published" else state_dict(legacy=kind == "legacy")


def handmade(**state: bytes) -> bytes:
    """A published file whose generator has this state, and nothing else."""
    meta = dict(type=text("class"), version=number(6), module_src=text(""), class_name=text("TriPlaneGenerator"))
    G = call("torch_utils.persistence", "_reconstruct_persistent_obj", a_dict(**meta, state=a_dict(**state)))
    return b"\x80\x03" + a_dict(G_ema=G) + b"."


def with_blob(change) -> bytes:
    """A published file with its first storage changed by a function, or replaced."""
    data = good("published")
    at = data.index(MAGIC)
    end = at + int.from_bytes(data[at - 4 : at], "little")
    return data[: at - 5] + raw(change(data[at:end]) if callable(change) else change) + data[end:]


NUMBERS = struct.pack("<q2f", 2, 1, 2)  # a legacy storage of two numbers


def legacy(value: bytes, keys=("0",), numbers=NUMBERS, system=None) -> bytes:
    """A legacy torch.save of a pickled value."""
    system = system or a_dict(protocol_version=number(1001), little_endian=b"\x88")
    parts = (number(1001), system, value, a_list(*map(text, keys)))
    return MAGIC + b"".join(b"\x80\x02" + part + b"." for part in parts) + numbers


def storage_id(*items: bytes) -> bytes:
    return a_tuple(text("storage"), *items) + b"Q"


def a_storage(count: int, key: str = "0") -> bytes:
    return storage_id(a_global("torch", "FloatStorage"), text(key), text("cpu"), number(count), b"N")


def a_tensor(storage: bytes, shape: bytes, stride: bytes, offset: bytes = b"K\0") -> bytes:
    return call("torch._utils", "_rebuild_tensor_v2", storage, offset, shape, stride, b"\x89", call(*ORDERED_DICT))


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def archive_of(members, **options) -> bytes:
    """A zip archive of a dict or of (name, content) pairs."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            archive.writestr(name, content)
    return buffer.getvalue()


def archived(value: bytes, numbers=bytes(8)) -> bytes:
    """A file of torch.save in the zip format, of a pickled value and one storage."""
    return archive_of({"archive/data.pkl": b"\x80\x02" + value + b".", "archive/data/0": numbers})


def with_header(data: bytes, key: str, change) -> bytes:
    """A safetensors file of ours whose header went through `change`, which edits it or returns another text."""
    end = 8 + int.from_bytes(data[:8], "little")
    whole = json.loads(data[8:end])
    header = json.loads(whole["__metadata__"][key])
    whole["__metadata__"][key] = change(header) or json.dumps(header)
    whole["__metadata__"].pop("eg3d_sha256", None)  # whoever attacks would not leave a wrong one
    start = json.dumps(whole).encode()
    start += b" " * (-len(start) % 8)
    return struct.pack("<Q", len(start)) + start + data[end:]
