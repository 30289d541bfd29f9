"""Files made to harm their reader: each is refused in one line, nothing in it runs, little memory and time are taken.

Most attacks are spliced into a file that loads without them. All are read in one process of their own, which reports
refusal, time and memory of every file: a reader that crashes or hangs fails these tests and no others.
"""

import contextlib
import functools
import io
import itertools
import json
import os
import pickle
import pickletools
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from dataclasses import asdict
from typing import NamedTuple

import pytest
import torch
from published_layout import canary_source, published_bytes
from safetensors.torch import save as save_safetensors
from tiny_networks import generator_of, tiny_gaze_network, tiny_generator_kwargs

from eg3d.checkpoints.arguments import file_arguments
from eg3d.checkpoints.own import snapshot_bytes
from eg3d.checkpoints.stand_ins import ALLOWED as PUBLISHED_GLOBALS
from eg3d.models.generator import TriPlaneGenerator
from groundwork.files import REPOSITORY
from groundwork.torch_file import ALLOWED as TORCH_GLOBALS
from l2cs.weights import save_weights

pytestmark = [
    pytest.mark.robust,
    pytest.mark.filterwarnings("ignore:TypedStorage is deprecated", "ignore:Duplicate name"),
]

MOST_SECONDS, MOST_MEGABYTES, LONGEST_LINE = 5, 1000, 1000
MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the first of the five pickles of a legacy torch.save
RUNNER = """
import json, resource, signal, sys, time
from pathlib import Path
from eg3d.checkpoints.loading import load_generator
from eg3d.checkpoints.published import open_torch
from l2cs.weights import load_weights

def megabytes(key):
    return int(Path("/proc/self/status").read_text().split(key + ":")[1].split()[0]) / 1024

def stop(*_):
    raise TimeoutError("it takes too long")

signal.signal(signal.SIGALRM, stop)
most = int(megabytes("VmSize") + 3000) << 20  # a hole must not take the whole machine
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for line in sys.stdin:
    reader, path = json.loads(line)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start, kind, text = megabytes("VmRSS"), time.monotonic(), "loaded", ""
    signal.alarm(8)
    try:
        globals()[reader](path)
    except BaseException as error:
        kind, text = type(error).__name__, str(error)
    signal.alarm(0)
    print(json.dumps([kind, text, time.monotonic() - start, megabytes("VmHWM") - before]), flush=True)
"""


class Attack(NamedTuple):
    """What a file holds, what the refusal says (a regular expression), who reads it."""

    data: bytes
    reason: str
    reader: str = "load_generator"
    size: int | None = None  # of the file, where it ends with a hole


class Answer(NamedTuple):
    """How a reader took a file: kind is 'loaded' or the class of the error."""

    kind: str
    text: str
    seconds: float
    megabytes: float


# ------------------------------------------------------------------ pieces of pickles


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


# ------------------------------------------------------------------ whole files


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


# ------------------------------------------------------------------ what no pickle of any kind may hold


def code(canary: str) -> dict[str, bytes]:
    """Pickled values that make a file `canary` when Python's own unpickler reads them."""
    touch, shell = a_list(text("touch"), text(canary)), text(f"touch {canary}")
    system = a_tuple(shell) + b"R"
    return {
        "os.system": call("os", "system", shell),
        "a stack global": text("posix") + text("system") + b"\x93" + system,
        "eval": call("builtins", "eval", text(f"open({canary!r}, 'w')")),
        "exec": call("builtins", "exec", text(f"open({canary!r}, 'w')")),
        "a getattr chain": call("builtins", "getattr", call("builtins", "__import__", text("os")), text("system"))
        + system,
        "operator.attrgetter": call("operator", "attrgetter", text("system"))
        + a_tuple(call("importlib", "import_module", text("os"))) + b"R" + system,
        "a dotted name": text("torch") + text("serialization.os.system") + b"\x93" + system,
        "subprocess.call": call("subprocess", "call", touch),
        "INST": b"(" + shell + b"ios\nsystem\n",
        "OBJ": b"(" + a_global("os", "system") + shell + b"o",
        "pickle.loads": call("pickle", "loads", raw(b"\x80\x02" + call("os", "system", shell) + b".")),
        "copyreg._reconstructor": call(
            "copyreg", "_reconstructor", a_global("argparse", "Namespace"), a_global("builtins", "object"), b"N"
        ) + a_dict(state=call("os", "system", shell)) + b"b",
        "__setstate__": call("functools", "partial", a_global("builtins", "print"))
        + a_tuple(a_global("os", "system"), a_tuple(shell), b"}", b"N") + b"b)R",
    }  # fmt: skip


OPCODES = {  # those that no file of tensors needs
    "EXT1": b"\x82\x01", "EXT2": b"\x83\x01\x00", "EXT4": b"\x84\x01\x00\x00\x00", "PERSID": b"Pstorage\n",
    "LONG4 of 2 GB": b"\x8b\xff\xff\xff\x7f", "BYTEARRAY8 of 4 TB": b"\x96" + struct.pack("<Q", 2**42),
    "NEXT_BUFFER": b"\x97", "READONLY_BUFFER": b"N\x98", "INT": b"I5\n", "LONG": b"L5L\n", "FLOAT": b"F5\n",
    "STRING": b"S'x'\n", "UNICODE": b"Vx\n", "PUT": b"Np0\n", "GET": b"g0\n", "DUP": b"N2", "FROZENSET": b"(\x91",
}  # fmt: skip
FOREIGN = (  # globals that must not even be named
    "builtins.getattr", "builtins.setattr", "builtins.eval", "builtins.exec", "builtins.open", "builtins.__import__",
    "builtins.bytearray", "builtins.map", "os.system", "subprocess.Popen", "pickle.loads", "functools.partial",
    "operator.attrgetter", "copyreg._reconstructor", "copyreg.__newobj__", "copyreg.add_extension", "torch.load",
    "torch.hub.load", "torch._utils._rebuild_device_tensor_from_numpy", "torch.storage.UntypedStorage",
    "torch.nn.modules.module.Module", "numpy.ndarray", "numpy.core.multiarray._reconstruct", "numpy.load",
    "training.triplane.TriPlaneGenerator", "torch_utils.persistence._src_to_module", "dnnlib.util.open_url",
)  # fmt: skip
POPEN = a_global("subprocess", "Popen")
ALIEN = {  # name: (pickled value, part of the refusal)
    **{name: (value, "opcode") for name, value in OPCODES.items()},
    **{f"{name} by name": (a_global(*name.rsplit(".", 1)), f"'{name}'") for name in FOREIGN},
    "BINBYTES8 of 4 TB": (b"\x8e" + struct.pack("<Q", 2**42), "declares 4398046511104 bytes"),
    "BINUNICODE8 of 4 TB": (b"\x8d" + struct.pack("<Q", 2**42), "declares 4398046511104 bytes"),
    "FRAME of 4 TB": (b"\x95" + struct.pack("<Q", 2**42), "declares 4398046511104 bytes"),
    "BINBYTES8 of 2^64 bytes": (b"\x8e" + b"\xff" * 8, "declares 18446744073709551615 bytes"),
    "BINBYTES of 4 GB": (b"B\xff\xff\xff\xff", "declares 4294967295 bytes"),
    "BINUNICODE of 4 GB": (b"X\xff\xff\xff\xff", "declares 4294967295 bytes"),
    "a text of 5 MB": (text("x" * 5_000_000), "texts are too long"),
    "a memo of 2^31 places": (b"Nr\xff\xff\xff\x7f", "remembers a value as its number 2147483647"),
    "a million lists": (b"(" + b"]" * 1_000_000 + b"t", "opcodes"),
    "a million sets": (b"(" + b"\x8f" * 1_000_000 + b"t", "opcodes"),
    "a bytearray of 10 GB": (call("builtins", "bytearray", number(10**10)), "builtins.bytearray"),
    "NEWOBJ": (POPEN + a_tuple(text("touch")) + b"\x81", "subprocess.Popen"),
    "NEWOBJ_EX": (POPEN + a_tuple(text("touch")) + b"}\x92", "subprocess.Popen"),
    "copyreg.__newobj__": (call("copyreg", "__newobj__", POPEN, text("touch")), "copyreg.__newobj__"),
    "an array of objects": (
        call("numpy._core.multiarray", "_reconstruct", a_global("numpy", "ndarray"), a_tuple(b"K\0"), b"C\x01b"),
        "_reconstruct",
    ),
    "a global of two lines": (text("os\nsystem") + text("x\x1b[2J") + b"\x93", r"os\\nsystem.x\\x1b"),
    "a tuple as a key": (b"})Ns", "a key is neither text nor number"),
    "a deep tuple as a key": (b"}" + DEEP_TUPLE + b"Ns", "a key is neither text nor number"),
    "a tuple of 2^60 parts as a key": (b"}" + DAG_TUPLE + b"Ns", "a key is neither text nor number"),
    "a deep tuple in a set": (b"\x8f(" + DEEP_TUPLE + b"\x90", "a key is neither text nor number"),
    "a key of two lines": (b"}" + text("a\nb") + b"Ns", "cannot be printed"),
    "a key with half a character": (b"}" + text("\ud800") + b"Ns", "cannot be printed"),
    "keys of equal hash": (
        b"}(" + b"".join(number(k * (2**61 - 1)) + b"N" for k in range(1, MANY)) + b"u", "too large for a key"
    ),
    "an empty stack": (b"000", "damaged"),
    "a missing mark": (b"Nt", "mark"),
    "100,000 marks": (b"(" * DEEP + b"R", "mark"),
    "a value that was never remembered": (b"h\xff", "damaged"),
    "APPEND to a tuple": (b")Na", "given to something else"),
    "SETITEM of a list": (b"]NNs", "given to something else"),
    "BUILD of a dict": (b"}}b", "sets the state of something that has none"),
    "REDUCE of a text": (text("os.system") + b")R", "no function"),
    "NEWOBJ of a text": (text("os.system") + b")\x81", "no place"),
}  # fmt: skip


def spliced(data: bytes, value: bytes) -> bytes:
    """A file whose pickle (of a legacy torch.save: the fourth) makes and drops a value before its own."""
    stream = io.BytesIO(data)
    for _ in range(3 * data.startswith(MAGIC)):
        list(pickletools.genops(stream))
    at = stream.tell() + 2
    return data[:at] + value + b"0" + data[at:]


def carriers(value: bytes, reason: str):
    """(name, attack): the value in every kind of file that has a pickle inside."""
    yield "a published file", Attack(spliced(good("published"), value), reason)
    yield "a storage", Attack(with_blob(lambda blob: spliced(blob, value)), f"{reason}|has a storage of")
    members = members_of(good("zip"))
    archive = archive_of(members | {"archive/data.pkl": spliced(members["archive/data.pkl"], value)})
    for reader in ("load_generator", "open_torch", "load_weights"):
        yield f"an archive for {reader}", Attack(archive, reason, reader)
        yield f"a legacy file for {reader}", Attack(spliced(good("legacy"), value), reason, reader)


# ------------------------------------------------------------------ published pickles


HOSTILE = {  # arguments that no global takes
    "None": (b"N",), "ten Nones": (b"N",) * 10, "a text": (text("x"),), "three texts": (text("x"),) * 3,
    "a huge number": (number(2**400),), "seven negative numbers": (number(-1),) * 7,
    "a list of pairs": (a_list(a_tuple(text("a"), b"N")),), "a deep list": (b"]" * 1000 + b"a" * 999,),
}  # fmt: skip
SCALAR = ("numpy._core.multiarray", "scalar")
F8 = call("numpy", "dtype", text("f8"), b"\x89", b"\x88")


def persistent(**changes: bytes) -> bytes:
    meta = dict(type=text("class"), version=number(6), module_src=text(""), class_name=text("G"), state=b"}")
    return call("torch_utils.persistence", "_reconstruct_persistent_obj", a_dict(**meta | changes))


SPLICED = {  # into a published file
    "a persistent id": (a_tuple(text("storage")) + b"Q", "persistent id"),
    "a scalar of too few bytes": (call(*SCALAR, F8, b"C\x01x"), "wrong parts"),
    "a scalar of too many bytes": (call(*SCALAR, F8, raw(bytes(10_000))), "wrong parts"),
    "a scalar that is an object": (call("numpy", "dtype", text("O8"), b"\x89", b"\x88"), "no number"),
    "a scalar of a gigabyte": (call("numpy", "dtype", text("V1000000000"), b"\x89", b"\x88"), "no number"),
    "a number type with a deep state": (F8 + a_tuple(b"K\3", DEEP_TUPLE) + b"b", "no number"),
    "a number type with a state of 2^60 parts": (F8 + a_tuple(b"K\3", DAG_TUPLE) + b"b", "no number"),
    "a number type without a state": (F8 + b")b", "damaged"),
    "a number type with a state of text": (F8 + text("<<") + b"b", "no number"),
    "a number type of unknown order": (F8 + a_tuple(b"K\3", text("!")) + b"b", "damaged"),
    "a set of a deep tuple": (call("builtins", "set", a_list(DEEP_TUPLE)), "a set holds"),
    "copies of a long set": (
        keep(0, a_global("builtins", "set")) + keep(1, a_tuple(MANY_TEXTS)) + (get(0) + get(1) + b"R") * 1000,
        "a set holds",
    ),
    "copies of a long OrderedDict": (
        keep(0, a_global(*ORDERED_DICT)) + keep(1, a_tuple(MANY_PAIRS)) + (get(0) + get(1) + b"R") * 1000, "damaged",
    ),
    "a long state, set 100,000 times": (keep(0, MANY_ITEMS) + A_MODULE + (get(0) + b"b") * DEEP, "no plain dict"),
    "a state of numbers": (A_MODULE + b"}K\1Nsb", "no plain dict"),
    "a state with slots": (A_MODULE + a_tuple(b"N", a_dict(__class__=b"N")) + b"b", "no plain dict"),
    "a second state, for __setstate__": (
        A_MODULE + a_dict(__setstate__=a_global(*ORDERED_DICT)) + b"b" + text("x") + b"b", "no plain dict",
    ),
    "the state of a storage": (call(*LOAD, raw(b"x")) + b"}b", "has none"),
    "a storage of text": (call(*LOAD, text("x")), "no byte string"),
    "an object with arguments": (OSG + a_tuple(text("x")) + b"\x81", "no place"),
    "a class name of two lines": (persistent(class_name=text("Tri\nPlane\x1b[2J")), "class name"),
    "a persistent object of version 5": (persistent(version=number(5)), "version 6"),
    "a persistent function": (persistent(type=text("function")), "no class"),
    "a persistent object with a state of text": (persistent(state=text("x")), "no plain dict"),
}  # fmt: skip
ONE, TWO = a_tuple(b"K\1"), a_tuple(b"K\2")
SHAPES = {  # shape, stride, offset of a tensor with a storage of two numbers
    "a negative size": (a_tuple(number(-1)), ONE, b"K\0"), "a huge size": (a_tuple(number(2**62)), ONE, b"K\0"),
    "a size without end": (a_tuple(number(2**2000)), ONE, b"K\0"),
    "a negative stride": (TWO, a_tuple(number(-1)), b"K\0"),
    "a negative offset": (TWO, ONE, number(-5)), "more strides than sizes": (TWO, a_tuple(b"K\1", b"K\1"), b"K\0"),
    "a hundred sizes": (a_tuple(*[b"K\1"] * 100), a_tuple(*[b"K\1"] * 100), b"K\0"),
    "a size of text": (a_tuple(text("2")), ONE, b"K\0"), "a list of sizes": (a_list(b"K\2"), ONE, b"K\0"),
    "a size that is true": (a_tuple(b"\x88"), ONE, b"K\0"), "no sizes": (b"N", b"N", b"K\0"),
    "terabytes by a stride of zero": (a_tuple(number(2**39)), a_tuple(b"K\0"), b"K\0"),
}  # fmt: skip
BLOBS = {  # nested storages of plane_axes, which need 27 numbers
    "a zip archive": (archive_of({"archive/data.pkl": b""}), "has a storage of|opcode|damaged"),
    "no bytes": (b"", "has only 0 bytes"),
    "2^40 numbers": (legacy(a_storage(2**40)), "size of a storage"),
    "2^39 numbers": (legacy(a_storage(2**39), numbers=struct.pack("<q", 2**39)), "does not fit"),
    "a negative count": (legacy(a_storage(-1)), "size of a storage"),
    "another count than announced": (legacy(a_storage(2), numbers=struct.pack("<q2f", 2**60, 1, 2)), "does not fit"),
    "too few numbers": (legacy(a_storage(2)), "has a storage of only 2 numbers"),
    "two storages": (legacy(a_storage(2) + b"0" + a_storage(2, "1"), "01", NUMBERS * 2), "not one storage"),
    "no storage": (legacy(b"N", ()), "not one storage"),
    "a tensor": (legacy(a_tensor(a_storage(2), TWO, ONE)), "wrong parts"),
    "another list of storages": (legacy(a_storage(2), ["1"]), "list of storages"),
    "a number instead of a machine": (legacy(a_storage(2), system=b"K\5"), "another protocol"),
    "a big-endian machine": (legacy(a_storage(2), system=a_dict(little_endian=b"\x89")), "big-endian"),
    "numbers that are objects": (
        legacy(storage_id(a_global("numpy", "object_"), text("0"), text("cpu"), b"K\2")), "numpy.object_"
    ),
    "numbers that are a function": (
        legacy(storage_id(a_global(*PARAMETER), text("0"), text("cpu"), b"K\2")), "size of a storage"
    ),
    "an id of text": (legacy(text("storage") + b"Q"), "id of a storage"),
    "a head of a megabyte": (legacy(b"N0" * 500_000 + a_storage(2)), "has a storage of 1000"),
}  # fmt: skip


def modules(levels: int, width: int) -> bytes:
    """A module of `width` references to one of `width` references to ...: width^levels modules in a few bytes."""
    result = A_MODULE
    for i in range(levels):
        children = {f"m{k}": get(i) for k in range(width)}
        result = keep(i, result) + A_MODULE + a_dict(_modules=a_dict(**children)) + b"b"
    return result


DEEP_MODULE = (A_MODULE + b"}" + text("_modules") + b"}" + text("m")) * 40_000 + b"N" + b"ssb" * 40_000
HANDMADE = {  # attributes of a published generator
    "modules without end": (dict(_modules=a_dict(m=modules(30, 2))), "too many"),
    "a module with many parents": (dict(_modules=a_dict(m=modules(4, 200))), "too many"),
    "a module in itself": (
        dict(_modules=a_dict(m=A_MODULE + put(0) + a_dict(_modules=a_dict(m=get(0))) + b"b")), "too deep"
    ),
    "modules 40,000 deep": (dict(_modules=a_dict(m=DEEP_MODULE)), "too deep"),
    "50,000 children": (dict(_modules=MANY_ITEMS), "no dict of modules"),
    "50,000 empty places": (dict(_parameters=MANY_ITEMS), "too many tensors"),
    "a long list of names": (dict(_buffers=MANY_ITEMS, _non_persistent_buffers_set=MANY_TEXTS), "no set"),
    "a tensor that is a number": (dict(_parameters=a_dict(p=b"K\1")), "p is no tensor"),
    "children that are texts": (dict(_modules=a_dict(m=text("x"))), "no module"),
    "arguments in themselves": (dict(_init_kwargs=a_dict(a=b"]" + put(0) + get(0) + b"a")), "too large"),
    "arguments 100,000 lists deep": (dict(_init_kwargs=a_dict(a=b"]" * DEEP + b"a" * (DEEP - 1))), "too large"),
    "arguments 100,000 tuples deep": (dict(_init_kwargs=a_dict(a=DEEP_TUPLE)), "too large"),
    "arguments 100,000 dicts deep": (dict(_init_kwargs=(b"}" + text("a")) * DEEP + b"N" + b"s" * DEEP), "too large"),
    "an argument that is a module": (dict(_init_kwargs=a_dict(a=A_MODULE)), "holds a Record"),
    "an argument that is a function": (dict(_init_kwargs=a_dict(a=OSG)), "holds a Callee"),
    "an argument that is no number": (
        dict(_init_kwargs=a_dict(a=b"G" + struct.pack(">d", float("nan")))), "not finite"
    ),
    "arguments of text": (dict(_init_kwargs=text("x")), "no dict"),
    "unnamed arguments of a number": (dict(_init_args=number(10**9)), "damaged"),
    "unnamed arguments of a long text": (dict(_init_args=text("x" * 4_000_000)), "too large"),
    "nine unnamed arguments": (dict(_init_args=a_tuple(*[b"K\1"] * 9)), "9 unnamed arguments"),
    "rendering settings that are a number": (dict(_init_kwargs=a_dict(rendering_kwargs=b"K\5")), "no dict"),
    "a billion rays": (dict(neural_rendering_resolution=number(10**9)), "no positive integer"),
    "minus five rays": (dict(neural_rendering_resolution=number(-5)), "no positive integer"),
}  # fmt: skip


def laughs(levels: int = 60):
    """A list of two references to a list of two references to ...: 2^levels values in a few bytes."""
    value = "ha"
    for _ in range(levels):
        value = [value, value]
    return value


BOMBS = {"2^60 texts": laughs(), "10,000 long texts": [["x" * 200_000] * 100] * 100}


def unfolded_generator(**arguments) -> TriPlaneGenerator:
    """A generator of any size, each of whose tensors is one number seen through strides of zero."""
    with torch.device("meta"):
        G = small_generator(**arguments)
    for module in G.modules():
        for tensors in (module._parameters, module._buffers):
            for name in [name for name, value in tensors.items() if value is not None]:
                one = torch.zeros((), device="cpu").expand(tensors[name].shape)
                tensors[name] = torch.nn.Parameter(one, False) if tensors is module._parameters else one
    return G


def with_shared_storages(data: bytes) -> bytes:
    """A published file in which all storages of equal length are the first of them."""
    operations = list(pickletools.genops(data))
    first, copied, result = {}, 0, []
    for i, (_, value, at) in enumerate(operations):
        if not isinstance(value, bytes) or not value.startswith(MAGIC):
            continue
        name, _, start = operations[i - 1]  # GET of the function, BINBYTES, PUT, TUPLE1, PUT, REDUCE, PUT
        assert operations[i + 4][0].name == "REDUCE" and "PUT" in operations[i + 5][0].name
        if len(value) in first and "GET" in name.name:
            result += [data[copied:start], b"j" + struct.pack("<I", first[len(value)])]
            copied = operations[i + 5][2]
        else:
            first[len(value)] = operations[i + 5][1]
        assert at > start
    return b"".join([*result, data[copied:]])


def published_attacks():
    for module, name in PUBLISHED_GLOBALS:
        for kind, arguments in HOSTILE.items():
            value = call(module, name, *arguments)
            yield f"{module}.{name} of {kind}", Attack(spliced(good("published"), value), "cannot be read as an EG3D")
    for name, (value, reason) in SPLICED.items():
        yield name, Attack(spliced(good("published"), value), reason)
    for name, (shape, stride, offset) in SHAPES.items():
        value = a_tensor(call(*LOAD, raw(legacy(a_storage(2)))), shape, stride, offset)
        reason = "impossible shape|wrong parts|damaged|has only"
        yield f"a tensor of {name}", Attack(spliced(good("published"), value), reason)
    for name, (blob, reason) in BLOBS.items():
        yield f"a storage of {name}", Attack(with_blob(blob), reason)
    for name, (state, reason) in HANDMADE.items():
        yield name, Attack(handmade(**state), reason)
    for name, bomb in BOMBS.items():
        yield f"{name} in _init_kwargs", Attack(published(init_kwargs=dict(architecture=bomb)), "too large")
        yield f"{name} in training_set_kwargs", Attack(published(training_set_kwargs=dict(a=bomb)), "too large")
        yield f"{name} in rendering_kwargs", Attack(published(rendering_kwargs=dict(a=bomb)), "too large")
    yield "strides of zero", Attack(published(unfolded_generator()), "has (only|a storage of only)")
    yield "terabytes by strides of zero", Attack(published(unfolded_generator(w_dim=2**20)), "has only")
    shared = with_shared_storages(published(small_generator(w_dim=64, mapping_kwargs=dict(num_layers=60))))
    yield "weights that share their numbers", Attack(shared, "share their numbers")
    yield "plane axes of 2^20 numbers", Attack(published(plane_axes=torch.zeros(2**20)), "instead of .3, 3, 3.")
    yield "plane axes of other directions", Attack(published(plane_axes=torch.full((3, 3, 3), 2.0)), "axes that")
    yield "a generator in the place of D", Attack(handmade().replace(text("G_ema"), text("D")), "D is a TriPlaneG")
    yield "a StyleGAN2 file", Attack(published(class_names={"G_ema": "Generator"}), "is a Generator, no tri-plane")
    network = a_global("dnnlib.tflib.network", "Network") + b")\x81}b"
    yield "a TensorFlow file", Attack(b"\x80\x03" + network * 3 + b"\x87.", "TensorFlow StyleGAN file")
    yield "three networks in a tuple", Attack(b"\x80\x03" + A_MODULE * 3 + b"\x87.", "TensorFlow StyleGAN file")
    yield "bytes behind the end", Attack(good("published") + b"N.", "2 bytes follow its end")
    yield "no end", Attack(good("published")[:-1], "cut short")


# ------------------------------------------------------------------ files of torch.save


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


# ------------------------------------------------------------------ safetensors, and arguments in all three formats


ARGUMENTS = {
    "a billion layers": (dict(mapping_kwargs=dict(num_layers=10**9)), "more than 64"),
    "a trillion channels": (dict(channel_base=10**12), "more than 1048576"),
    "2^40 pixels": (dict(img_resolution=2**40), "more than 1048576"),
    "planes of 2^40 pixels": (dict(plane_resolution=2**40), "more than 1048576"),
    "a filter of a million taps": (dict(resample_filter=[1] * 10**6), "opcodes|has 1000000 items"),
    "a filter of 2,000 taps": (dict(resample_filter=[1] * 2000), "has 2000 items"),
    "an activation of 10,000 letters": (dict(activation="x" * 10_000), "text of 10000 characters"),
    "an architecture of two lines": (dict(architecture="a\nb\x1b[2J"), "build no TriPlaneGenerator"),
    "a width of 400 digits": (dict(w_dim=10**400), "build no TriPlaneGenerator|integer of 401 digits"),
    "minus eight pixels": (dict(img_resolution=-8), "build no TriPlaneGenerator"),
    "a width of text": (dict(z_dim="4"), "build no TriPlaneGenerator"),
    "a kernel of a million pixels": (dict(kernel_size=2**20), "build no TriPlaneGenerator"),
    "terabytes": (dict(w_dim=2**20), "more weights than the file has"),
}
SETTINGS = {
    "a billion samples per ray": (dict(depth_resolution=10**9), "more than 1048576"),
    "samples of text": (dict(depth_resolution="48"), "build no TriPlaneGenerator"),
}


def argument_attacks():
    """Hostile arguments of the constructor and the renderer in a published pickle, a state dict and a snapshot."""
    for name, (changes, reason) in (ARGUMENTS | SETTINGS).items():
        group = "init_kwargs" if name in ARGUMENTS else "rendering_kwargs"
        arguments = file_arguments(small_generator())
        hostile = {group: (arguments if name in ARGUMENTS else arguments["rendering_kwargs"]) | changes}
        yield f"{name} in a published file", Attack(published(**hostile), reason)
        yield f"{name} in a state dict", Attack(state_dict(**hostile), reason)
        change = lambda header, hostile=hostile: header["networks"]["G_ema"].update(hostile)  # noqa: E731
        yield f"{name} in a snapshot", Attack(with_header(good("snapshot"), "eg3d", change), reason)


def snapshot_attacks():
    def of(change):
        return with_header(good("snapshot"), "eg3d", change)

    def entry(**changes):
        return of(lambda header: header["networks"]["G_ema"].update(changes))

    yield "a billion rays", entry(neural_rendering_resolution=10**9), "neural_rendering_resolution"
    yield "a class of two lines", entry(**{"class": "a\nb\x1b[2J"}), r"a\\nb\\x1b"
    yield "an argument with half a character", entry(init_kwargs={"\ud800": 10**9}), r"\\ud800(=1e|. holds half)"
    yield "a deep header", of(lambda header: "[" * DEEP), "not JSON"
    yield "a number of 100,000 digits", of(lambda header: "9" * 100_000), "not JSON"
    yield "a header of 12 million lists", of(lambda header: "[" + "[]," * 12_000_000 + "[]]"), "too large"
    yield "a header of 2^63 bytes", struct.pack("<Q", 2**63) + b"{}" + bytes(30), "too large"
    yield "a tensor of two lines", save_safetensors({"G_ema.a\nb": torch.zeros(1)}, {"eg3d": "{}"}), r"a\\nb"
    odd = torch.zeros(1).to(torch.float8_e8m0fnu)
    yield "a number type that nobody reads", save_safetensors({"G_ema.a": odd}, {"eg3d": "{}"}), "no tensor of a net"


def changed_gaze_network(path):
    """(function that changes the header, function that changes the architecture in it) of a file of our own."""
    save_weights(path, tiny_gaze_network())
    data = path.read_bytes()

    def of(change):
        return with_header(data, "l2cs", change)

    return of, lambda **changes: of(lambda header: header["architecture"].update(changes))


def gaze_attacks(path):
    """Our own safetensors of gaze networks."""
    of, architecture = changed_gaze_network(path)
    header = {"l2cs": json.dumps({"architecture": asdict(tiny_gaze_network().architecture), "facts": {}})}
    tensors = tiny_gaze_network().state_dict()
    odd = torch.zeros(1).to(torch.float8_e8m0fnu)
    for name, (data, reason) in {
        "an unknown kind": (architecture(block="x"), "unknown kind"),
        "blocks of text": (architecture(blocks=["1"] * 4), "unreadable"),
        "no bins": (architecture(bins=0), "0 bins"),
        "a billion blocks": (architecture(blocks=[10**9] * 4), "unreadable"),
        "a billion channels": (architecture(widths=[10**9] * 4), "unreadable"),
        "half a channel": (architecture(widths=[1.5, 2, 2, 2]), "unreadable"),
        "a billion pixels": (architecture(input_size=10**9), "unreadable"),
        "an architecture of text": (of(lambda header: header.update(architecture="x")), "unreadable"),
        "a header of a number": (of(lambda header: "5"), "unreadable"),
        "a deep header": (of(lambda header: "[" * DEEP), "unreadable"),
        "a number type that nobody reads": (save_safetensors({"a": odd}, header), "not a whole|no tensor"),
        "a tensor of two lines": (save_safetensors(tensors | {"a\nb\x1b[2J": torch.zeros(1)}, header), r"a\\nb\\x1b"),
    }.items():
        yield name, Attack(data, reason, "load_weights")


def sparse_attacks():
    """Files with holes: of terabytes, and yet they take no room on the disk."""
    size = 2**42
    yield "a published file", Attack(good("published")[:2] + b"\x8e" + struct.pack("<Q", 2**41), "opcode", size=size)
    for reader in ("load_generator", "open_torch"):
        yield f"an archive for {reader}", Attack(b"PK\3\4", "more than any file", reader, size)
        yield f"a legacy file for {reader}", Attack(MAGIC, "more than any file", reader, size)
    yield "an archive for load_weights", Attack(b"PK\3\4", "more than any gaze network", "load_weights", size)
    G, header, end = unfolded_generator(w_dim=2**19), {}, 0
    for name, value in sorted(G.state_dict().items(), key=lambda item: -item[1].numel()):
        place = [end, end := end + value.nbytes]
        header[f"G_ema.{name}"] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": place}
    arguments = file_arguments(G)
    entry = dict(init_kwargs=arguments, rendering_kwargs=arguments["rendering_kwargs"], sha256="")
    entry |= {"class": "TriPlaneGenerator", "neural_rendering_resolution": 8}
    about = json.dumps({"format": 2, "facts": {}, "networks": {"G_ema": entry}})
    start = json.dumps(header | {"__metadata__": {"eg3d": about}}).encode()
    yield "a snapshot", Attack(struct.pack("<Q", len(start)) + start, "too large", size=8 + len(start) + end)


# ------------------------------------------------------------------ the tests


def all_attacks(folder):
    """((group, name), attack) of everything above; the code in them makes the file `canary` in the folder."""
    for name, value in code(str(folder / "canary")).items():
        for carrier, attack in carriers(value, "no part of an EG3D file|never run|opcode"):
            yield ("code", f"{name} in {carrier}"), attack
    for name, (value, reason) in ALIEN.items():
        for carrier, attack in carriers(value, reason):
            if len(value) < 10**5 or carrier == "a published file":
                yield ("alien", f"{name} in {carrier}"), attack
    for name, attack in published_attacks():
        yield ("published", name), attack
    for name, data, reason in torch_attacks():
        for reader in ("load_generator", "load_weights"):
            yield ("torch", f"{name} for {reader}"), Attack(data, reason, reader)
    for name, data, reason in state_dict_attacks():
        yield ("torch", name), Attack(data, reason)
    for name, attack in argument_attacks():
        yield ("arguments", name), attack
    for name, data, reason in snapshot_attacks():
        yield ("snapshot", name), Attack(data, reason)
    for name, attack in gaze_attacks(folder / "gaze.safetensors"):
        yield ("gaze", name), attack
    for name, attack in sparse_attacks():
        yield ("sparse", name), attack


def harmless(folder):
    """((group, name), file) of files that load."""
    for kind in ("published", "zip", "legacy", "snapshot"):
        yield ("harmless", kind), Attack(good(kind), "")
    for kind in ("zip", "legacy"):
        yield ("harmless", f"{kind} for open_state_dict"), Attack(good(kind), "", "open_torch")
    source = published(module_src=canary_source(folder / "canary"))
    yield ("harmless", "published with source"), Attack(source, "")
    yield ("harmless", "gaze"), Attack((folder / "gaze.safetensors").read_bytes(), "", "load_weights")


def read_apart(files) -> list[Answer]:
    """What a process of its own says to (reader, path) pairs; 'no answer' from where on it has crashed or hung."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", RUNNER], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        output, _ = process.communicate("".join(json.dumps([r, str(p)]) + "\n" for r, p in files), timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
    answers = [Answer(*json.loads(line)) for line in output.splitlines()]
    return answers + [Answer("no answer", "", 0, 0)] * (len(files) - len(answers))


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """(group, name) -> (attack, file, answer); and whether the canary is there after all of them were read."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("the memory of a process is measured by Linux")
    folder = tmp_path_factory.mktemp("attacks")
    result = {}
    for name, attack in itertools.chain(all_attacks(folder), harmless(folder)):
        path = folder / f"attack{len(result)}.bin"
        path.write_bytes(attack.data)
        if attack.size:
            os.truncate(path, attack.size)
        assert name not in result
        result[name] = (attack._replace(data=b""), path)
    said = read_apart([(attack.reader, path) for attack, path in result.values()])
    for _, path in result.values():
        path.unlink()
    rows = {name: (*row, answer) for (name, row), answer in zip(result.items(), said, strict=True)}
    return rows, (folder / "canary").exists()


def well_refused(attack: Attack, path, answer: Answer) -> bool:
    """In one line that names the file and says the expected reason, in time and with little memory."""
    kind = "ValueError" if attack.reader == "load_weights" else "CheckpointError"
    line = answer.text.isprintable() and str(path) in answer.text and len(answer.text) < LONGEST_LINE
    spared = answer.seconds < MOST_SECONDS and answer.megabytes < MOST_MEGABYTES
    return bool(answer.kind == kind and line and spared and re.search(attack.reason, answer.text))


GROUPS = dict(code=104, alien=326, published=221, torch=187, arguments=45, snapshot=9, gaze=12, sparse=7)  # how many


@pytest.mark.parametrize("group", GROUPS)
def test_every_attack_is_refused_in_one_line_with_little_memory(answers, group):
    mine = {name: row for (its_group, name), row in answers[0].items() if its_group == group}
    wrong = [f"{name}, expected {row[0].reason!r}: {row[2]}" for name, row in mine.items() if not well_refused(*row)]
    assert not wrong, "\n".join(wrong)
    assert len(mine) >= GROUPS[group]
    most = [max(row[2][i] for row in mine.values()) for i in (2, 3)]
    print(f"{group}: {len(mine)} attacks, none took more than {most[0]:.2f} s or {most[1]:.0f} MB")


@pytest.mark.slow
def test_a_gaze_network_with_a_header_of_90_megabytes_is_refused_with_little_memory(tmp_path):
    path = tmp_path / "gaze.safetensors"
    of, _ = changed_gaze_network(path)
    path.write_bytes(of(lambda header: "[" + "[]," * 30_000_000 + "[]]"))
    assert well_refused(Attack(b"", "header", "load_weights"), path, *read_apart([("load_weights", path)]))


def test_the_code_would_run_in_python_s_own_unpickler(tmp_path):
    canary = tmp_path / "canary"
    for name, value in code(str(canary)).items():
        with contextlib.suppress(Exception):  # some fail after they have run
            pickle.loads(b"\x80\x04" + value + b".")
        assert canary.exists(), name
        canary.unlink()
