"""One definition of a setting: a dataclass field that carries its flag, its help, its check and what it needs.

`setting(...)` stands where `dataclasses.field(...)` would. Options of a command, pages of help and error messages read
the field, so a new setting is one edit in one place:

    @dataclass(frozen=True, kw_only=True)
    class Rain:
        hours: float = setting(2.0, flag="--rain-hours", help="How long it rains.", check=NON_NEGATIVE)
        drops: int | None = setting(None, flag="--drops", help="Per hour.", check=at_least(1), unset="as many as fall")

        def __post_init__(self):
            check_settings(self)
            if self.drops and not self.hours:
                raise contradiction(self, "{drops} cannot fall in no time; give {hours:2}")
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

KEY = "setting"


class ConfigError(ValueError):
    """A contradiction in a configuration; the message is one line that names the flag and the remedy."""


# ------------------------------------------------------------------ checks of one value


@dataclass(frozen=True)
class Check:
    """What a single value may be.

    problem: what is wrong with a value and what to do, to be read after `--flag=value`; None if nothing is wrong.
    range: the same in a few signs, for a page of help; choices: all values there are, if they are few.
    """

    problem: Callable[[Any], str | None]
    range: str = ""
    choices: tuple[str, ...] = ()


def _number(passes: Callable[[Any], bool], problem: str, short: str = "", hint: str = "") -> Check:
    return Check(lambda value: None if passes(value) else problem + (f"; {hint}" if hint else ""), short)


def non_negative(hint: str = "") -> Check:
    return _number(lambda value: 0 <= value < math.inf, "must be a number >= 0", ">=0", hint)


def within(least: float, most: float) -> Check:
    return _number(lambda value: least <= value <= most, f"must be from {least} to {most}", f"{least:g} to {most:g}")


def at_least(least: int, unit: str = "") -> Check:
    return _number(lambda value: value >= least, f"must be at least {least}{unit and ' ' + unit}", f">={least}")


def one_of(choices: Iterable[str], refused: dict[str, str] | None = None) -> Check:
    """refused: known values that are not offered, and why."""
    names = tuple(choices)

    def problem(value):
        if value in names:
            return None
        return (refused or {}).get(value, f"is unknown; use one of {', '.join(names)}")

    return Check(problem, choices=names)


NON_NEGATIVE = non_negative()
POSITIVE = _number(lambda value: 0 < value < math.inf, "must be a number > 0", ">0")
FINITE = _number(math.isfinite, "must be a number")
FRACTION = _number(lambda value: 0 <= value <= 1, "must be a number from 0 to 1", "0 to 1")
PROBABILITY = _number(lambda value: 0 <= value <= 1, "is a probability; use a number from 0 to 1", "0 to 1")


# ------------------------------------------------------------------ a field with all that is said of it


@dataclass(frozen=True)
class Need:
    """Without what a setting does nothing.

    met: whether a finished run has it. of: what the setting belongs to and how to get it, to be read after
    `--flag=value is of`; {part.field:VALUE} stands for that field's flag, as in `message`. published: the published
    script goes on without a word if it is missing, so that here too the setting is passed over, with a note.
    """

    met: Callable[[Any], bool]
    of: str
    published: bool = False


@dataclass(frozen=True)
class Setting:
    """What a field carries besides its default.

    flag: as a user writes it, None if it has none; messages then use `label`, or the field's name.
    group: heading of a page of help; "" is that of its dataclass. metavar: what stands for a value there.
    unset: what None means there. shown: the default there, if it is not the field's own value: a text, or a function
    of a run. switch: a flag that may stand alone. place: type of the option of a path (groundwork/places.py).
    """

    flag: str | None = None
    help: str = ""
    check: Check | None = None
    needs: tuple[Need, ...] = ()
    group: str = ""
    metavar: str = ""
    unset: str = "none"
    shown: str | Callable[[Any], Any] | None = None
    switch: bool = False
    label: str | None = None
    place: Any = None


def setting(default, **facts) -> Any:
    """A dataclass field; `facts` are those of `Setting`."""
    return dataclasses.field(default=default, metadata={KEY: Setting(**facts)})


def check_settings(config) -> None:
    """ConfigError for the first field whose value its own check refuses; None is never refused."""
    for field in dataclasses.fields(config):
        check_value(type(config), field.name, getattr(config, field.name))


def check_value(cls, name: str, value) -> None:
    """ConfigError if the check of this field of a dataclass refuses the value."""
    its = _settings(cls).get(name)
    if its and its.check and value is not None and (problem := its.check.problem(value)):
        raise ConfigError(f"{_label(cls, name)}={as_typed(value)} {problem}")


def _settings(cls) -> dict[str, Setting]:
    return {field.name: field.metadata[KEY] for field in dataclasses.fields(cls) if KEY in field.metadata}


def as_typed(value) -> str:
    """A value as a user would write it: 1 for 1.0."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _label(cls, name: str) -> str:
    """What messages call a field."""
    its = _settings(cls).get(name, Setting())
    return its.flag or its.label or name


# ------------------------------------------------------------------ messages about several


def contradiction(config, text: str, **more) -> ConfigError:
    """The error to raise for fields that do not go together; arguments as for `message`."""
    return ConfigError(message(config, text, **more))


def message(config, text: str, **more) -> str:
    """`text` with flags for names of fields, so that a flag is spelt in one place.

    {batch} becomes `--batch=16`, {batch:32} `--batch=32`, {batch:flag} `--batch`, and {batch:value} `16`. A field that
    is a dataclass gives its own fields: {gaze.weight}. `more`: other names, of dataclasses or of plain values.
    """
    return text.format_map(_Names(config, more))


class _Names:
    """The names that `message` knows."""

    def __init__(self, config, more: dict | None = None):
        self._config, self._more = config, more or {}

    def __getitem__(self, name: str):
        if name in self._more:
            value = self._more[name]
            return _Names(value) if dataclasses.is_dataclass(value) else value
        return getattr(self, name)

    def __getattr__(self, name: str):
        value = getattr(self._config, name)  # AttributeError: the text has a slip
        return _Names(value) if dataclasses.is_dataclass(value) else _Field(_label(type(self._config), name), value)


class _Field:
    """A flag and its value, as `message` writes them."""

    def __init__(self, label: str, value):
        self._label, self._value = label, value

    def __format__(self, spec: str) -> str:
        if spec in ("flag", "value"):
            return self._label if spec == "flag" else as_typed(self._value)
        return f"{self._label}={spec or as_typed(self._value)}"


# ------------------------------------------------------------------ tables of flags


@dataclass(frozen=True)
class Flag:
    """A setting that has a flag, and where its value belongs: field `name` of part `part`."""

    part: str  # "": the configuration itself
    name: str
    kind: type
    setting: Setting

    @property
    def key(self) -> str:
        """Its name in Python: `--gaze-weight` -> gaze_weight."""
        return self.setting.flag.lstrip("-").replace("-", "_")

    @property
    def group(self) -> str:
        return self.setting.group or self.part


def flags_of(cls, part: str = "") -> dict[str, Flag]:
    """The flags of a dataclass by their keys, in the order of its fields."""
    kinds, found = typing.get_type_hints(cls), {}
    for name, its in _settings(cls).items():
        if its.flag is not None:
            flag = Flag(part, name, _without_none(kinds[name]), its)
            found[flag.key] = flag
    return found


def _without_none(kind) -> type:
    """`int | None` -> int."""
    if isinstance(kind, types.UnionType):
        (kind,) = (choice for choice in typing.get_args(kind) if choice is not type(None))
    return kind
