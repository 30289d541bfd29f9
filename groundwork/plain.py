"""Frozen dataclasses of plain values: read from JSON, and checked field by field."""

import dataclasses
import functools
import math
import types
import typing


def from_plain(cls: type, plain, where: str = ""):
    """The dataclass `cls` that `dataclasses.asdict` made `plain` of, through JSON or not; lists become tuples.

    ValueError for a name that is no field, for a field that is missing and has no default, and for a value of another
    type than the annotated one; `where` leads its name. A part may be an object of its dataclass already.
    """
    if not isinstance(plain, dict):
        raise ValueError(f"{where.rstrip('.') or cls.__name__} must be an object with names, not {plain!r:.40}")
    fields, kinds = {field.name: field for field in dataclasses.fields(cls)}, _kinds(cls)
    if unknown := set(plain) - set(fields):
        raise ValueError(f"the configuration holds the unknown name {where}{min(unknown)!s:.60}; remove it")
    for name, field in fields.items():
        if name not in plain and field.default is field.default_factory:  # both are MISSING
            raise ValueError(f"the configuration lacks {where}{name}")
    values = {}
    for name, value in plain.items():
        if dataclasses.is_dataclass(kinds[name]) and not isinstance(value, kinds[name]):
            value = from_plain(kinds[name], value, f"{where}{name}.")
        values[name] = tuple(value) if isinstance(value, list) else value
        if not _fits(values[name], kinds[name], finite=False):
            raise ValueError(f"{where}{name}={values[name]!r:.40} must be {_in_words(kinds[name])}")
    return cls(**values)


def flat(nested: dict, prefix: str = "") -> dict:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    values = {}
    for name, value in nested.items():
        values |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return values


def check_types(config) -> None:
    """ValueError, with its name, for the first field whose value is not of the annotated type; numbers are finite."""
    for name, kind in _kinds(type(config)).items():
        value = getattr(config, name)
        if not _fits(value, kind, finite=True):
            raise ValueError(f"{name}={value!r:.40} must be {_in_words(kind)}")


def check_within(name: str, value: float, least: float, most: float = math.inf) -> None:
    """ValueError unless a number lies between two others, or is one of them."""
    if not least <= value <= most:
        bounds = f"at least {least}" if most == math.inf else f"from {least} to {most}"
        raise ValueError(f"{name}={value} must be {bounds}")


def check_above_zero(name: str, value: float) -> None:
    """ValueError unless a number is greater than 0."""
    if value <= 0:
        raise ValueError(f"{name}={value} must be a number > 0")


def check_one_of(name: str, value, choices) -> None:
    """ValueError unless a value is among the choices."""
    if value not in choices:
        raise ValueError(f"{name}={value!r:.40} is unknown: use {', '.join(choices)}")


@functools.cache
def _kinds(cls: type) -> dict:
    return typing.get_type_hints(cls)


def _in_words(kind) -> str:
    words = {float: "a number", int: "an integer", bool: "true or false", str: "a text", type(None): "none"}
    parts = typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        return " or ".join(map(_in_words, parts))
    if typing.get_origin(kind) is tuple:
        return f"{'a list' if parts[-1] is ... else f'a list of {len(parts)}'}, each {_in_words(parts[0])}"
    return words.get(kind, kind.__name__)


def _fits(value, kind, finite: bool) -> bool:
    parts = typing.get_args(kind)
    if isinstance(kind, types.UnionType):
        return any(_fits(value, part, finite) for part in parts)
    if typing.get_origin(kind) is tuple:
        parts = parts[:1] * len(value) if isinstance(value, tuple) and parts[-1] is ... else parts
        return (
            isinstance(value, tuple)
            and len(value) == len(parts)
            and all(_fits(item, part, finite) for item, part in zip(value, parts, strict=True))
        )
    if kind is float:
        return type(value) in (int, float) and (not finite or math.isfinite(value))
    return type(value) is kind if kind in (int, bool) else isinstance(value, kind)
