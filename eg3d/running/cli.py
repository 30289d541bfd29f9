"""Option types and options shared by the click scripts of `eg3d`."""

import json
import math
import re
from collections import Counter
from pathlib import Path

import click

from eg3d.geometry.cameras import FFHQ_FOV_DEG
from eg3d.ops.kernels.backend import CHOICES, using
from eg3d.ops.precision import FORMATS, PRECISIONS
from groundwork.command import Command, check_writable, device_option, fail, pick_device, seed_option
from groundwork.files import atomic_write

__all__ = [
    "DISTINCT_SEEDS", "SEEDS", "Command", "check_writable", "device_option", "fail", "finite", "json_option",
    "view_options", "network_option", "ops_option", "pick_device", "precision_option", "process_options", "seed_option",
    "write_json",
]  # fmt: skip


LAST_SEED = 2**32 - 1  # of NumPy's RandomState, which draws every latent
MOST_SEEDS = 1_000_000


class SeedList(click.ParamType):
    """`0,1,4-6` -> [0, 1, 4, 5, 6]; ranges include both ends.

    A seed given twice counts once; where seeds are samples of a score, `distinct`, it is an error.
    """

    name = "seeds"

    def __init__(self, distinct: bool = False):
        self.distinct = distinct

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
            if last > LAST_SEED:
                self.fail(f"the seed {last} is too large; the largest is {LAST_SEED}", param, ctx)
            if len(seeds) + last - first >= MOST_SEEDS:
                self.fail(f"'{value}' are more than {MOST_SEEDS} seeds; give fewer", param, ctx)
            seeds.extend(range(first, last + 1))
        unique = list(dict.fromkeys(seeds))
        if self.distinct and len(unique) < len(seeds):
            again = next(seed for seed, times in Counter(seeds).items() if times > 1)
            self.fail(f"the seed {again} is given twice and would count twice; give it once", param, ctx)
        return unique


SEEDS, DISTINCT_SEEDS = SeedList(), SeedList(distinct=True)


def finite(ctx, param, value: float | None) -> float | None:
    """Callback of a number's option: refuses nan and inf, which click takes for numbers (nan even inside a range)."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number", ctx, param)
    return value


def _use_ops(ctx, param, value: str) -> None:
    """For as long as the command runs."""
    ctx.with_resource(using(value))


network_option = click.option(
    "--network",
    required=True,
    help="Generator: a .safetensors, published .pkl or .pt file, embedded, embedded-base, or an https:// address.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(list(PRECISIONS)),
    help=FORMATS + "  [default: as the network was built, fp16]",
)
ops_option = click.option(
    "--ops", type=click.Choice(CHOICES), default="auto", show_default=True, expose_value=False, callback=_use_ops,
    help="What computes: plain PyTorch, compiled kernels, or (auto) kernels where they can be had; see `eg3d doctor`.",
)  # fmt: skip
_trunc = click.option(
    "--trunc", type=float, callback=finite, default=0.7, show_default=True, help="Truncation psi; 1 turns it off."
)
_trunc_cutoff = click.option(
    "--trunc-cutoff", type=click.IntRange(min=0), default=14, show_default=True, help="Rows of ws truncated."
)
_fov_deg = click.option(
    "--fov-deg",
    type=click.FloatRange(1, 120),
    callback=finite,
    default=FFHQ_FOV_DEG,
    show_default=True,
    help="Field of view.",
)


def view_options(command):
    """--trunc, --trunc-cutoff and --fov-deg with the published defaults, for everything that renders seeds."""
    return _trunc(_trunc_cutoff(_fov_deg(command)))


_gpus = click.option(
    "--gpus", type=click.IntRange(min=1),
    help="Processes that share the work, one per GPU; under torchrun its number, left out.  [default: 1]",
)  # fmt: skip
_wait_minutes = click.option(
    "--wait-minutes", type=click.FloatRange(min=0, min_open=True), default=30, show_default=True,
    help="How long a process waits for another.",
)  # fmt: skip


def process_options(command):
    """--gpus, --wait-minutes and --device, for scripts that `eg3d.running.processes.start` runs."""
    return _gpus(_wait_minutes(device_option(command)))


json_option = click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Also write the numbers to this file."
)


def write_json(path: Path | None, value: dict) -> None:
    """Writes `value` as indented JSON, atomically; does nothing when no path was asked for."""
    if path is not None:
        atomic_write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())
