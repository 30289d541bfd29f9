"""What every click script of this repository shares: one-line errors with exit code 2, checks of the places to write
to, and the choice of a device.

`l2cs` uses it as it is; `eg3d.running.cli` adds what its own scripts share.
"""

import errno
import json
import os
import sys
import tempfile
from pathlib import Path

import click
from tqdm import tqdm

from groundwork.files import atomic_write

DEBUG_VARIABLE = "EG3D_DEBUG"
FILE = click.Path(dir_okay=False, path_type=Path)  # types of options
FOLDER = click.Path(file_okay=False, path_type=Path)

# What to do about the errors of the operating system that a user can cause; others keep the system's own words.
REMEDIES = {
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.EISDIR: "is a folder; name a file",
    errno.ENOTDIR: "a part of this path is a file, not a folder; give another path",
    errno.EEXIST: "cannot be written there, a file is in the way; give another path",
    errno.ENOTEMPTY: "cannot be written there, the folder is not empty; give another path",
    errno.EACCES: "no permission; change it or give another path",
    errno.EPERM: "no permission; change it or give another path",
    errno.EROFS: "cannot be written there, the file system is read-only; give another path",
    errno.ENOSPC: "cannot be written, the disk is full; make room or give another path",
    errno.EDQUOT: "cannot be written, the disk quota is used up; make room or give another path",
    errno.ENAMETOOLONG: "the name is too long; give a shorter one",
}


class Command(click.Command):
    """A click command whose user errors are one line on stderr and exit code 2.

    `ValueError` and `OSError` are the errors a user can cause (style: `assert` is for our own slips). Set EG3D_DEBUG=1
    to see the traceback instead. Options may be written with dashes or underscores: `one_spelling`.
    """

    def __init__(self, *args, context_settings: dict | None = None, **more):
        settings = {"token_normalize_func": one_spelling} | (context_settings or {})
        super().__init__(*args, context_settings=settings, **more)

    def main(self, args=None, prog_name=None, complete_var=None, standalone_mode=True, **extra):
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.Exit as stop:
            sys.exit(stop.exit_code)
        except (click.Abort, KeyboardInterrupt):
            end_bars()
            click.echo("interrupted", err=True)
            sys.exit(130)
        except click.ClickException as error:
            fail(error.format_message())
        except (ValueError, OSError) as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            fail(describe(error))
        sys.exit(0)


def one_spelling(token: str) -> str:
    """`--gen_pose_cond` -> `--gen-pose-cond`: click compares what this makes of the options it has and those it gets.

    The published scripts mix both spellings, even inside one script.
    """
    return token.replace("_", "-")


def without_effect(flag: str, why: str, **more):
    """A published option that does nothing here: it is accepted, and one line says why.

    False asks for nothing, and gets no answer. more: as of click.option.
    """

    def answer(ctx, param, value):
        if value is not None and value is not False and os.environ.get("RANK", "0") == "0":
            click.echo(f"note: {flag}={value} does nothing here: {why}", err=True)

    return click.option(flag, expose_value=False, callback=answer, help=f"Does nothing here: {why}.", **more)


def describe(error: Exception) -> str:
    """One line for an exception; operating-system errors name their file and say what to do."""
    if isinstance(error, OSError) and error.strerror:
        reason = REMEDIES.get(error.errno, error.strerror)
        return f"{error.filename}: {reason}" if error.filename else reason
    return str(error)


def end_bars() -> None:
    """Ends the line of every progress bar that is still open, so that what follows has a line of its own."""
    for bar in list(getattr(tqdm, "_instances", ())):
        bar.close()


def check_writable(path: Path | None, flag: str, folder: bool = False) -> None:
    """Raises ValueError, naming `flag`, unless `path` can be written; called before the work that fills it.

    Leaves nothing behind: an unnamed temporary file is made in the nearest folder that exists. Missing folders on the
    way are made later, by whatever writes. `folder`: the path is to be a folder. None, an output not asked for, passes.
    """
    if path is None:
        return
    if path.exists() and path.is_dir() != folder:
        raise ValueError(f"{flag}={path}: is a {'folder; name a file' if path.is_dir() else 'file; name a folder'}")
    place = path.absolute() if folder else path.absolute().parent
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        unusual = "no file can be made here; give another path"  # ENOENT: a folder like /proc, which exists
        reason = unusual if error.errno == errno.ENOENT else REMEDIES.get(error.errno, error.strerror)
        reason = reason if place.is_dir() else "is a file, not a folder; give another path"
        raise ValueError(f"{flag}={path}: cannot be written there ({place}: {reason})") from None


def fail(message: str) -> None:
    """Prints `error: message` as one line on stderr and exits with code 2."""
    end_bars()
    click.echo("error: " + " ".join(message.split()), err=True)
    sys.exit(2)


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
json_option = click.option("--json", "json_path", type=FILE, help="Also write the numbers to this file.")


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
