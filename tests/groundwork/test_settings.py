import math
from dataclasses import dataclass

import pytest

from groundwork.settings import (
    FINITE,
    FRACTION,
    NON_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    ConfigError,
    as_typed,
    at_least,
    check_settings,
    check_value,
    contradiction,
    flags_of,
    message,
    non_negative,
    one_of,
    setting,
    within,
)


@dataclass(frozen=True, kw_only=True)
class Rain:
    hours: float = setting(2.0, flag="--rain-hours", help="How long it rains.", check=NON_NEGATIVE)
    drops: int | None = setting(None, flag="--drops", help="Per hour.", check=at_least(1))
    colour: str = setting("clear", flag="--colour", help="Of a drop.", check=one_of(("clear", "grey")))
    puddles: float = setting(0.0, check=POSITIVE, label="the area of puddles")
    wind: float = setting(1.0, check=FRACTION)
    place: str = "here"

    def __post_init__(self):
        check_settings(self)
        if self.drops and not self.hours:
            raise contradiction(self, "{drops} cannot fall in no time; give {hours:2}, or drop {drops:flag}")


@dataclass(frozen=True)
class Day:
    rain: Rain
    sun: float = setting(3.0, flag="--sun", help="Hours.")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (dict(hours=-1.0), "--rain-hours=-1 must be a number >= 0"),
        (dict(drops=0), "--drops=0 must be at least 1"),
        (dict(colour="red"), "--colour=red is unknown; use one of clear, grey"),
        (dict(puddles=0.0), "the area of puddles=0 must be a number > 0"),
        (dict(wind=1.5), "wind=1.5 must be a number from 0 to 1"),
        (dict(hours=0.0, drops=3), "--drops=3 cannot fall in no time; give --rain-hours=2, or drop --drops"),
    ],
)
def test_an_error_names_the_flag_or_else_the_label_or_the_field_with_the_value(values, expected):
    with pytest.raises(ConfigError) as error:
        Rain(**{"puddles": 1.0, **values})
    assert str(error.value) == expected


REFUSED = {
    NON_NEGATIVE: (-1e-9, math.inf, math.nan),
    POSITIVE: (0, -1, math.inf, math.nan),
    FINITE: (math.inf, -math.inf, math.nan),
    FRACTION: (-0.1, 1.1, math.nan),
    PROBABILITY: (-0.1, 1.1, math.nan),
    at_least(3): (2, -5),
    within(2, 4): (1.9, 4.1, math.nan),
    one_of(("a", "b")): ("c", "", "A"),
}
TAKEN = {
    NON_NEGATIVE: (0, 1e9), POSITIVE: (1e-9, 1e9), FINITE: (-1e9, 0), FRACTION: (0, 0.5, 1), PROBABILITY: (0, 0.5, 1),
}  # fmt: skip


def test_checks_refuse_what_lies_outside_and_take_their_limits():
    for check, values in REFUSED.items():
        assert all(check.problem(value) for value in values), check
    for check, values in TAKEN.items():
        assert not any(check.problem(value) for value in values), check
    assert not any(at_least(3).problem(value) for value in (3, 4)) and at_least(3).problem(2).endswith("at least 3")
    assert not any(within(2, 4).problem(value) for value in (2, 3, 4))
    assert one_of(("a", "b")).problem("b") is None


def test_a_check_may_add_a_hint_a_unit_or_the_reason_for_a_known_value():
    assert non_negative("0 is off").problem(-1) == "must be a number >= 0; 0 is off"
    assert at_least(1, "batch").problem(0) == "must be at least 1 batch"
    assert one_of(("a",), refused={"b": "was never offered; use a"}).problem("b") == "was never offered; use a"


def test_none_is_never_refused_and_a_value_can_be_checked_without_the_rest():
    check_value(Rain, "drops", None)
    with pytest.raises(ConfigError, match="^--drops=0 "):
        check_value(Rain, "drops", 0)


def test_a_message_writes_flags_of_this_and_of_inner_dataclasses():
    day = Day(rain=Rain(puddles=1.0, hours=4.0))
    text = "{sun} {sun:5} {sun:flag} {sun:value} {rain.hours} {rain.place} {other.hours:flag} {n}"
    assert message(day, text, other=day.rain, n=7) == (
        "--sun=3 --sun=5 --sun 3 --rain-hours=4 place=here --rain-hours 7"
    )
    with pytest.raises(AttributeError, match="suns"):
        message(day, "{suns}")


def test_the_table_of_flags_knows_part_kind_and_name_in_python():
    table = flags_of(Rain, "rain")
    assert list(table) == ["rain_hours", "drops", "colour"]  # no field without a flag
    assert [(flag.part, flag.name, flag.kind) for flag in table.values()] == [
        ("rain", "hours", float), ("rain", "drops", int), ("rain", "colour", str),
    ]  # fmt: skip


def test_a_value_is_written_as_a_user_would():
    assert [as_typed(value) for value in (1.0, 0.25, 7, True, "x", 1e307, math.nan)] == [
        "1", "0.25", "7", "True", "x", "1e+307", "nan",
    ]  # fmt: skip
