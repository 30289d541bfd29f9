"""What every click script of this repository shares: one-line errors with exit code 2, and the choice of a device.

It lives in `l2cs` because that package may not import `eg3d`, while `eg3d.cli` may build on this.
"""

import os
import sys

import click
import torch

DEBUG_VARIABLE = "EG3D_DEBUG"


class Command(click.Command):
    """A click command whose user errors are one line on stderr and exit code 2.

    `ValueError` and `OSError` are the errors a user can cause (style: `assert` is for our own slips). Set EG3D_DEBUG=1
    to see the traceback instead.
    """

    def main(self, args=None, prog_name=None, complete_var=None, standalone_mode=True, **extra):
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.Exit as stop:
            sys.exit(stop.exit_code)
        except (click.Abort, KeyboardInterrupt):
            click.echo("interrupted", err=True)
            sys.exit(130)
        except click.ClickException as error:
            fail(error.format_message())
        except (ValueError, OSError) as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            fail(describe(error))
        sys.exit(0)


def describe(error: Exception) -> str:
    """One line for an exception; operating-system errors name their file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def fail(message: str) -> None:
    """Prints `error: message` as one line on stderr and exits with code 2."""
    click.echo("error: " + " ".join(message.split()), err=True)
    sys.exit(2)


def pick_device(name: str) -> torch.device:
    """auto | cpu | cuda -> device; asking for CUDA where there is none is an error."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device=cuda: PyTorch sees no CUDA device here; use --device=cpu or --device=auto")
    return torch.device(name)


device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
seed_option = click.option("--seed", type=int, default=0, show_default=True, help="Seed of every random draw.")
