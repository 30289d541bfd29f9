"""Option types and options shared by the click scripts of `eg3d`."""

import json
import re
from pathlib import Path

import click

from eg3d.files import atomic_write
from l2cs.cli import Command, device_option, fail, pick_device, seed_option

__all__ = [
    "SEEDS", "Command", "device_option", "fail", "json_option", "pick_device", "seed_option", "write_json",
]  # fmt: skip


class SeedList(click.ParamType):
    """`0,1,4-6` -> [0, 1, 4, 5, 6]; ranges include both ends."""

    name = "seeds"

    def convert(self, value, param, ctx):
        if isinstance(value, list):
            return value
        seeds: list[int] = []
        for part in str(value).split(","):
            match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
            if not match:
                self.fail(f"'{value}' is not a list of seeds; write for example 0,1,4-6", param, ctx)
            first, last = int(match[1]), int(match[2] or match[1])
            if last < first:
                self.fail(f"the range {part.strip()} runs backwards; write {last}-{first}", param, ctx)
            seeds.extend(range(first, last + 1))
        return seeds


SEEDS = SeedList()

json_option = click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Also write the numbers to this file."
)


def write_json(path: Path | None, value: dict) -> None:
    """Writes `value` as indented JSON, atomically; does nothing when no path was asked for."""
    if path is not None:
        atomic_write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())
