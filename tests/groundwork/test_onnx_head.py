"""What the first nodes of an ONNX file tell about the pictures that it wants; read without onnxruntime."""

from pathlib import Path

import numpy as np
import pytest
from tiny_onnx import attribute, block, constant_node, model, node, tensor, whole_numbers

from groundwork.onnx_file import channels_last
from groundwork.onnx_head import Wanted, wanted_by

FAULT = Path(__file__).resolve().parent.parent / "data" / "faults" / "b04"
LAST_TO_FIRST = block(5, attribute("perm", 8, [0, 3, 1, 2]))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def chain(*steps, tensors=None, shape=("N", 3, 112, 112)) -> bytes:
    """A graph of steps (operation, names of constants); the last one's output is that of the file."""
    nodes, x = [], "x"
    for k, (operation, *others) in enumerate(steps):
        nodes.append(node(operation, [x, *others], f"y{k}"))
        x = f"y{k}"
    return model([*nodes, node("Flatten", [x], "out")], tensors or {}, ("x", list(shape)), [("out", ["N", 9])])


def per_channel(values, last=False):
    return np.reshape(values, (1, 1, 1, 3) if last else (1, 3, 1, 1))


BYTES_MEAN = per_channel([255 * m for m in MEAN])
CASES = {
    "nothing": (chain(), Wanted()),
    "Sub and Mul": (chain(("Sub", "m"), ("Mul", "s"), tensors={"m": [127.5], "s": [1 / 128]}), Wanted("bytes")),
    "Sub and Div": (chain(("Sub", "m"), ("Div", "s"), tensors={"m": [127.5], "s": [127.5]}), Wanted("bytes")),
    "Mul and Add": (chain(("Mul", "s"), ("Add", "m"), tensors={"m": [-1.0], "s": [1 / 127.5]}), Wanted("bytes")),
    "Div alone": (chain(("Div", "s"), tensors={"s": [255.0]}), Wanted("bytes")),
    "no constant": (chain(("Sub", "elsewhere"), ("Mul", "s"), tensors={"s": [1 / 128]}), Wanted()),
    "of the unit": (chain(("Sub", "m"), ("Div", "s"), tensors={"m": [0.5], "s": [0.5]}), Wanted("unit")),
    "ImageNet on bytes": (
        chain(("Sub", "m"), ("Div", "s"), tensors={"m": BYTES_MEAN, "s": per_channel([255 * s for s in STD])}),
        Wanted("bytes", "rgb"),
    ),
    "ImageNet, blue first": (
        chain(("Sub", "m"), tensors={"m": per_channel([103.53, 116.28, 123.675])}), Wanted("bytes", "bgr"),
    ),
    "ImageNet on the unit": (
        chain(("Sub", "m"), ("Div", "s"), tensors={"m": per_channel(MEAN), "s": per_channel(STD)}),
        Wanted("unit", "rgb"),
    ),
    "after a cast and a transpose": (
        chain(("Cast",), ("Transpose",), ("Sub", "m"), ("Mul", "s"), tensors={"m": [127.5], "s": [1 / 128]},
              shape=("N", 112, 112, 3)),
        Wanted("bytes"),
    ),
    "batch normalisation": (
        chain(("BatchNormalization", "g", "b", "m", "v"),
              tensors={"g": [1.0] * 3, "b": [0.0] * 3, "m": [127.5] * 3, "v": [128.0**2] * 3}),
        Wanted("bytes"),
    ),
    "channels turned before ImageNet": (
        model([node("Gather", ["x", "i"], "t"), node("Sub", ["t", "m"], "y")], {"m": BYTES_MEAN}, ("x", ["N", 3, 9, 9]),
              [("y", ["N", 9])], more=[whole_numbers("i", [2, 1, 0])]),
        Wanted("bytes", "bgr"),
    ),
    "channels sliced backwards": (
        model([node("Slice", ["x", "a", "b", "c", "d"], "t")], {}, ("x", ["N", 3, 9, 9]), [("t", ["N", 9])],
              more=[whole_numbers("d", [-1])]),
        Wanted(None, "bgr"),
    ),
    "a constant in a node": (
        model([constant_node("m", tensor("", [127.5])), constant_node("s", np.float32(1 / 128)),
               node("Sub", ["x", "m"], "a"), node("Mul", ["a", "s"], "y")], {}, ("x", ["N", 3, 9, 9]),
              [("y", ["N", 9])]),
        Wanted("bytes"),
    ),
    "a constant that goes through another name": (
        model([node("Identity", ["m"], "again"), node("Sub", ["x", "again"], "a"), node("Mul", ["a", "s"], "y")],
              {"m": [127.5], "s": [1 / 128]}, ("x", ["N", 3, 9, 9]), [("y", ["N", 9])]),
        Wanted("bytes"),
    ),
    "channels moved to the second place": (
        model([node("Sub", ["x", "m"], "a"), node("Transpose", ["a"], "y") + LAST_TO_FIRST], {"m": [127.5]},
              ("x", ["N", "H", "W", "C"]), [("y", ["N", 9])]),
        Wanted("bytes", channels_last=True),
    ),
    "a learned normalisation of [-1, 1]": (
        chain(("BatchNormalization", "g", "b", "m", "v"),
              tensors={"g": [1.0] * 3, "b": [0.0] * 3, "m": [0.02] * 3, "v": [0.3] * 3}),
        Wanted(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_first_nodes_tell_scale_and_order(case):
    data, expected = CASES[case]
    assert wanted_by(data) == expected


@pytest.mark.parametrize(
    ("shape", "moved", "last"),
    [
        (["N", 3, 112, 112], False, False), ([1, 112, 112, 3], False, True), (["N", 3, "H", "W"], True, False),
        (["N", "H", "W", 3], False, True), (["N", "C", "H", "W"], False, False), (["N", "H", "W", "C"], True, True),
        ([None] * 4, True, True), (["N", "C", 112, 112], True, False), (["N", 112, 112, "C"], False, True),
        (["N", 1, 112, 112], False, None), (["N", 112, 112, 1], True, None), ([3, 112, 112], False, None),
    ],
)  # fmt: skip
def test_shape_and_graph_tell_where_the_channels_are(shape, moved, last):
    assert channels_last(shape, moved) is last


def test_the_files_of_the_report_are_told_apart():
    assert wanted_by((FAULT / "inside.onnx").read_bytes()) == Wanted("bytes")
    assert wanted_by((FAULT / "plain.onnx").read_bytes()) == Wanted()


def test_damaged_files_tell_nothing_and_raise_nothing():
    data = (FAULT / "inside.onnx").read_bytes()[:400]
    draws = np.random.default_rng(0)
    for cut in range(0, len(data), 7):
        wanted_by(data[:cut])
        damaged = bytearray(data)
        damaged[draws.integers(len(data))] = draws.integers(256)
        wanted_by(bytes(damaged))
    assert wanted_by(b"") == wanted_by(b"\xff" * 100) == wanted_by(attribute("x", 2, b"1234")) == Wanted()
