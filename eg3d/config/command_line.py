"""Options of a command, and its page of help, made from a table of flags (`groundwork.settings.flags_of`)."""

from collections.abc import Callable

import click

from groundwork.command import SWITCH, Command
from groundwork.settings import Flag, as_typed

METAVARS = {int: "N", float: "X", str: "TEXT", bool: "True|False"}


class SettingOption(click.Option):
    """The option of one flag. Click only reads the value; its check is in the dataclass, whose error names the flag."""

    def __init__(self, names: list[str], flag: Flag, presets: dict):
        its = flag.setting
        choices = its.check.choices if its.check else ()
        value = {"type": its.place or flag.kind, "metavar": its.metavar or "|".join(choices) or METAVARS[flag.kind]}
        super().__init__(names, default=None, help=_help(flag, presets), **(SWITCH if its.switch else value))
        self.group = flag.group


def with_flags(table: dict[str, Flag], presets: dict) -> Callable:
    """Decorator of a command: an option for every flag of a table. `presets`: named runs, whose values help shows."""

    def decorate(command: Callable) -> Callable:
        for flag in reversed(table.values()):
            command = click.option(flag.setting.flag, flag.key, cls=SettingOption, flag=flag, presets=presets)(command)
        return command

    return decorate


class GroupedCommand(Command):
    """A command whose page of help has a heading for each group of options; options of no group come first."""

    def __init__(self, *args, headings: dict[str, str], **more):
        more.setdefault("context_settings", {"max_content_width": 120})
        super().__init__(*args, **more)
        self.headings = headings

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list] = {group: [] for group in ("", *self.headings)}
        for option in self.get_params(ctx):
            if (record := option.get_help_record(ctx)) is not None:
                groups[getattr(option, "group", "")].append(record)
        for group, records in groups.items():
            if records:
                with formatter.section(self.headings.get(group, "This command")):
                    formatter.write_dl(records)


def _help(flag: Flag, presets: dict) -> str:
    """What a page says of a flag: its text, its range, and its value in each preset."""
    its = flag.setting
    assert its.help, f"{its.flag} has no help"
    limits = f"{its.check.range}; " if its.check and its.check.range else ""
    return f"{its.help}  [{limits}default: {default_of(flag, presets)}]"


def default_of(flag: Flag, presets: dict) -> str:
    """The value without the flag: one if the presets agree, else each: `ffhq, afhq, shapenet 1; embedded 5`."""
    if isinstance(flag.setting.shown, str):
        return flag.setting.shown
    names: dict[str, list[str]] = {}
    for name, run in presets.items():
        names.setdefault(_value(flag, run), []).append(name)
    if len(names) == 1:
        return next(iter(names))
    return "; ".join(f"{', '.join(of)} {value}" for value, of in names.items())


def _value(flag: Flag, run) -> str:
    its = flag.setting
    value = its.shown(run) if its.shown else getattr(getattr(run, flag.part) if flag.part else run, flag.name)
    return its.unset if value in (None, "") else as_typed(value)
