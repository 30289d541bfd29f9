"""What pictures an ONNX network wants, read from the first nodes of its graph: many files normalise inside.

A graph that begins with (x - 127.5) / 128 wants bytes; given pictures in [-1, 1] it sees one grey in all of them and
scores any two faces 1.0. onnxruntime does not show a graph, so the few fields that matter are read here. Their numbers
are those of onnx.proto; a message is a list of (field number << 3 | wire type), value.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

SCALES = ("signed", "unit", "bytes")  # [-1, 1], [0, 1], 0 to 255
LONGEST_HEAD = 16  # nodes
MOST_FIELDS = 1_000_000  # of one message
MOST_NUMBERS = 1000  # of a constant that normalises
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
# TensorProto.DataType -> (type of its raw data, field of its plain data)
TYPES = {1: ("<f4", 4), 6: ("<i4", 5), 7: ("<i8", 7), 10: ("<f2", None), 11: ("<f8", 10)}
PASSED = ("Identity", "Cast", "Dropout")
REVERSED = [2, 1, 0]
LAST_TO_FIRST = [0, 3, 1, 2]  # how a Transpose makes [N, 3, S, S] of [N, S, S, 3]


@dataclass(frozen=True)
class Wanted:
    """scale: one of SCALES; order: `rgb` or `bgr`; None: the graph does not tell.

    channels_last: the graph moves the channels from the last place to the second one.
    """

    scale: str | None = None
    order: str | None = None
    channels_last: bool = False


def wanted_by(model: bytes) -> Wanted:
    """What the first nodes of an ONNX file tell; nothing, for a file that is damaged or of another kind."""
    try:
        return _Graph(model).wanted()
    except (ValueError, LookupError, TypeError, OverflowError):
        return Wanted()


class _Graph:
    def __init__(self, model: bytes):
        graph = _first(_fields(memoryview(model)), 7)
        self.nodes, self.constants, inputs = [], {}, []
        for field, value in _fields(graph):
            if field == 1:
                self.nodes.append(_node(value))
            elif field == 5:
                name = _text(_first(_fields(value), 8, b""))
                self.constants[name] = value
            elif field == 11:
                inputs.append(_text(_first(_fields(value), 1)))
        for node in self.nodes:
            if node.operation == "Constant":
                self.constants[node.outputs[0]] = node.attributes.get("value")
            elif node.operation == "Identity" and node.inputs[0] in self.constants:
                self.constants[node.outputs[0]] = self.constants[node.inputs[0]]
        (self.input,) = [name for name in inputs if name not in self.constants]

    def constant(self, name: str) -> np.ndarray:
        """The numbers of a small constant, flat; LookupError for anything else."""
        return _numbers(self.constants[name])

    def wanted(self) -> Wanted:
        """Follows the picture as long as nodes map each channel by y = gain * x + shift, or turn the channels round."""
        gain, shift, turned, last, name = np.ones(1), np.zeros(1), False, False, self.input
        for _ in range(LONGEST_HEAD):
            users = [node for node in self.nodes if name in node.inputs and node.operation != "Shape"]
            if len(users) != 1:
                break
            (node,) = users
            try:
                if node.operation == "Transpose":
                    last = last or node.attributes.get("perm") == LAST_TO_FIRST
                elif node.operation in PASSED:
                    pass
                elif self.turns(node):
                    turned, gain, shift = not turned, gain[::-1], shift[::-1]
                else:
                    more_gain, more_shift = self.mapping(node, name)
                    gain, shift = gain * more_gain, shift * more_gain + more_shift
            except LookupError:
                break
            name = node.outputs[0]
        return replace(_told(gain, shift, turned), channels_last=last)

    def mapping(self, node: "_Node", name: str) -> tuple[np.ndarray, np.ndarray]:
        """Gain and shift of a node for each channel; LookupError for a node of another kind."""
        if node.operation == "BatchNormalization":
            scale, bias, mean, variance = (self.constant(part) for part in node.inputs[1:5])
            gain = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
            return _channels(gain), _channels(bias - gain * mean)
        other = next(part for part in node.inputs if part != name) if len(set(node.inputs)) == 2 else None
        value = _channels(self.constant(other))
        first = node.inputs[0] == name
        match node.operation:
            case "Add":
                return np.ones(1), value
            case "Sub":
                return (np.ones(1), -value) if first else (-np.ones(1), value)
            case "Mul":
                return value, np.zeros(1)
            case "Div" if first:
                return 1 / value, np.zeros(1)
        raise LookupError(node.operation)

    def turns(self, node: "_Node") -> bool:
        """Whether a node turns RGB into BGR: it picks the channels 2, 1, 0, or slices them backwards."""
        if node.operation == "Gather":
            return self.constant(node.inputs[1]).tolist() == REVERSED
        if node.operation == "Slice" and len(node.inputs) == 5:
            return self.constant(node.inputs[4]).tolist() == [-1]
        return False


def _told(gain: np.ndarray, shift: np.ndarray, turned: bool) -> Wanted:
    """What scale and order pictures have that become about zero and one in size by y = gain * x + shift."""
    with np.errstate(divide="ignore", invalid="ignore"):
        zero, width = -shift / gain, 1 / np.abs(gain)  # the value that becomes 0; what is added to it for 1
    if not (np.isfinite(zero).all() and np.isfinite(width).all()):
        return Wanted()
    zero, width = np.broadcast_to(zero, 3), np.broadcast_to(width, 3)
    rgb = None  # whether the channels are so behind these nodes: ImageNet's mean is largest in red and least in blue
    if np.ptp(zero) > 0.02 * np.abs(zero).max():
        rgb = True if zero[0] > zero[1] > zero[2] else False if zero[0] < zero[1] < zero[2] else None
    if rgb is None:
        order = "bgr" if turned else None  # a graph that turns them was made for pictures of OpenCV
    else:
        order = "rgb" if rgb != turned else "bgr"
    if np.all((zero > 60) & (zero < 190)) or (np.all(np.abs(zero) < 20) and np.all(width > 20)):
        return Wanted("bytes", order)
    if np.all((zero > 0.25) & (zero < 0.75)) and np.all(width < 2):
        return Wanted("unit", order)
    return Wanted(None, order)


# ------------------------------------------------------------------ the few fields that matter


@dataclass(frozen=True)
class _Node:
    operation: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict


def _node(data) -> _Node:
    node = _Node("", [], [], {})
    for field, value in _fields(data):
        if field in (1, 2):
            (node.inputs if field == 1 else node.outputs).append(_text(value))
        elif field == 4:
            node = replace(node, operation=_text(value))
        elif field == 5:
            name, found = "", None
            for number, part in _fields(value):
                if number == 1:
                    name = _text(part)
                elif number == 2:  # a number
                    found = np.frombuffer(part, "<f4")[0]
                elif number == 5:  # a tensor
                    found = part
                elif number == 7:  # a list of numbers
                    found = np.frombuffer(part, "<f4")
                elif number == 8:  # of whole ones, together or one by one
                    found = (found if isinstance(found, list) else []) + _varints(part)
            node.attributes["value" if name in ("value_float", "value_floats") else name] = found
    return node


def _numbers(value) -> np.ndarray:
    """The numbers of a TensorProto, of an attribute, flat; LookupError if they are many, or elsewhere."""
    if value is None:
        raise LookupError("no constant")
    if isinstance(value, (np.ndarray, np.floating)):
        return np.atleast_1d(value).astype(float)
    kind, raw, plain = 1, None, {}
    for field, part in _fields(value):
        if field == 2:
            kind = part
        elif field == 9:
            raw = part
        elif field in (4, 5, 7, 10):
            plain.setdefault(field, []).append(part)
    form, field = TYPES[kind]
    if raw is not None:
        numbers = np.frombuffer(raw, form)
    elif kind in (1, 11):
        numbers = np.concatenate([np.frombuffer(part, form) for part in plain[field]])
    else:
        numbers = np.array([number for part in plain[field] for number in _varints(part)])
    if not 0 < len(numbers) <= MOST_NUMBERS:
        raise LookupError("no small constant")
    return numbers.astype(float)


def _channels(value: np.ndarray) -> np.ndarray:
    if len(value) not in (1, 3):
        raise LookupError("not one number, nor one for each channel")
    return value


def _varints(part) -> list[int]:
    if isinstance(part, int):
        return [part]
    numbers, at = [], 0
    while at < len(part):
        value, at = _varint(part, at)
        numbers.append(value)
    return numbers


def _varint(data, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value - (1 << 64) if value >> 63 else value, at
    raise ValueError("a number without end")


def _fields(data) -> Iterator[tuple[int, "int | memoryview"]]:
    """(field number, value) of a message; a text or message is a memoryview."""
    at = 0
    for _ in range(MOST_FIELDS):
        if at >= len(data):
            return
        key, at = _varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
        else:
            size = {FIXED64: 8, FIXED32: 4}.get(kind)
            if kind == BYTES:
                size, at = _varint(data, at)
            if size is None or not 0 <= size <= len(data) - at:
                raise ValueError("damaged")
            value, at = data[at : at + size], at + size
        yield key >> 3, value
    raise ValueError("too many fields")


def _first(fields, number: int, default=None):
    found = next((value for field, value in fields if field == number), default)
    if found is None:
        raise LookupError(number)
    return found


def _text(value) -> str:
    return bytes(value).decode()
