"""ONNX files with no package to write them: a few fields of protobuf, enough for a network of one convolution.

Field numbers are those of onnx.proto: a message is (field number << 3 | wire type), value, ...
"""

import numpy as np

FLOAT, INT64 = 1, 7  # TensorProto.DataType


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name: str, values) -> bytes:
    values = np.asarray(values, "<f4")
    return b"".join(number(1, n) for n in values.shape) + number(2, FLOAT) + block(8, name) + block(9, values.tobytes())


def value_info(name: str, shape, kind: int = FLOAT) -> bytes:
    dims = b"".join(block(1, number(1, d) if isinstance(d, int) else block(2, d)) for d in shape)
    return block(1, name) + block(2, block(1, number(1, kind) + block(2, dims)))


def node(operation: str, inputs, output: str) -> bytes:
    return b"".join(block(1, name) for name in inputs) + block(2, output) + block(4, operation)


def whole_numbers(name: str, values) -> bytes:
    data = np.asarray(values, "<i8").tobytes()
    return number(1, len(values)) + number(2, INT64) + block(8, name) + block(9, data)


def attribute(name: str, kind: int, value: bytes) -> bytes:
    """kind: the field that holds the value; 2: a number of four bytes, 5: a tensor, 8: whole numbers, one each."""
    if kind == 8:
        return block(1, name) + b"".join(number(8, n) for n in value) + number(20, 7)
    return block(1, name) + (
        varint(2 << 3 | 5) + value + number(20, 1) if kind == 2 else block(5, value) + number(20, 4)
    )


def constant_node(output: str, value) -> bytes:
    if isinstance(value, bytes):
        kept = attribute("value", 5, value)
    else:
        kept = attribute("value_float", 2, np.asarray(value, "<f4").tobytes())
    return block(2, output) + block(4, "Constant") + block(5, kept)


def model(nodes, tensors, taken, given, more=()) -> bytes:
    """taken: (name, shape[, type]) of the input; given: (name, shape) of each output; more: other tensors."""
    graph = b"".join(block(1, n) for n in nodes) + block(2, "graph")
    graph += b"".join(block(5, tensor(name, values)) for name, values in tensors.items())
    graph += b"".join(block(5, values) for values in more)
    graph += block(11, value_info(*taken)) + b"".join(block(12, value_info(*out)) for out in given)
    return number(1, 8) + block(7, graph) + block(8, number(2, 13))


def linear_network(kernels: dict, taken=None, normalises: bool = False, channels_last: bool = False) -> bytes:
    """Each output is a linear function of the picture: kernels {name: [K, 3, S, S]} -> [N, K].

    taken: shape of the input. normalises: the graph first turns bytes into ImageNet's scale, as some exports do.
    channels_last: it takes [N, S, S, 3], as exports of TensorFlow do.
    """
    side = next(iter(kernels.values())).shape[-1]
    nodes, tensors, x = [], dict(kernels_of(kernels)), "picture"
    if channels_last:
        order = block(5, attribute("perm", 8, [0, 3, 1, 2]))
        nodes, x, taken = [node("Transpose", [x], "first") + order], "first", taken or ["N", side, side, 3]
    if normalises:
        mean, std = (np.reshape(v, (1, 3, 1, 1)) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        tensors |= {"offset": -255 * mean, "scale": 1 / (255 * std)}
        nodes += [node("Add", [x, "offset"], "moved"), node("Mul", ["moved", "scale"], "normalised")]
        x = "normalised"
    for name in kernels:
        nodes += [node("Conv", [x, f"{name} kernel"], f"{name} map"), node("Flatten", [f"{name} map"], name)]
    given = [(name, ["N", len(kernel)]) for name, kernel in kernels.items()]
    return model(nodes, tensors, ("picture", taken or ["N", 3, side, side]), given)


def kernels_of(kernels: dict) -> dict:
    return {f"{name} kernel": kernel for name, kernel in kernels.items()}
