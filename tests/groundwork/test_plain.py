"""Dataclasses of plain values: read back as they were, and refused by the name of what is wrong."""

import dataclasses
import json
import math

import pytest

from groundwork.plain import check_above_zero, check_one_of, check_types, check_within, from_plain


@dataclasses.dataclass(frozen=True)
class Inner:
    width: int
    taps: tuple[float, ...] = (1, 2)

    def __post_init__(self):
        check_types(self)


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner
    name: str | None = None
    on: bool = False
    point: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self):
        check_types(self)


WHOLE = Outer(inner=Inner(width=3, taps=(1, 0.5, 2)), name="x", on=True, point=(1, 2.5))


def test_what_json_held_is_the_same_again():
    assert from_plain(Outer, json.loads(json.dumps(dataclasses.asdict(WHOLE)))) == WHOLE
    assert from_plain(Outer, {"inner": {"width": 3}}) == Outer(inner=Inner(width=3))


@pytest.mark.parametrize(
    "plain, message",
    [
        ({"inner": {"width": 3, "widht": 4}}, "the unknown name G.inner.widht;"),
        ({"inner": {}}, "lacks G.inner.width$"),
        ({}, "lacks G.inner$"),
        ({"inner": 3}, "G.inner must be an object with names, not 3"),
        (5, "G must be an object"),
        ({"inner": {"width": 2.5}}, "width=2.5 must be an integer"),
        ({"inner": {"width": True}}, "width=True must be an integer"),
        ({"inner": {"width": 3, "taps": ["1"]}}, r"taps=\('1',\) must be a list, each a number"),
        ({"inner": {"width": 3, "taps": [math.nan]}}, "taps=.*nan"),
        ({"inner": {"width": 3}, "name": 4}, "name=4 must be a text or none"),
        ({"inner": {"width": 3}, "on": 1}, "on=1 must be true or false"),
        ({"inner": {"width": 3}, "point": [1]}, r"point=\(1,\) must be a list of 2, each a number"),
    ],
)
def test_what_does_not_fit_is_named(plain, message):
    with pytest.raises(ValueError, match=message):
        from_plain(Outer, plain, "G.")


@pytest.mark.parametrize(
    "check, message",
    [
        (lambda: check_within("n", 0, 1), "n=0 must be at least 1$"),
        (lambda: check_within("n", 9, 1, 8), "n=9 must be from 1 to 8$"),
        (lambda: check_above_zero("n", 0), "n=0 must be a number > 0$"),
        (lambda: check_one_of("n", "c", ("a", "b")), "n='c' is unknown: use a, b$"),
    ],
)
def test_bounds_are_part_of_the_message(check, message):
    with pytest.raises(ValueError, match=message):
        check()


def test_bounds_belong_to_the_range():
    check_within("n", 1, 1, 8), check_within("n", 8, 1, 8), check_above_zero("n", 1e-9), check_one_of("n", "a", ("a",))
