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


def model(nodes, tensors, taken, given) -> bytes:
    """taken: (name, shape[, type]) of the input; given: (name, shape) of each output."""
    graph = b"".join(block(1, n) for n in nodes) + block(2, "graph")
    graph += b"".join(block(5, tensor(name, values)) for name, values in tensors.items())
    graph += block(11, value_info(*taken)) + b"".join(block(12, value_info(*out)) for out in given)
    return number(1, 8) + block(7, graph) + block(8, number(2, 13))


def linear_network(kernels: dict, taken=None, normalises: bool = False) -> bytes:
    """Each output is a linear function of the picture: kernels {name: [K, 3, S, S]} -> [N, K].

    taken: shape of the input. normalises: the graph first turns bytes into ImageNet's scale, as some exports do.
    """
    side = next(iter(kernels.values())).shape[-1]
    nodes, tensors, x = [], dict(kernels_of(kernels)), "picture"
    if normalises:
        mean, std = (np.reshape(v, (1, 3, 1, 1)) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        tensors |= {"offset": -255 * mean, "scale": 1 / (255 * std)}
        nodes, x = [node("Add", [x, "offset"], "moved"), node("Mul", ["moved", "scale"], "normalised")], "normalised"
    for name in kernels:
        nodes += [node("Conv", [x, f"{name} kernel"], f"{name} map"), node("Flatten", [f"{name} map"], name)]
    given = [(name, ["N", len(kernel)]) for name, kernel in kernels.items()]
    return model(nodes, tensors, ("picture", taken or ["N", 3, side, side]), given)


def kernels_of(kernels: dict) -> dict:
    return {f"{name} kernel": kernel for name, kernel in kernels.items()}
