"""Options and body that main.py and render.py share."""

import os
from pathlib import Path

import click

from dataset_preprocessing.nv_rendering.view_run import Report, render_all
from dataset_preprocessing.nv_rendering.view_settings import read_settings
from groundwork.command import json_option, option_stack, seed_option, tell, write_json
from groundwork.places import INPUT_FILE

NAMED = 3  # reasons for a terminal

run_options = option_stack(
    click.option("--config", type=INPUT_FILE, default="config_path.yaml", show_default=True,
                 help="YAML file of settings: docs/novel_views.md."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
                 help="Another value of a setting, as --set model.target_pose.number_new_views=4. May be repeated."),
    click.option("--people", default="", metavar="p00,p01", help="Make the views of these alone.  [default: all]"),
    click.option("--rows", type=click.IntRange(min=1), help="Sources of each person, the first ones.  [default: all]"),
    click.option("--workers", type=click.IntRange(1, 256), default=min(2, os.cpu_count() or 1), show_default=True,
                 help="Processes. The files do not depend on it."),
    seed_option,
    json_option,
)  # fmt: skip


def run(
    folder: Path, config: Path, overrides: tuple[str, ...], people: str, rows: int | None, workers: int, seed: int,
    json_path: Path | None,
) -> Report:  # fmt: skip
    """Makes what is missing in the folder, and says what is there."""
    settings = read_settings(config, overrides)
    names = [name for name in people.split(",") if name]
    report = render_all(settings, folder, seed, workers, names, rows, click.echo)
    notes = report.skipped[:NAMED]
    if len(report.skipped) > NAMED:
        notes += [f"and {len(report.skipped) - NAMED} more sources that give no views"]
    tell(notes)
    click.echo(f"{report.views} views: {report.made} sources made, {report.found} found done, "
               f"{len(report.skipped)} without views -> {folder}")  # fmt: skip
    write_json(json_path, vars(report))
    return report
