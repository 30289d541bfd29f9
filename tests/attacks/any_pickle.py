"""What no pickle of any kind may hold: code, and values that only harm."""

import io
import pickletools
import struct

from attacks.pickle_pieces import (
    DAG_TUPLE,
    DEEP,
    DEEP_TUPLE,
    MAGIC,
    MANY,
    Attack,
    a_dict,
    a_global,
    a_list,
    a_tuple,
    archive_of,
    call,
    good,
    members_of,
    number,
    raw,
    text,
    with_blob,
)


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
