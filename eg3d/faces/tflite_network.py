"""A TensorFlow Lite graph as a PyTorch module: in batches, on any device, and gradients reach the picture.

Tensors lie as in the file, [N, H, W, C]; for PyTorch's convolutions the axes are only named in another order, which
moves no number. Operators are those of `tflite_file.OPERATORS`, which is what the face networks of MediaPipe need.
"""

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from eg3d.faces.packaged import PackagedFile
from eg3d.faces.tflite_file import Graph, Operator, TfliteError, read_graph


class TfliteNetwork(nn.Module):
    """Pictures [N, 3, S, S] on the scale that the network wants -> its outputs, each [N, ...] in the file's layout.

    Attributes: side: S.
    """

    def __init__(self, graph: Graph):
        """TfliteError if the operators do not fit together."""
        super().__init__()
        if len(graph.inputs) != 1 or not graph.outputs:
            raise TfliteError(f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs; one picture is to go in")
        shape = graph.shapes[graph.inputs[0]]
        if len(shape) != 4 or shape[0] != 1 or shape[1] != shape[2] or shape[3] != 3:
            raise TfliteError(f"it takes {list(shape)}; a square picture is to go in")
        self.side, self._graph = shape[1], graph
        for number, constant in graph.constants.items():
            if constant.dtype.kind == "f":  # whole numbers are settings, see `_step`
                self.register_buffer(_name(number), torch.from_numpy(constant.astype("float32")))
        self._steps = [_step(one, graph) for one in graph.operators if not self._is_folded(one)]
        self._last_use = {number: at for at, step in enumerate(self._steps) for number in step.inputs}
        self._try_shapes()

    def _is_folded(self, one: Operator) -> bool:
        """Takes over a constant that the file holds in half precision: here all are float32 already."""
        if one.name != "DEQUANTIZE":
            return False
        if len(one.inputs) != 1 or len(one.outputs) != 1 or one.inputs[0] not in self._graph.constants:
            raise TfliteError("DEQUANTIZE of what is no constant")
        self.register_buffer(_name(one.outputs[0]), getattr(self, _name(one.inputs[0])))
        return True

    def _try_shapes(self) -> None:
        """Computes shapes alone, and compares them with those that the file says."""
        trial = copy.deepcopy(self).to("meta")
        try:
            trial._run(torch.empty(1, 3, self.side, self.side, device="meta"), check=True)
        except TfliteError:
            raise
        except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise TfliteError(f"its operators do not fit together ({' '.join(str(error).split())[:100]})") from None

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        return self._run(pictures)

    def _run(self, pictures: torch.Tensor, check: bool = False) -> list[torch.Tensor]:
        outputs = self._graph.outputs
        values = {self._graph.inputs[0]: pictures.float().permute(0, 2, 3, 1).contiguous()}
        for at, (name, inputs, target, settings) in enumerate(self._steps):
            given = [values[number] if number in values else getattr(self, _name(number)) for number in inputs]
            values[target] = COMPUTED[name](*given, **settings)
            got, said = tuple(values[target].shape), self._graph.shapes[target]
            if check and got != said:
                raise TfliteError(f"{name} gives {list(got)}, and the file says {list(said)}")
            for number in set(inputs) - set(outputs):
                if self._last_use[number] == at:
                    values.pop(number, None)
        return [values[number] for number in outputs]


def load_tflite(file: PackagedFile, device="cpu") -> TfliteNetwork:
    """The network of an installed package, frozen. ValueError, one line, if it is not there or damaged."""
    data = file.read()
    try:
        network = TfliteNetwork(read_graph(data))
    except TfliteError as error:
        raise ValueError(f"{file.path()}: {error}; {file.package.install}") from None
    return network.requires_grad_(False).eval().to(device)


def _name(number: int) -> str:
    return f"constant_{number}"


class _Step(NamedTuple):
    """name: in COMPUTED; inputs, target: numbers of tensors; settings: what the operator takes besides tensors."""

    name: str
    inputs: list[int]
    target: int
    settings: dict


def _step(one: Operator, graph: Graph) -> _Step:
    """An operator as it is computed: what stands in constants of whole numbers is a setting."""
    if not one.inputs or len(one.outputs) != 1:
        raise TfliteError(f"{one.name} of {len(one.inputs)} tensors gives {len(one.outputs)}")
    inputs, settings, target = [number for number in one.inputs if number >= 0], one.settings, one.outputs[0]
    if one.name == "RESHAPE":
        inputs, settings = inputs[:1], {"shape": graph.shapes[target]}
    if one.name == "PAD":
        widths = graph.constants.get(one.inputs[-1])
        if len(inputs) != 2 or widths is None or widths.dtype.kind != "i" or widths.ndim != 2:
            raise TfliteError("PAD by widths that are no constant")
        inputs, settings = inputs[:1], {"widths": widths.tolist()}
    return _Step(one.name, inputs, target, settings)


# ------------------------------------------------------------------ operators, on tensors [N, H, W, C]


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Pixels before and after: the output has size / stride pixels, rounded up, and what is odd comes after."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def _padded(x, kernel, stride, dilation, padding: str, value: float = 0.0):
    """x [N, C, H, W] with the border that `padding` asks for."""
    if padding == "valid":
        return x
    rows, columns = (same_padding(x.shape[2 + i], kernel[i], stride[i], dilation[i]) for i in range(2))
    return F.pad(x, (*columns, *rows), value=value) if any((*rows, *columns)) else x


def _channels_second(x):
    return x.permute(0, 3, 1, 2)


def _channels_last(x):
    return x.permute(0, 2, 3, 1)


def _activated(x, activation: str):
    return x.relu() if activation == "relu" else x


def conv_2d(x, weight, bias=None, *, padding, stride_w, stride_h, dilation_w, dilation_h, activation, groups=1):
    """x [N, H, W, C], weight [O, h, w, C / groups]."""
    stride, dilation = (stride_h, stride_w), (dilation_h, dilation_w)
    x = _padded(_channels_second(x), weight.shape[1:3], stride, dilation, padding)
    return _activated(
        _channels_last(F.conv2d(x, _channels_second(weight), bias, stride, 0, dilation, groups)), activation
    )


def depthwise_conv_2d(x, weight, bias=None, **settings):
    """weight [1, h, w, C]: one kernel for each channel."""
    return conv_2d(x, weight.permute(3, 1, 2, 0), bias, **settings, groups=x.shape[-1])


def max_pool_2d(x, *, padding, stride_w, stride_h, filter_w, filter_h, activation):
    kernel, stride = (filter_h, filter_w), (stride_h, stride_w)
    x = _padded(_channels_second(x), kernel, stride, (1, 1), padding, -torch.inf)
    return _activated(_channels_last(F.max_pool2d(x, kernel, stride)), activation)


def prelu(x, slope):
    """slope [1, 1, C]: one for each channel."""
    if slope.numel() != slope.shape[-1]:
        raise TfliteError(f"PRELU with slopes {list(slope.shape)}")
    return _channels_last(F.prelu(_channels_second(x), slope.flatten()))


def pad(x, *, widths):
    """widths: numbers before and after, of each axis."""
    return F.pad(x, [width for pair in reversed(widths) for width in pair])


COMPUTED = {
    "ADD": lambda a, b, *, activation: _activated(a + b, activation),
    "CONCATENATION": lambda *parts, axis, activation: _activated(torch.cat(parts, dim=axis), activation),
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "MAX_POOL_2D": max_pool_2d,
    "PAD": pad,
    "PRELU": prelu,
    "RELU": lambda x: x.relu(),
    "RESHAPE": lambda x, *, shape: x.reshape(-1, *shape[1:]),
}
