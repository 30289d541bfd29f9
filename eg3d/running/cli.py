"""Option types and options shared by the click scripts of `eg3d`."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps

import click

from eg3d.ops.kernels.backend import CHOICES, using
from eg3d.ops.precision import FORMATS, PRECISIONS
from eg3d.pictures.aims import parse_aim
from eg3d.pictures.shapes import DENSITY_LEVEL, SHAPE_FORMATS, ShapeOptions
from eg3d.pictures.views import PUBLISHED, ViewOptions
from groundwork.command import (
    SWITCH,
    Command,
    device_option,
    fail,
    json_option,
    option_stack,
    pick_device,
    seed_option,
    skip_damaged_option,
    skip_unmatched_option,
    tell,
    without_effect,
    write_json,
)  # fmt: skip
from groundwork.places import FOLDER, GENERATOR, OUTPUT_FILE, NamedInput, Output

__all__ = [
    "DISTINCT_SEEDS", "OUTPUT_FILE", "SEEDS", "SWITCH", "Command", "batch_option", "compute_options", "device_option",
    "drawing_options_without_effect", "fail", "gaze_option", "json_option", "network_of", "network_option",
    "ops_option", "outdir_option", "pick_device", "precision_option", "process_options", "seed_option",
    "shape_options", "shape_options_without_effect", "shared_compute_options", "skip_damaged_option",
    "skip_unmatched_option", "tell", "trunc_cutoff_option", "view_options", "without_effect", "write_json",
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


class ShapeFormat(click.Choice):
    """An ending of `SHAPE_FORMATS`; its dot may be left out."""

    def __init__(self):
        super().__init__(SHAPE_FORMATS, case_sensitive=False)

    def convert(self, value, param, ctx):
        return super().convert(value if value.startswith(".") else f".{value}", param, ctx)


class AimOf(click.ParamType):
    """`face`, `camera` or `YAW,PITCH` in degrees -> an Aim."""

    name = "gaze"

    def convert(self, value, param, ctx):
        try:
            return parse_aim(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


SEEDS, DISTINCT_SEEDS = SeedList(), SeedList(distinct=True)


def _use_ops(ctx, param, value: str) -> None:
    """For as long as the command runs."""
    ctx.with_resource(using(value))


def network_of(place: NamedInput):
    """--network."""
    text = (
        "Generator: a .safetensors, published .pkl or .pt file, embedded, people, the same with -base, "
        "embedded-control, or an https:// address."
    )
    return click.option("--network", type=place, required=True, help=text)


network_option = network_of(GENERATOR)


def outdir_option(writes: Sequence[str] | Callable[[dict], Sequence[str]]):
    """--outdir. writes: as `groundwork.places.Output` has it; the files of --shapes are added."""

    def files(arguments: dict) -> list[str]:
        pictures = writes(arguments) if callable(writes) else writes
        shapes = [f"{name}{arguments['shape_format']}" for name in ("seed[0-9]*", "*_shape") if arguments.get("shapes")]
        return [*pictures, *shapes]

    return click.option("--outdir", type=Output(FOLDER, files), required=True, help="Folder for the files.")


gaze_option = click.option(
    "--gaze", type=AimOf(), metavar="face|camera|YAW,PITCH",
    help="Where the eyes look, of a network whose gaze can be set; degrees in the head frame, positive to the left of "
    "a picture from the front, and up.  [default: face]",
)  # fmt: skip
trunc_cutoff_option = click.option(
    "--trunc-cutoff", type=click.IntRange(min=0), default=PUBLISHED.cutoff, show_default=True,
    help="Rows of ws truncated.",
)  # fmt: skip
_three_view_options = option_stack(
    click.option("--trunc", type=float, default=PUBLISHED.psi, show_default=True,
                 help="Truncation psi; 1 turns it off."),
    trunc_cutoff_option,
    click.option("--fov-deg", type=click.FloatRange(1, 120), default=PUBLISHED.fov_deg,
                 show_default=True, help="Field of view."),
)  # fmt: skip


def view_options(main):
    """--trunc, --trunc-cutoff and --fov-deg for whatever draws heads; `main` gets them as one argument, `view`."""

    @wraps(main)
    def with_view(*args, trunc: float, trunc_cutoff: int, fov_deg: float, **others):
        return main(*args, view=ViewOptions(trunc, trunc_cutoff, fov_deg), **others)

    return _three_view_options(with_view)


def shape_options(ending: str):
    """--shapes and what belongs to it, for whatever draws heads; `main` gets `shapes`, ShapeOptions or None.

    Args:
        ending: the default format.
    """
    options = option_stack(
        click.option("--shapes", **SWITCH, default=False,
                     help="Also write the shape of each head."),
        click.option("--shape-res", type=click.IntRange(min=4), default=512, show_default=True,
                     help="Voxels per side."),
        click.option("--shape-format", type=ShapeFormat(), default=ending, show_default=True,
                     help="Volume of densities (.mrc), mesh, or mesh with colours (.glb, .obj); in world units."),
        click.option("--shape-level", type=float, default=DENSITY_LEVEL, show_default=True,
                     help="Raw density of the mesh."),
        click.option("--largest-piece", **SWITCH, default=False, help="Only the largest connected piece of the mesh."),
    )  # fmt: skip

    def add(main):
        @wraps(main)
        def with_shapes(*args, shapes, shape_res, shape_format, shape_level, largest_piece, **others):
            if largest_piece and not shapes:
                raise ValueError("--largest-piece: no shape is asked for; add --shapes")
            wanted = ShapeOptions(shape_res, shape_format, shape_level, largest_piece) if shapes else None
            return main(*args, shapes=wanted, **others)

        return options(with_shapes)

    return add


def batch_option(default: int, text: str = "Seeds rendered at a time."):
    """--batch, with a default that suits the script."""
    return click.option("--batch", type=click.IntRange(min=1), default=default, show_default=True, help=text)


precision_option = click.option(
    "--precision",
    type=click.Choice(list(PRECISIONS)),
    help=FORMATS + "  [default: as the network was built, fp16]",
)
ops_option = click.option(
    "--ops", type=click.Choice(CHOICES), default="auto", show_default=True, expose_value=False, callback=_use_ops,
    help="What computes: plain PyTorch, compiled kernels, or (auto) kernels where they can be had; see `eg3d doctor`.",
)  # fmt: skip
# For scripts that `eg3d.running.processes.start` runs.
process_options = option_stack(
    click.option("--gpus", type=click.IntRange(min=1),
                 help="Processes that share the work, one per GPU; under torchrun its number, left out.  [default: 1]"),
    click.option("--wait-minutes", type=click.FloatRange(min=0, min_open=True), default=30, show_default=True,
                 help="How long a process waits for another."),
    device_option,
)  # fmt: skip
# For scripts that run a generator, in one process or in several.
compute_options = option_stack(precision_option, ops_option, device_option)
shared_compute_options = option_stack(precision_option, ops_option, process_options)
# Published options of every script that draws, which do nothing here.
drawing_options_without_effect = option_stack(
    without_effect("--class", "the generators are conditioned on cameras, not on classes", type=int),
    without_effect("--reload_modules", "a network is always built by the code of this repository, whatever its file "
                   "holds", **SWITCH),
)  # fmt: skip
PICTURES_ONLY = "this script makes pictures only, as published; gen_samples.py makes shapes"
# For scripts that have them as published, but never made a shape.
shape_options_without_effect = option_stack(
    without_effect("--shapes", PICTURES_ONLY, **SWITCH),
    without_effect("--shape-res", PICTURES_ONLY, type=click.IntRange(min=4)),
    without_effect("--shape-format", PICTURES_ONLY, type=ShapeFormat()),
)  # fmt: skip
