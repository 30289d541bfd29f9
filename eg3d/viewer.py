"""Viewer in the browser: heads of one or several networks, turned by hand, with eyes that look where they are told."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import os
import secrets
import sys
import webbrowser
from functools import partial
from pathlib import Path

import click

from eg3d.checkpoints.loading import load_generator, short_names
from eg3d.gaze.networks import load_gaze_network
from eg3d.gaze.term import estimate_gaze
from eg3d.ops.precision import bfloat16_units, in_precision
from eg3d.pictures.viewer import saving
from eg3d.pictures.viewer.live_heads import LiveHead
from eg3d.pictures.viewer.wanted_view import View
from eg3d.running import cli
from groundwork.files import atomic_write
from groundwork.places import GAZE_JUDGE, GENERATOR

MOST_NETWORKS = 6  # side by side


def parse_view(ctx, param, value: str | None) -> View | None:
    try:
        return None if value is None else View.parse(value.lstrip("#"))
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


def has_display() -> bool:
    """Whether a window can be opened: a browser in the terminal is not what anybody wants."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def import_server():
    """The server's module; ValueError, one line that names the extra, if its packages are missing."""
    try:
        from eg3d.pictures.viewer import server
    except ImportError as error:
        raise ValueError(f"the viewer needs another package ({error.name}); pip install '.[viewer]'") from None
    return server


@click.command(cls=cli.Command)
@click.option("--network", "networks", type=GENERATOR, multiple=True, required=True,
              help="Generator as in gen_samples.py; several are turned together, side by side.")  # fmt: skip
@click.option("--l2cs-path", type=GAZE_JUDGE, help="Gaze network that draws an arrow where it sees the eyes look.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Where to listen; the default is reached from this machine only, or through ssh -L.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8420, show_default=True, help="0: any that is free.")
@click.option("--open", "open_browser", **cli.SWITCH, default=True, help="Open the address in a browser, if there is "
              "a display.")  # fmt: skip
@click.option("--draw", "view", callback=parse_view, metavar="VIEW",
              help="A view, as the page's address has it after #: seed=3&yaw=0.2.")  # fmt: skip
@click.option("--save", type=cli.OUTPUT_FILE, help="Draw --draw into this PNG and end; there is no server then.")
@cli.compute_options
@click.option("--moving-precision", type=click.Choice(["same", "bf16"]), help="In which format a network makes the "
              "first planes of a head while it moves, if they take longer than a frame.  [default: bf16 on CPUs that "
              "compute in it, unless --precision says something]")  # fmt: skip
def main(networks, l2cs_path, host, port, open_browser, view, save, precision, device, moving_precision):
    """Serves one page at an address that holds a secret token, until Ctrl-C.

    Over ssh: start it there, `ssh -L 8420:127.0.0.1:8420 machine` here, and open the address that it prints.
    """
    if len(networks) > MOST_NETWORKS:
        raise ValueError(f"{len(networks)} networks are too many side by side; give at most {MOST_NETWORKS} --network")
    server = None if save else import_server()
    where = cli.pick_device(device)
    reads = l2cs_path and partial(estimate_gaze, network=load_gaze_network(l2cs_path, where))
    if moving_precision is None and where.type == "cpu" and precision is None and bfloat16_units():
        moving_precision = "bf16"
    heads = []
    for name in networks:
        G = load_generator(name, where, precision)
        roughly = partial(in_precision, G, "bf16") if moving_precision == "bf16" else None
        heads.append(LiveHead(name, G, reads, roughly))
    if save:
        atomic_write(Path(save), saving.png(heads, view or View()))
        click.echo(f"{save}: {len(heads)} head{'s' * (len(heads) != 1)}")
        return
    door, token = server.listening(host, port), secrets.token_urlsafe(24)
    options = [f"--precision={precision}"] if precision else []
    viewer = server.Viewer(heads, server.Guard(token, host), options)
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    address = f"http://{shown}:{door.getsockname()[1]}/?token={token}"
    if view:
        address += f"#{view.text()}"
    click.echo(f"{', '.join(short_names(networks))}: {address}\nCtrl-C ends it.")
    sys.stdout.flush()
    if open_browser and has_display():
        webbrowser.open(address)
    server.serve(viewer, door)


if __name__ == "__main__":
    main()
