"""Networks in ONNX, by onnxruntime on the CPU: an optional package (extra `onnx`)."""

from pathlib import Path

import torch


def open_onnx(data: bytes, path: Path):
    """An onnxruntime session; ValueError, one line, without the package or for another file."""
    try:
        import onnxruntime
    except ImportError:
        raise ValueError(f"{path}: .onnx needs onnxruntime; pip install 'gaze-corrected-eg3d[onnx]'") from None
    try:
        return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise ValueError(f"{path}: onnxruntime cannot read it ({' '.join(str(error).split())[:200]})") from None


@torch.no_grad()
def run_onnx(session, x: torch.Tensor) -> list[torch.Tensor]:
    """All outputs for the single input x [N, ...], on the device of x; a file fixed to a batch of one runs N times."""
    (taken,) = session.get_inputs()
    parts = x.cpu().split(1) if taken.shape[0] == 1 else [x.cpu()]
    outputs = zip(*(session.run(None, {taken.name: part.numpy()}) for part in parts), strict=True)
    return [torch.cat([torch.from_numpy(part) for part in parts]).to(x.device) for parts in outputs]
