"""Options that every benchmark has."""

from pathlib import Path

import click

from eg3d.running.cli import device_option, json_option
from groundwork.places import INPUT_FOLDER, OUTPUT_FOLDER

results_option = click.option(
    "--results",
    type=OUTPUT_FOLDER,
    default=Path(__file__).parent / "results",
    help="Folder for the results.",
)
repeats_option = click.option(
    "--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Measured calls; the median counts."
)
against_option = click.option(
    "--against", type=INPUT_FOLDER,
    help="Another checkout of this repository; its code runs the same case in turn with this one's.",
)  # fmt: skip


def shared(command):
    """Adds --repeats, --device, --json and --results."""
    for option in (results_option, json_option, device_option, repeats_option):
        command = option(command)
    return command
