"""Networks in TensorFlow Lite files, read without its runtime: tensors, constants and operators, nothing is run.

Such a file is a flatbuffer. A table there is a place whose first number leads back to a list of offsets, one for each
field that the table may have; 0: the field is left out. Fields are counted here as in TensorFlow Lite's schema.
Whoever damages a file gets a `TfliteError`: every offset and count is compared with what the file holds.
"""

import math
import struct
from dataclasses import dataclass, field

import numpy as np

IDENTIFIER = b"TFL3"
MOST_NUMBERS = 1 << 26  # of all constants together; the face networks have a million
MOST_AXES = 6
MOST_PARTS = 20_000  # tensors, operators or buffers
TYPES = {0: np.dtype("<f4"), 1: np.dtype("<f2"), 2: np.dtype("<i4")}
ACTIVATIONS = ("none", "relu")
PADDINGS = ("same", "valid")
BYTE, INT, UINT = "<b", "<i", "<I"

# Number of an operator -> its name, and the settings that it is computed by: (name, field, form, choices or default).
_WINDOW = (("padding", 0, BYTE, PADDINGS), ("stride_w", 1, INT, 0), ("stride_h", 2, INT, 0))
_FUSED = (("activation", 0, BYTE, ACTIVATIONS),)
OPERATORS = {
    0: ("ADD", _FUSED),
    2: ("CONCATENATION", (("axis", 0, INT, 0), ("activation", 1, BYTE, ACTIVATIONS))),
    3: ("CONV_2D", (*_WINDOW, ("activation", 3, BYTE, ACTIVATIONS), ("dilation_w", 4, INT, 1),
                    ("dilation_h", 5, INT, 1))),
    4: ("DEPTHWISE_CONV_2D", (*_WINDOW, ("activation", 4, BYTE, ACTIVATIONS), ("dilation_w", 5, INT, 1),
                              ("dilation_h", 6, INT, 1))),
    6: ("DEQUANTIZE", ()),
    17: ("MAX_POOL_2D", (*_WINDOW, ("filter_w", 3, INT, 0), ("filter_h", 4, INT, 0),
                         ("activation", 5, BYTE, ACTIVATIONS))),
    19: ("RELU", ()),
    22: ("RESHAPE", ()),
    34: ("PAD", ()),
    54: ("PRELU", ()),
}  # fmt: skip


class TfliteError(ValueError):
    """Why a file is no network that is read here; a short reason, without the file's name."""


@dataclass(frozen=True)
class Operator:
    """name: as in TensorFlow Lite; inputs, outputs: numbers of tensors, -1 for one that is left out."""

    name: str
    inputs: list[int]
    outputs: list[int]
    settings: dict


@dataclass(frozen=True)
class Graph:
    """shapes: of all tensors, as the file says them, for a batch of one; constants: those that it holds, by number."""

    shapes: list[tuple[int, ...]]
    operators: list[Operator]
    inputs: list[int]
    outputs: list[int]
    constants: dict[int, np.ndarray] = field(repr=False)


def read_graph(data: bytes) -> Graph:
    """The first graph of a file. TfliteError for a file that is damaged, or has what is not read here."""
    if data[4:8] != IDENTIFIER:
        raise TfliteError("it is no TensorFlow Lite file")
    model = _Table(memoryview(data), _whole(memoryview(data), UINT, 0))
    graphs = model.tables(2)
    if not graphs:
        raise TfliteError("it holds no graph")
    kinds = [_kind(code) for code in model.tables(1)]
    buffers = model.tables(4)
    tensors = graphs[0].tables(0)
    shapes = [_shape(tensor) for tensor in tensors]
    return Graph(
        shapes=shapes,
        operators=[_operator(one, kinds, len(tensors)) for one in graphs[0].tables(3)],
        inputs=_numbered(graphs[0], 1, len(tensors)),
        outputs=_numbered(graphs[0], 2, len(tensors)),
        constants=_constants(tensors, shapes, buffers),
    )


def _kind(code: "_Table") -> int:
    """The number of an operator: in a byte of old files, in a whole number where that is not enough."""
    return max(code.number(0, BYTE, 0), code.number(3, INT, 0))


def _shape(tensor: "_Table") -> tuple[int, ...]:
    shape = tuple(tensor.numbers(0, np.dtype("<i4")).tolist())
    if len(shape) > MOST_AXES or any(side < 1 for side in shape) or math.prod(shape) > MOST_NUMBERS:
        raise TfliteError(f"a tensor of shape {list(shape)[:8]}")
    return shape


def _operator(table: "_Table", kinds: list[int], tensors: int) -> Operator:
    which = table.number(0, UINT, 0)
    if which >= len(kinds) or kinds[which] not in OPERATORS:
        known = ", ".join(name for name, _ in OPERATORS.values())
        raise TfliteError(
            f"operator {kinds[which] if which < len(kinds) else '?'} is none of those read here ({known})"
        )
    name, fields = OPERATORS[kinds[which]]
    options, settings = table.table(4), {}
    for key, slot, form, default in fields:
        choices = default if isinstance(default, tuple) else None
        value = options.number(slot, form, 0 if choices else default) if options else 0 if choices else default
        if choices:
            if not 0 <= value < len(choices):
                raise TfliteError(f"{name} with {key} {value}")
            value = choices[value]
        elif key != "axis" and not 1 <= value <= 1024:
            raise TfliteError(f"{name} with {key} {value}")
        settings[key] = value
    return Operator(name, _numbered(table, 1, tensors, -1), _numbered(table, 2, tensors), settings)


def _numbered(table: "_Table", slot: int, count: int, least: int = 0) -> list[int]:
    numbers = table.numbers(slot, np.dtype("<i4")).tolist()
    if any(not least <= number < count for number in numbers):
        raise TfliteError("a tensor is named that is not there")
    return numbers


def _constants(tensors: list["_Table"], shapes: list[tuple[int, ...]], buffers: list["_Table"]) -> dict:
    """Tensor number -> its numbers, for those that the file holds numbers of."""
    found, left = {}, MOST_NUMBERS
    for number, (tensor, shape) in enumerate(zip(tensors, shapes, strict=True)):
        buffer = tensor.number(2, UINT, 0)
        if buffer >= len(buffers):
            raise TfliteError("a tensor's numbers are not there")
        raw = buffers[buffer].bytes(0)
        if not len(raw):
            continue
        kind = TYPES.get(tensor.number(1, BYTE, 0))
        if kind is None or tensor.table(6) is not None:
            raise TfliteError("constants of a type that is not read here (quantised or sparse)")
        if len(raw) != math.prod(shape) * kind.itemsize:
            raise TfliteError(f"{len(raw)} bytes for a constant of shape {list(shape)}")
        left -= math.prod(shape)
        if left < 0:
            raise TfliteError("more numbers than any network read here has")
        found[number] = np.frombuffer(raw, kind).reshape(shape)
    return found


# ------------------------------------------------------------------ flatbuffers


def _whole(data: memoryview, form: str, at: int) -> int:
    if not 0 <= at <= len(data) - struct.calcsize(form):
        raise TfliteError("cut short or damaged: an offset leads out of it")
    return struct.unpack_from(form, data, at)[0]


class _Table:
    def __init__(self, data: memoryview, at: int):
        self._data, self._at = data, at
        self._list = at - _whole(data, INT, at)
        self._fields = (_whole(data, "<H", self._list) - 4) // 2

    def _place(self, slot: int) -> int | None:
        offset = _whole(self._data, "<H", self._list + 4 + 2 * slot) if slot < self._fields else 0
        return self._at + offset if offset else None

    def _target(self, slot: int) -> int | None:
        place = self._place(slot)
        return None if place is None else place + _whole(self._data, UINT, place)

    def number(self, slot: int, form: str, default: int) -> int:
        place = self._place(slot)
        return default if place is None else _whole(self._data, form, place)

    def table(self, slot: int) -> "_Table | None":
        target = self._target(slot)
        return None if target is None else _Table(self._data, target)

    def bytes(self, slot: int, width: int = 1) -> memoryview:
        """The content of a vector whose items have `width` bytes."""
        target = self._target(slot)
        if target is None:
            return self._data[:0]
        start, size = target + 4, _whole(self._data, UINT, target) * width
        if size > len(self._data) - start:
            raise TfliteError("cut short or damaged: a list leads out of it")
        return self._data[start : start + size]

    def numbers(self, slot: int, kind: np.dtype) -> np.ndarray:
        return np.frombuffer(self.bytes(slot, kind.itemsize), kind)

    def tables(self, slot: int) -> list["_Table"]:
        """A vector of tables."""
        offsets = self.numbers(slot, np.dtype("<u4")).tolist()
        if len(offsets) > MOST_PARTS:
            raise TfliteError(f"{len(offsets)} parts in one list")
        start = (self._target(slot) or 0) + 4
        return [_Table(self._data, start + 4 * i + offset) for i, offset in enumerate(offsets)]
