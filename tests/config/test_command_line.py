import ast
import dataclasses
import inspect
import re
from dataclasses import dataclass
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from eg3d.config import flags, run
from eg3d.config.augmentation import AugmentConfig
from eg3d.config.command_line import GroupedCommand, default_of, with_flags
from eg3d.config.flags import GROUPS, TABLE, resolve
from eg3d.config.indirect import INDIRECT, IndirectFlags
from eg3d.config.presets import PRESETS
from eg3d.config.run import PARTS, TrainConfig
from eg3d.demo import main as demo
from eg3d.gaze.term import GazeLossConfig
from eg3d.make_embedded import main as make_embedded
from eg3d.train import main
from eg3d.training import preparation
from groundwork.settings import KEY, at_least, flags_of, setting

# What says where and how this process runs, and not what is trained.
OF_THE_COMMAND = {
    "outdir", "cfg", "ops", "desc", "device", "stop_after_minutes", "wait_minutes", "dry_run",
    "c_noise", "sr_first_cutoff", "sr_first_stopband",
}  # fmt: skip
# Values of each preset as a page of help shows them; worked out by hand from eg3d/config/presets.py.
SHOWN = {
    "--gaze-weight": "ffhq, afhq, shapenet 1 with --l2cs-path, else 0; embedded, people, people-64, people-32 5",
    "--gamma": "ffhq, embedded, people, people-64, people-32 1; afhq 5; shapenet 0.3",
    "--batch": "ffhq, afhq, shapenet 32; embedded, people, people-64, people-32 16",
    "--blur_fade_kimg": "ffhq, afhq, shapenet 200; embedded, people, people-64, people-32 20",  # 10 for its batch of 16
    "--gpc_reg_prob": "ffhq, afhq, shapenet 0.5 with --gen_pose_cond=True; embedded, people, people-64, people-32 1",
    "--gen_pose_cond": "ffhq, afhq, shapenet False; embedded, people, people-64, people-32 True",
    "--cbase": "ffhq, afhq, shapenet 32768; embedded 2048, discriminator 1024; people, people-64, people-32 2048",
    "--freezed": "0",
    "--glr": "0.0025",
    "--keep": "all",
    "--l2cs-path": "ffhq, afhq, shapenet none; embedded embedded; people, people-64, people-32 people",
    "--resume": "none, random weights",
}


def help_of(command=main) -> str:
    """The page, wide enough that no line is broken."""
    result = CliRunner().invoke(command, ["--help"], terminal_width=2000, max_content_width=2000)
    assert result.exit_code == 0, result.output
    return result.output


def entry(page: str, flag: str) -> str:
    """What a page of help says of one flag, in one line."""
    found = re.search(rf"^  {re.escape(flag)}[ \n].*?(?=^  -|^\S|\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"{flag} is not in the page"
    return " ".join(found[0].split())


def dataclasses_with_flags():
    return {"": TrainConfig, INDIRECT: IndirectFlags, **PARTS}.items()


def test_every_field_with_a_flag_has_a_help_text_and_stands_in_the_page_with_its_value():
    page = help_of()
    for part, cls in dataclasses_with_flags():
        for flag in flags_of(cls, part).values():
            line = entry(page, flag.setting.flag)
            assert flag.setting.help and flag.setting.help in line
            assert f"default: {default_of(flag, PRESETS)}]" in line


@pytest.mark.parametrize("flag", SHOWN)
def test_the_page_shows_the_value_of_each_preset_and_one_where_they_agree(flag):
    assert f"default: {SHOWN[flag]}]" in entry(help_of(), flag)


def test_the_page_follows_a_preset():
    other = dataclasses.replace(PRESETS["afhq"], gaze=GazeLossConfig(weight=2.0, l2cs_path="x"))
    shown = default_of(TABLE["gaze_weight"], PRESETS | {"afhq": other})
    assert shown == "ffhq, shapenet 1 with --l2cs-path, else 0; afhq 2; embedded, people, people-64, people-32 5"


def test_what_the_page_shows_is_what_a_run_without_the_flag_has():
    for name, preset in PRESETS.items():
        run = resolve(name)
        for key, flag in TABLE.items():
            assert default_of(flag, {name: run}) == default_of(flag, {name: preset}), key
    assert resolve("ffhq", gen_pose_cond=True).schedule.gpc_reg_prob == 0.5


def test_every_option_of_the_script_comes_from_the_table_or_says_where_the_process_runs():
    assert {option.name for option in main.params} == {*TABLE, *OF_THE_COMMAND}
    for name, flag in TABLE.items():
        (option,) = [option for option in main.params if option.name == name]
        assert option.opts == [flag.setting.flag] and option.default is None


def test_options_stand_under_the_heading_of_their_group():
    page = help_of()
    headings = re.findall(r"^(\S.*):$", page, re.MULTILINE)
    assert headings == ["This command", *GROUPS.values()]
    sections = dict(zip(headings, re.split(r"^\S.*:$", page, flags=re.MULTILINE)[1:], strict=True))
    for flag in TABLE.values():
        assert f"  {flag.setting.flag}" in sections[GROUPS[flag.group]], flag.setting.flag
    assert "--outdir" in sections["This command"] and "--help" in sections["This command"]


def test_a_text_names_no_flag_that_is_not_there():
    known = {option for parameter in main.params for option in parameter.opts}
    for flag in TABLE.values():
        assert set(re.findall(r"--[\w-]*\w", flag.setting.help + flag.setting.unset)) <= known, flag.setting.flag


def test_the_weight_of_the_embedded_world_is_the_presets_in_every_command():
    for command in (demo, make_embedded):
        (option,) = [option for option in command.params if option.name == "gaze_weight"]
        assert option.default == PRESETS["embedded"].gaze.weight == resolve("embedded").gaze.weight
        assert option.default == PRESETS["people"].gaze.weight
    assert resolve("ffhq", l2cs_path="x").gaze.weight == GazeLossConfig(l2cs_path="x").weight == 1


@dataclass(frozen=True, kw_only=True)
class Rain:
    hours: float = setting(2.0, flag="--rain-hours", help="How long it rains.", check=at_least(0))


def command_of(cls):
    table, presets = flags_of(cls, "rain"), {"spring": SimpleNamespace(rain=cls())}

    @click.command(cls=GroupedCommand, headings={"rain": "Weather"})
    @with_flags(table, presets)
    def weather(**given):
        values = {table[name].name: value for name, value in given.items() if value is not None}
        click.echo(cls(**values))

    return weather


def test_a_new_setting_is_one_edit_in_one_place():
    assert "--drops" not in help_of(command_of(Rain))

    @dataclass(frozen=True, kw_only=True)
    class Wetter(Rain):
        drops: int | None = setting(None, flag="--drops", help="Per hour.", check=at_least(1), unset="many")

    weather = command_of(Wetter)
    assert entry(help_of(weather), "--drops") == "--drops N Per hour. [>=1; default: many]"
    assert entry(help_of(weather), "--rain-hours") == "--rain-hours X How long it rains. [>=0; default: 2]"
    assert "Weather:" in help_of(weather)
    assert "hours=2.0, drops=7" in CliRunner().invoke(weather, ["--drops=7"]).output
    assert CliRunner().invoke(weather, ["--drops=7.5"]).exit_code == 2  # an int, as its field says


def test_a_new_setting_of_a_run_is_copied_without_a_line_in_resolve(monkeypatch):
    changed = dataclasses.replace(TABLE["glr"].setting, flag="--adam-eps")
    eps = dataclasses.replace(TABLE["glr"], name="eps", setting=changed)
    monkeypatch.setitem(flags.TABLE, "adam_eps", eps)
    assert resolve("embedded", adam_eps=1e-6).optim.eps == 1e-6


def test_a_flag_that_no_one_knows_is_our_own_slip():
    with pytest.raises(AssertionError, match="there is no flag gama"):
        resolve("embedded", gama=1.0)


def test_flags_stand_once_and_only_fields_with_a_flag_are_in_the_table():
    fields = [field for _, cls in dataclasses_with_flags() for field in dataclasses.fields(cls)]
    spelt = [field.metadata[KEY].flag for field in fields if KEY in field.metadata and field.metadata[KEY].flag]
    assert len(spelt) == len(set(spelt)) == len(TABLE)
    assert "interval" in {field.name for field in dataclasses.fields(AugmentConfig)} and "interval" not in TABLE


def test_checks_of_a_run_take_the_names_of_flags_from_their_fields():
    """Else a flag that gets another name keeps the old one in a message."""
    for module in (run, preparation):
        functions = [
            node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.FunctionDef)
        ]
        texts = [
            text.value
            for function in functions
            for statement in function.body
            if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))  # a docstring
            for text in ast.walk(statement)
            if isinstance(text, ast.Constant) and isinstance(text.value, str)
        ]
        spelt = {flag.setting.flag for flag in TABLE.values() for text in texts if flag.setting.flag in text}
        assert len(texts) > 10 and not spelt
