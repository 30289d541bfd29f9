"""Weights and pictures of the golden cases of the redirectors, rebuilt from names."""

import golden
import numpy as np
import torch


def torch_value(name: str, shape, seed: int = 0) -> torch.Tensor:
    """One entry of a PyTorch state dict: convolutions by their fan, norms near 1, biases near 0."""
    r = golden.draw(name, shape, seed)
    if r.ndim == 4:
        return r * (2 / (r.shape[1] * r.shape[2] * r.shape[3])) ** 0.5
    if name.endswith("running_var"):
        return 1 + 0.1 * r.abs()
    return 0.1 * r if name.endswith(("running_mean", "bias")) else 1 + 0.1 * r


def fill(network: torch.nn.Module, prefix: str) -> None:
    """Overwrites a state dict; `prefix` leads the names."""
    state = network.state_dict()
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            state[name] = torch_value(f"{prefix}.{name}", value.shape)
    network.load_state_dict(state)


def enlarged(blocks: torch.Tensor) -> torch.Tensor:
    """[..., h, w] with every number repeated 8 x 8."""
    return blocks.repeat_interleave(8, -1).repeat_interleave(8, -2)


def tensorflow_value(name: str, shape, seed: int = 0) -> np.ndarray:
    """One TensorFlow variable."""
    r = golden.draw(name, shape, seed).numpy()
    if r.ndim == 4:
        fan = 4 * shape[3] if "deconv" in name else shape[0] * shape[1] * shape[2]
        return r * np.float32((2 / fan) ** 0.5)
    if r.ndim == 2:
        return r / np.float32(shape[0] ** 0.5)
    if name.endswith("moving_variance"):
        return 1 + 0.1 * np.abs(r)
    return 1 + 0.1 * r if name.endswith("gamma") else 0.1 * r


def drawn_picture(name: str, height: int, width: int) -> torch.Tensor:
    """[2, 3, height, width] in [-1, 1]."""
    rows, columns = -(-height // 8), -(-width // 8)
    blocks = golden.draw(f"{name}_blocks", (2, rows, columns, 3), 0).permute(0, 3, 1, 2)
    noise = golden.draw(name, (2, height, width, 3), 0).permute(0, 3, 1, 2)
    return (0.4 * enlarged(blocks)[..., :height, :width] + 0.05 * noise).clamp(-1, 1)
