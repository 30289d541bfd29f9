"""What every click script of this repository shares: one-line errors with exit code 2, checks of the places to write
to, and the choice of a device.

`l2cs` uses it as it is; `eg3d.running.cli` adds what its own scripts share.
"""

import contextlib
import json
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

import click
from tqdm import tqdm

from groundwork import damage
from groundwork.console import patient_console
from groundwork.early import DEBUG_VARIABLE, MORE_MEMORY, ended_by, exhausted, stoppable
from groundwork.files import REPOSITORY, atomic_write
from groundwork.matching import FLAG, HELP
from groundwork.numbers import check_numbers
from groundwork.places import OUTPUT_FILE, REMEDIES, check_places
from groundwork.strict_pickle import one_line


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Inside, a warning is one line without the place in the code that gave it."""
    before = warnings.formatwarning

    def short(message, category, *place) -> str:
        return f"warning: {message}\n" if category is UserWarning else before(message, category, *place)

    warnings.formatwarning = before if os.environ.get(DEBUG_VARIABLE) else short
    try:
        yield
    finally:
        warnings.formatwarning = before


class Command(click.Command):
    """A click command whose user errors are one line on stderr and exit code 2.

    `ValueError` and `OSError` are the errors a user can cause (style: `assert` is for our own slips). Set EG3D_DEBUG=1
    to see the traceback instead. Places to read and to write are checked before the body (`groundwork.places`).
    Options may be written with dashes or underscores (`one_spelling`).
    """

    def __init__(self, *args, **more):
        names = {"help_option_names": ["-h", "--help"], "token_normalize_func": one_spelling}
        super().__init__(*args, **more | {"context_settings": names | (more.get("context_settings") or {})})
        self.version_option = click.Option(
            ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=_show_version,
            help="Show the version and exit.",
        )  # fmt: skip

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        *own, last = super().get_params(ctx)
        return [*own, self.version_option, last]  # the last is --help

    def invoke(self, ctx: click.Context):
        try:
            check_numbers(self.params, ctx.params)
            check_places(self.params, ctx.params, writes=os.environ.get("RANK", "0") == "0")
        except ValueError:
            if os.environ.get("LOCAL_RANK", "0") != "0":  # under torchrun the first process of a machine says it
                sys.exit(2)
            raise
        return super().invoke(ctx)

    def main(self, args=None, prog_name=None, complete_var=None, standalone_mode=True, **extra):
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        with patient_console() as check_output:
            try:
                with stoppable(), plain_warnings():
                    super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
                check_output()
            except click.exceptions.Exit as stop:
                sys.exit(stop.exit_code)
            except (click.Abort, KeyboardInterrupt) as stop:
                end_bars()
                line, code = ended_by(stop.__cause__ or stop.__context__ or stop)  # click makes Abort of Ctrl-C
                click.echo(line, err=True)
                sys.exit(code)
            except click.ClickException as error:
                fail(error.format_message())
            except (ValueError, OSError, MemoryError, RuntimeError, ImportError) as error:
                line = self._line_on_memory(error)
                if os.environ.get(DEBUG_VARIABLE) or (line is None and not isinstance(error, (ValueError, OSError))):
                    raise
                fail(line or describe(error))
            sys.exit(0)

    def _line_on_memory(self, error: Exception) -> str | None:
        """The line of `exhausted`, with the option that makes do with less if there is one."""
        line = exhausted(error)
        if line is None or "memory" not in line:
            return line
        smaller = [f"give a smaller --{option.name}" for option in self.params if option.name == "batch"]
        return f"{line}; {', or '.join([*smaller, MORE_MEMORY])}"


def package_version() -> str:
    """Of the checkout, else of the installed package."""
    if REPOSITORY is None:
        return version("gaze-corrected-eg3d")
    return re.search(r'^version = "(.+)"$', (REPOSITORY / "pyproject.toml").read_text("utf-8"), re.MULTILINE)[1]


def _show_version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"gaze-corrected-eg3d {package_version()}")
        ctx.exit()


def one_spelling(token: str) -> str:
    """`--gen_pose_cond` -> `--gen-pose-cond`: click compares what this makes of the options it has and those it gets.

    The published scripts mix both spellings, even inside one script.
    """
    return token.replace("_", "-")


def without_effect(flag: str, why: str, *spellings: str, **more):
    """A published option that does nothing here: it is accepted, and one line says why.

    False asks for nothing, and gets no answer. spellings: others of the flag; more: as of click.option.
    """

    def answer(ctx, param, value):
        if value is not None and value is not False and os.environ.get("RANK", "0") == "0":
            tell([f"{flag}={value} does nothing here: {why}"])

    return click.option(
        flag, *spellings, expose_value=False, callback=answer, help=f"Does nothing here: {why}.", **more
    )


def describe(error: Exception) -> str:
    """One line for an exception; operating-system errors name their file and say what to do."""
    if isinstance(error, OSError) and error.strerror:
        reason = REMEDIES.get(error.errno, error.strerror)
        return f"{error.filename}: {reason}" if error.filename else reason
    if isinstance(error, UnicodeEncodeError):
        of_system = sys.getfilesystemencoding() != "utf-8"
        remedy = "set LC_ALL=C.UTF-8, this system's names lack a letter" if of_system else "is no UTF-8; rename it"
        return f"{error.object[:200]!a}: {remedy}"
    return str(error)


def end_bars() -> None:
    """Ends the line of every progress bar that is still open, so that what follows has a line of its own."""
    for bar in list(getattr(tqdm, "_instances", ())):
        bar.close()


def fail(message: str) -> None:
    """Prints `error: message` as one line on stderr and exits with code 2."""
    end_bars()
    click.echo("error: " + " ".join(message.split()), err=True)
    sys.exit(2)


def tell(notes: Iterable[str], warnings: Iterable[str] = ()) -> None:
    """Prints lines that the user must know and that are no errors, on stderr."""
    for kind, lines in (("note", notes), ("warning", warnings)):
        for line in lines:
            tqdm.write(f"{kind}: {one_line(line, 1000)}", file=sys.stderr)


def pick_device(name: str):
    """auto | cpu | cuda -> torch.device; asking for CUDA where there is none is an error.

    Also makes PyTorch compute true float32 on a GPU from now on: with TF32, ten bits of a mantissa, the angles of a
    gaze network and the scores made of them would depend on the machine.
    """
    import torch  # here: it takes seconds, and commands that do not compute use this module too

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device=cuda: PyTorch sees no CUDA device here; use --device=cpu or --device=auto")
    return torch.device(name)


device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random draw."
)
# A flag that may stand alone or have a value: `--shapes`, `--shapes=True` (published), `--shapes=0`.
SWITCH = {"type": bool, "is_flag": False, "flag_value": True, "metavar": "[True|False]"}
skip_damaged_option = click.option(damage.FLAG, **SWITCH, default=False, help=damage.HELP)
skip_unmatched_option = click.option(FLAG, **SWITCH, default=False, help=HELP)
json_option = click.option("--json", "json_path", type=OUTPUT_FILE, help="Also write the numbers to this file.")


def option_stack(*options):
    """Several options as one decorator; --help lists them in this order."""

    def add(command):
        for option in reversed(options):
            command = option(command)
        return command

    return add


def write_json(path: Path | None, value: dict) -> None:
    """Writes `value` as indented JSON, atomically; does nothing if no path was asked for."""
    if path is not None:
        atomic_write(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())
