"""TensorFlow Lite files made by hand: a few operators with the constants that a test gives."""

import struct

import numpy as np

KINDS = {"float32": 0, "float16": 1, "int32": 2}
NUMBERS = {"ADD": 0, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "DEQUANTIZE": 6, "LOGISTIC": 14,
           "MAX_POOL_2D": 17, "RELU": 19, "RESHAPE": 22, "PAD": 34, "PRELU": 54}  # fmt: skip


class Byte(int):
    """A number that a table holds in one byte."""


class _Flatbuffer:
    """Tables as {field: value}. Values: whole numbers, `Byte`, arrays, bytes, tables and lists of tables."""

    def __init__(self, root: dict):
        self.data = bytearray(b"\0\0\0\0TFL3")
        self._point(0, self._table(root))

    def _point(self, at: int, target: int) -> None:
        struct.pack_into("<I", self.data, at, target - at)

    def _append(self, data: bytes) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        self.data += data
        return len(self.data) - len(data)

    def _table(self, fields: dict) -> int:
        slots = max(fields, default=-1) + 1
        offsets = [4 + 4 * list(fields).index(slot) if slot in fields else 0 for slot in range(slots)]
        where = self._append(struct.pack(f"<HH{slots}H", 4 + 2 * slots, 4 + 4 * len(fields), *offsets))
        at = self._append(bytes(4 + 4 * len(fields)))
        struct.pack_into("<i", self.data, at, at - where)
        for number, value in enumerate(fields.values()):
            place = at + 4 + 4 * number
            if isinstance(value, int):
                struct.pack_into("<b" if isinstance(value, Byte) else "<i", self.data, place, value)
            else:
                self._point(place, self._table(value) if isinstance(value, dict) else self._vector(value))
        return at

    def _vector(self, items) -> int:
        if not isinstance(items, list):
            items = np.asarray(items)
            return self._append(struct.pack("<I", items.size) + items.tobytes())
        at = self._append(struct.pack("<I", len(items)) + bytes(4 * len(items)))
        for number, item in enumerate(items):
            self._point(at + 4 + 4 * number, self._table(item))
        return at


def tflite(operators: list, shapes: dict, constants: dict, taken="picture", given=("out",)) -> bytes:
    """A file with these operators: (name, names of inputs, name of the output, {field: option}).

    shapes: of the tensors that are computed, by name; constants: arrays by name.
    """
    names = [*shapes, *constants]
    tensors, buffers = [], [{}]
    for name in names:
        array = constants.get(name)
        shape = shapes[name] if array is None else array.shape
        tensor = {0: np.array(shape, "<i4"), 1: Byte(0 if array is None else KINDS[array.dtype.name]), 2: 0}
        if array is not None:
            tensor[2] = len(buffers)
            buffers.append({0: np.frombuffer(array.tobytes(), np.uint8)})
        tensors.append(tensor)
    kinds = list(dict.fromkeys(name for name, *_ in operators))
    listed = [
        {0: kinds.index(name), 1: _numbers(names, inputs), 2: _numbers(names, [output]), 4: options}
        for name, inputs, output, options in operators
    ]
    graph = {0: tensors, 1: _numbers(names, [taken]), 2: _numbers(names, given), 3: listed}
    codes = [{0: Byte(NUMBERS[kind]), 3: NUMBERS[kind]} for kind in kinds]
    return bytes(_Flatbuffer({0: 3, 1: codes, 2: [graph], 4: buffers}).data)


def _numbers(names: list[str], wanted) -> np.ndarray:
    return np.array([names.index(name) for name in wanted], "<i4")
