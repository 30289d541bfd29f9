"""Numbers that no machine can serve: every number option of every script refuses them at once, by its name."""

import importlib

import click
import pytest
from click.testing import CliRunner

from eg3d.__main__ import MODULES
from groundwork.numbers import LARGEST, MOST

MAINS = {name: importlib.import_module(module).main for name, module in MODULES.items()}
NUMBERS = click.types.IntParamType, click.types.FloatParamType  # ranges too


def number_options(name: str) -> list[click.Option]:
    return [option for option in MAINS[name].params if isinstance(option.type, NUMBERS)]


def needed(name: str, without: str) -> list[str]:
    """The options that a script asks for, with names of files that are not there."""
    options = [option for option in MAINS[name].params if option.required and option.opts[0] != without]
    kinds = {option.opts[0]: option.type for option in options}
    values = {flag: kind.choices[0] if isinstance(kind, click.Choice) else "0" for flag, kind in kinds.items()}
    return [f"{flag}={value}" for flag, value in values.items()]


@pytest.mark.parametrize("name", MAINS)
def test_every_number_of_a_script_is_bounded(name):
    for option in number_options(name):
        flag = option.opts[0]
        whole = isinstance(option.type, click.types.IntParamType)
        for value in ("99999999999999999999", f"-1{30 * '0'}", *([] if whole else ["nan", "inf", "-inf", "1e400"])):
            result = CliRunner().invoke(MAINS[name], [*needed(name, flag), f"{flag}={value}"])
            if f"note: {flag}=" in result.stderr:
                continue  # of a published script, and without effect here
            assert result.exit_code == 2 and flag in result.stderr, (flag, value, result.output)
            assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr


def test_all_scripts_have_numbers_but_those_that_need_none():
    without = {name for name in MAINS if not number_options(name)}
    assert without <= {"calc-pose", "convert", "inspect-checkpoint", "doctor", "interpgaze-export-pth"}


def test_every_bound_is_of_an_option_that_there_is():
    names = {option.name for name in MAINS for option in number_options(name)}
    assert set(LARGEST) <= names and all(most <= MOST for most in LARGEST.values())


def test_a_group_of_images_beyond_all_batches_is_refused_and_does_not_count_to_its_end():
    flags = ["--outdir=run", "--cfg=embedded", "--data=embedded", "--gaze-weight=0", "--dry-run"]
    for value in (2**16 + 1, MOST, 99999999999999999999):
        result = CliRunner().invoke(MAINS["train"], [*flags, f"--mbstd-group={value}"])
        assert result.exit_code == 2 and "--mbstd-group" in result.stderr and "too large" in result.stderr


def test_a_flag_of_training_out_of_its_range_is_named_itself():
    result = CliRunner().invoke(MAINS["train"], ["--outdir=run", "--cfg=embedded", "--batch=-1", "--dry-run"])
    assert result.stderr == "error: --batch=-1 must be from 1 to 65536\n"
