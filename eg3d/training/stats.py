"""Running means of what the trainer reports, and files of JSON lines."""

import json
import math
import os
from pathlib import Path

import torch

from eg3d.running import distributed
from groundwork.files import atomic_write, open_regular
from groundwork.strict_json import JsonError, parse_json

LARGEST_FILE = 1 << 28  # bytes; a line has some 3,000, and a run some thousand lines


class Stats:
    """Collects values between two ticks. It does not wait for the device of a tensor until a line is written."""

    def __init__(self, pending: dict[str, torch.Tensor] | None = None):
        self._values: dict[str, list[torch.Tensor]] = {name: [v] for name, v in (pending or {}).items()}

    def add(self, name: str, value) -> None:
        """Reports a number or a tensor of any shape."""
        value = value.detach() if isinstance(value, torch.Tensor) else torch.tensor(float(value))
        self._values.setdefault(name, []).append(value.flatten().float())

    def pending(self) -> dict[str, torch.Tensor]:
        """What has been reported since the last line, for the training state."""
        return {name: torch.cat([v.cpu() for v in values]) for name, values in self._values.items()}

    def collect(self) -> None:
        """Moves what all processes have reported to rank 0."""
        reports = distributed.gather(self.pending()) if distributed.size() > 1 else []
        if reports:
            self._values.clear()
        if distributed.rank() == 0:
            for report in reports:
                for name, values in report.items():
                    self._values.setdefault(name, []).append(values)

    def not_finite(self) -> str | None:
        """The first name whose mean is NaN or infinite; None if all are finite."""
        return next((name for name, v in self.pending().items() if finite(v.double().mean()) is None), None)

    def line(self) -> dict[str, dict]:
        """{name: {num, mean, std}} of everything reported since the last call; NaN and infinity become None.

        Sums are exact, so that they do not depend on the order in which processes report.
        """
        summary = {}
        for name, values in self.pending().items():
            v = values.double().tolist()
            if all(map(math.isfinite, v)):
                mean = math.fsum(v) / len(v)
                std = math.sqrt(math.fsum((x - mean) ** 2 for x in v) / len(v))
            else:
                mean = std = None
            summary[name] = {"num": len(v), "mean": mean, "std": std}
        self._values.clear()
        return summary


def finite(value) -> float | None:
    """A float that JSON can hold, else None. (Published files contain a bare NaN, which no strict parser reads.)"""
    value = float(value)
    return value if math.isfinite(value) else None


def drop_lines_after(path: Path, images_seen: int) -> None:
    """Deletes the lines that a run wrote after `images_seen`, the position of the state that it goes on from.

    Args: path of stats.jsonl or metric-NAME.jsonl; a metric's line without `images_seen` is kept: no run wrote it.
    Errors: ValueError if the file is damaged; it is left as it is.
    """
    if path.exists():
        lines = _numbered(path)
        kept = b"".join(
            text + b"\n" for number, text, line in lines if _position(line, path, number) <= images_seen + 0.5
        )
        if kept != path.read_bytes():
            atomic_write(path, kept)


def _position(line: dict, path: Path, number: int) -> float:
    position, unit = line.get("images_seen", 0), 1
    if "Progress/kimg" in line:
        kimg, unit = line["Progress/kimg"], 1000
        position = kimg.get("mean") if isinstance(kimg, dict) else None
    if not _is_number(position):
        raise _damaged(path, number)
    return unit * position


def read_lines(path: Path) -> list[dict]:
    """The objects of a .jsonl file; none if it is not there. A last line that a full disk has cut is left out.

    Errors: ValueError, naming file and line, if another line is no object.
    """
    return [line for _, _, line in _numbered(path)]


def read_means(path: Path) -> list[dict]:
    """Like `read_lines`, of a stats.jsonl: each name but the time has the mean of so many numbers, None if not finite.

    Errors: ValueError, naming file and line, for anything else.
    """
    found = _numbered(path)
    for number, _, line in found:
        for name, value in line.items():
            entry = value if isinstance(value, dict) else {}
            mean = entry.get("mean", "missing")
            well = type(entry.get("num")) is int and (mean is None or _is_number(mean))
            if not (well or (name == "timestamp" and _is_number(value))):
                raise _damaged(path, number)
        if "Progress/kimg" not in line or line["Progress/kimg"]["mean"] is None:
            raise _damaged(path, number)
    return [line for _, _, line in found]


def _is_number(value) -> bool:
    return type(value) in (int, float)


def _numbered(path: Path) -> list[tuple[int, bytes, dict]]:
    """Like `read_lines`, with number (from 1 on) and text of each line."""
    if not path.exists():
        return []
    found = []
    with open_regular(path) as file:
        if (size := os.fstat(file.fileno()).st_size) > LARGEST_FILE:
            raise ValueError(f"{path}: has {size} bytes, more than any run writes; remove it, and start again")
        *lines, last = file.read().split(b"\n")
    if last and not last.startswith(b"{"):
        raise _damaged(path, len(lines) + 1)  # no line that was cut off: those begin as all do
    for number, text in enumerate(lines, 1):
        if not text:
            continue
        try:
            line = parse_json(text)
        except JsonError:
            raise _damaged(path, number) from None
        if not isinstance(line, dict):
            raise _damaged(path, number)
        found.append((number, text, line))
    return found


def _damaged(path: Path, number: int) -> ValueError:
    return ValueError(f"{path}: line {number} is damaged; remove that line, or the file, and start again")


def append_line(path: Path, line: dict) -> None:
    """Adds one JSON object to a .jsonl file and waits for the disk, so that no state is written before its lines."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
