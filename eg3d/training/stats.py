"""Running means of what the loop reports; one JSON line per tick."""

import json
import math
from pathlib import Path

import torch

from eg3d.files import atomic_write


class Stats:
    """Collects values between two ticks; tensors are read, and the device waited for, only when the line is written."""

    def __init__(self, pending: dict[str, torch.Tensor] | None = None):
        self._values: dict[str, list[torch.Tensor]] = {name: [v] for name, v in (pending or {}).items()}

    def add(self, name: str, value) -> None:
        """Reports a number or a tensor of any shape."""
        value = value.detach() if isinstance(value, torch.Tensor) else torch.tensor(float(value))
        self._values.setdefault(name, []).append(value.flatten().float())

    def pending(self) -> dict[str, torch.Tensor]:
        """What has been reported since the last line, for the training state."""
        return {name: torch.cat([v.cpu() for v in values]) for name, values in self._values.items()}

    def not_finite(self) -> str | None:
        """The first name whose mean is NaN or infinite, None when all is well."""
        return next((name for name, v in self.pending().items() if finite(v.double().mean()) is None), None)

    def line(self) -> dict[str, dict]:
        """{name: {num, mean, std}} of everything reported since the last call; NaN and infinity become None."""
        summary = {}
        for name, values in self.pending().items():
            v = values.double()
            summary[name] = {"num": len(v), "mean": finite(v.mean()), "std": finite(v.std(unbiased=False))}
        self._values.clear()
        return summary


def finite(value) -> float | None:
    """A float that JSON can hold, else None (published files contain a bare NaN, which no strict parser reads)."""
    value = float(value)
    return value if math.isfinite(value) else None


def drop_lines_after(path: Path, images_seen: int) -> None:
    """Removes lines that a run wrote after the state it is now continued from (it was killed in between)."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if 1000 * json.loads(line)["Progress/kimg"]["mean"] <= images_seen + 0.5]
        if len(kept) < len(lines):
            atomic_write(path, "".join(kept).encode())


def append_line(path: Path, line: dict) -> None:
    """Adds one JSON object to a .jsonl file."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")
