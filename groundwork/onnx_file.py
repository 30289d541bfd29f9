"""Networks in ONNX, by onnxruntime on the CPU: an optional package (extra `onnx`)."""

from pathlib import Path

import torch

from groundwork.onnx_head import wanted_by

DTYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(uint8)": torch.uint8}


def scaled(pictures: torch.Tensor, scale: str) -> torch.Tensor:
    """Pictures in [-1, 1] -> on a scale of groundwork.onnx_head.SCALES."""
    if scale == "signed":
        return pictures
    return (pictures + 1) / 2 * (255 if scale == "bytes" else 1)


class OnnxNetwork:
    """A network of square pictures in an ONNX file.

    Attributes: side: pixels per side of its pictures, None if the file leaves it open; scale, order: of its pictures,
    as the graph tells (groundwork/onnx_head.py), None if it does not; order may be set.
    """

    def __init__(self, data: bytes, path: Path, what: str):
        """ValueError, one line, without the package or for a file of another kind; what: `an ArcFace model`."""
        self._session, self._path = _session(data, path), path
        taken, *more = self._session.get_inputs()
        self._name, shape = taken.name, list(taken.shape)
        wanted = wanted_by(data)
        self._channels_last = channels_last(shape, wanted.channels_last)
        sides = {side for side in (shape[1:3] if self._channels_last else shape[2:]) if isinstance(side, int)}
        if more or taken.type not in DTYPES or self._channels_last is None or len(sides) > 1:
            raise ValueError(f"{path}: takes {taken.type} {shape}; {what} takes one input [N, 3, S, S] or [N, S, S, 3]")
        self._dtype, self._batch = DTYPES[taken.type], shape[0] if isinstance(shape[0], int) else None
        self.side = sides.pop() if sides else None
        self.scale, self.order = "bytes" if self._dtype == torch.uint8 else wanted.scale, wanted.order

    @torch.no_grad()
    def __call__(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """All outputs for pictures [N, 3, S, S], RGB, on the scale that it wants; on their device.

        A file that is fixed to a batch gets batches of that size, the last one filled up.
        """
        x = pictures.cpu()
        x = x.flip(1) if self.order == "bgr" else x
        x = x.movedim(1, 3) if self._channels_last else x
        x = x.round().clamp(0, 255) if self._dtype == torch.uint8 else x
        size, parts = self._batch or max(len(x), 1), []
        for part in x.to(self._dtype).split(size):
            missing = size - len(part) if self._batch else 0
            filled = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]).contiguous()
            outputs = self._session.run(None, {self._name: filled.numpy()})
            parts.append([torch.from_numpy(output)[: len(part)] for output in outputs])
        return [torch.cat(pieces).to(pictures.device) for pieces in zip(*parts, strict=True)]


def channels_last(shape: list, moved: bool) -> bool | None:
    """Whether the three channels are the last axis of an input, not the second one; None if they are neither.

    moved: whether the graph moves the last axis to that place; this tells where the file leaves both axes open.
    """
    if len(shape) != 4:
        return None
    first, last = (2 if n == 3 else 0 if isinstance(n, int) else 1 for n in (shape[1], shape[3]))  # 1: it may be
    if first == last == 0:
        return None
    return last > first or (first == last == 1 and moved)


def _session(data: bytes, path: Path):
    try:
        import onnxruntime
    except ImportError:
        raise ValueError(f"{path}: .onnx needs onnxruntime; pip install 'gaze-corrected-eg3d[onnx]'") from None
    try:
        return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise ValueError(f"{path}: onnxruntime cannot read it ({' '.join(str(error).split())[:200]})") from None
