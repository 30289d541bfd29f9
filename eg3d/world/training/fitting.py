"""One loop for every small network: epochs, Adam with a cosine, a state file after each epoch."""

import io
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from groundwork.draw_keys import draw_key
from groundwork.files import atomic_write

STATE_FILE = "state.pt"


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Settings of one training; `name` keys its draws."""

    name: str
    epochs: int
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 1e-4
    seed: int = 0


def fit(
    model: torch.nn.Module,
    loss_of: Callable[[torch.Tensor, torch.Generator], torch.Tensor],
    count: int,
    config: FitConfig,
    folder: Path,
    data: str = "",
) -> float:
    """Trains `model` in place on `count` samples and returns the last epoch's mean loss.

    Args:
        loss_of: indices [B] of samples, and the generator for every random draw -> a scalar loss.
        folder: holds `state.pt`, from which a stopped training goes on as if it had not stopped.
        data: says which samples they are; with others it does not go on.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    path, first, mean = Path(folder) / STATE_FILE, 0, math.nan
    if path.is_file():
        first, mean = _continue(path, model, optimizer, config, data)
    steps = count // config.batch_size
    with tqdm(total=config.epochs * steps, initial=first * steps, desc=config.name, unit="step") as bar:
        for epoch in range(first, config.epochs):
            draws = torch.Generator().manual_seed(draw_key(config.seed, config.name, epoch, 0))
            order, total = torch.randperm(count, generator=draws), 0.0
            model.train()
            for step in range(steps):
                done = (epoch * steps + step) / (config.epochs * steps)
                for group in optimizer.param_groups:
                    group["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * done))
                loss = loss_of(order[step * config.batch_size : (step + 1) * config.batch_size], draws)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += loss.item()
                bar.update()
            mean = total / steps
            if not math.isfinite(mean):
                raise ValueError(f"{config.name}: the loss of epoch {epoch + 1} is {mean}; lower lr={config.lr:g}")
            bar.set_postfix(loss=f"{mean:.4f}")
            _save(path, epoch + 1, mean, model, optimizer, config, data)
    model.eval()
    return mean


def _save(path: Path, epoch: int, loss: float, model, optimizer, config: FitConfig, data: str) -> None:
    buffer = io.BytesIO()
    state = {"config": asdict(config), "data": data, "epoch": epoch, "loss": loss, "model": model.state_dict()}
    torch.save(state | {"optimizer": optimizer.state_dict()["state"]}, buffer)
    atomic_write(path, buffer.getvalue())


def _continue(path: Path, model, optimizer, config: FitConfig, data: str) -> tuple[int, float]:
    state = torch.load(path, weights_only=True)
    if state["config"] != asdict(config):
        raise ValueError(f"{path}: belongs to a training with other settings; remove it or choose another --workdir")
    if state.get("data", "") != data:
        raise ValueError(f"{path}: belongs to a training on other data; remove it or choose another --workdir")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict({"state": state["optimizer"], "param_groups": optimizer.state_dict()["param_groups"]})
    return state["epoch"], state["loss"]
