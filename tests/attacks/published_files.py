"""Attacks in published pickles."""

import pickletools
import struct

import torch

from attacks.any_pickle import spliced
from attacks.pickle_pieces import (
    A_MODULE,
    DAG_TUPLE,
    DEEP,
    DEEP_TUPLE,
    LOAD,
    MAGIC,
    MANY_ITEMS,
    MANY_PAIRS,
    MANY_TEXTS,
    NUMBERS,
    ORDERED_DICT,
    OSG,
    PARAMETER,
    Attack,
    a_dict,
    a_global,
    a_list,
    a_storage,
    a_tensor,
    a_tuple,
    archive_of,
    call,
    get,
    good,
    handmade,
    keep,
    legacy,
    number,
    published,
    put,
    raw,
    small_generator,
    storage_id,
    text,
    with_blob,
)
from eg3d.checkpoints.stand_ins import ALLOWED as PUBLISHED_GLOBALS
from eg3d.models.generator import TriPlaneGenerator

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
