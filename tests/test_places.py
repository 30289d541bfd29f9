"""Every script says of each option where it reads and writes, and no output ever lands on an input: a table of all."""

import importlib
import itertools
import os
import socket

import click
import pytest
from click.testing import CliRunner

from eg3d.__main__ import MODULES
from eg3d.checkpoints.loading import GENERATORS
from groundwork.files import WORLD_WEIGHTS
from groundwork.places import (
    EITHER,
    EMBEDDED,
    FILE,
    FOLDER,
    GAZE_NETWORK,
    GENERATOR,
    OURS,
    Input,
    NamedInput,
    Output,
    folder_links,
)
from l2cs.estimator import WORLD_NETWORKS

# Options of texts that name no place; those with a list of choices need not stand here.
WORDS = {
    "captions", "grid", "metrics", "names", "wanted", "desc", "sr_module", "gpu", "overrides", "people", "group",
    "size", "attr", "test_people", "random_crop_bias", "pth_label", "source_angles", "target", "branch_idx",
    "strength", "order", "branch_list", "filter_target_attr", "more", "path", "alpha", "redirector", "redirectors",
    "test_dir", "is_resume", "is_left", "summary_step", "tsf_type", "checkpoints_dir", "sample_dir",
    "test_sample_dir", "crop_w", "crop_h", "inception_path", "n_layers_sr", "norm_sr", "n_blocks", "ds_n", "ds_s",
    "niter_decay", "lr_sr", "lam_ss", "lam_fp", "resize_or_crop", "crop_w_p", "crop_h_p", "display_freq",
    "save_latest_freq", "save_model_freq", "phase", "capacity", "num_threads", "input_nc", "output_nc",
    "pos_number", "log_dir", "host", "view",
}  # fmt: skip
VALUES = {
    "seeds": "0",
    "cfg": "embedded",
    "filter_target_attr": "0P",
    "branch_idx": "0",
}  # of options that must be given


@pytest.fixture(scope="module")
def commands() -> dict[str, click.Command]:
    return {name: importlib.import_module(module).main for name, module in MODULES.items()}


def test_help_that_names_one_embedded_world_names_the_other(commands):
    looked_at = 0
    for name, command in commands.items():
        for param in places(command, NamedInput):
            if set(EMBEDDED) <= param.type.names and "embedded" in (text := getattr(param, "help", None) or ""):
                looked_at += 1
                assert "people" in text, f"{name} {param.name}: {text}"
    assert looked_at > 15


@pytest.fixture
def call(monkeypatch):
    """call(command, {name: value}) -> (exit code, stderr), with a body that only says that it was reached."""

    def run(command, given):
        arguments = []
        for param in command.params:
            if param.name in given or (param.required and param.name in VALUES):
                value = str(given.get(param.name, VALUES.get(param.name)))
                arguments += [f"{param.opts[0]}={value}"] if param.param_type_name == "option" else [value]
        monkeypatch.setattr(command, "callback", lambda **_: click.echo("reached"))
        result = CliRunner().invoke(command, arguments)
        assert (result.exit_code, result.stdout) == (0, "reached\n") or (
            result.exit_code == 2 and result.stdout == "" and result.stderr.count("\n") == 1
        ), result.output
        return result.exit_code, result.stderr

    return run


def places(command, kind) -> list[click.Parameter]:
    return [param for param in command.params if isinstance(param.type, kind)]


def ready(command, folder) -> dict:
    """Something harmless for every option of a place: inputs that are there, outputs that are not."""
    given = {}
    for number, param in enumerate(places(command, (Input, Output))):
        place = folder / f"{number}"
        if isinstance(param.type, Output):
            given[param.name] = place / f"new{param.type.ending}"
            if param.type.kind == EITHER:
                given[param.name] = place / "new.zip"
        elif param.type.kind == FILE:
            place.mkdir(parents=True)
            given[param.name] = put(place / "input.zip")
        else:
            given[param.name] = put(place / "input" / "a.png").parent
    return given


def put(path, text="precious"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def flag(param) -> str:
    return param.opts[0] if param.param_type_name == "option" else param.human_readable_name


def names_in(patterns) -> list[str]:
    """A name for each pattern."""
    return [pattern.replace("[0-9]", "0").replace("*", "0").replace("?", "0") for pattern in patterns]


def test_every_option_says_whether_it_is_a_place(commands):
    undeclared = [
        f"{name} {param.opts[0]}"
        for name, command in commands.items()
        for param in command.params
        if isinstance(param.type, click.Path | click.File)
        or (
            isinstance(param.type, click.types.StringParamType)
            and "|" not in (param.metavar or "")
            and param.name not in WORDS
        )
    ]
    assert not undeclared, f"give these a type of groundwork/places.py, or add their names to WORDS: {undeclared}"
    assert sum(len(places(command, Input)) for command in commands.values()) > 50


def test_without_a_clash_every_script_goes_on(commands, call, tmp_path):
    for name, command in commands.items():
        code, stderr = call(command, ready(command, tmp_path / name))
        assert code == 0, f"{name}: {stderr}"


def clashes(output, source, given, folder):
    """Values {name: value} for an output of a script that would change one of its inputs."""
    where, kind, patterns = given[source.name], output.type.kind, output.type.writes
    place = folder / f"{output.name}-{source.name}"
    place.mkdir()
    if where.is_file() and kind != FOLDER:
        (place / "link.zip").symlink_to(where)
        os.link(where, place / "hard.zip")
        roundabout = where.parent / ".." / where.parent.name / where.name
        yield from ({output.name: path} for path in (where, roundabout, place / "link.zip", place / "hard.zip"))
    if where.is_dir() and kind != FOLDER:
        yield from ({output.name: where / path} for path in ("new.zip", "deep/new.zip"))
    if source.name in output.type.shares or kind == FILE:
        return
    if where.is_dir():
        (place / "link").symlink_to(where)
        yield from ({output.name: path} for path in (where, where / "runs", place / "link" / "runs"))
    elif kind == FOLDER and not callable(patterns):
        for name in names_in(patterns):
            yield {output.name: place / "out", source.name: put(place / "out" / name)}


def test_no_output_of_any_script_changes_an_input(commands, call, tmp_path):
    tried = 0
    for name, command in commands.items():
        given = ready(command, tmp_path / name)
        for output in places(command, Output):
            seen: set[str] = set()  # links and the like are tried on one input of each kind
            for source in places(command, Input):
                ways = clashes(output, source, given, tmp_path / name)
                for clash in ways if source.type.kind not in seen else itertools.islice(ways, 1):
                    code, stderr = call(command, given | clash)
                    assert code == 2, f"{name}: {clash} was taken"
                    assert flag(output) in stderr and flag(source) in stderr, f"{name} {clash}: {stderr}"
                    tried += 1
                seen.add(source.type.kind)
    assert tried > 150


def test_no_two_outputs_of_any_script_have_one_name(commands, call, tmp_path):
    tried = 0
    for name, command in commands.items():
        given = ready(command, tmp_path / name)
        outputs = [output for output in places(command, Output) if output.type.kind == FILE]
        for output in outputs:
            for other in places(command, Output):
                if other is output or (other.type.kind == EITHER and other in outputs):
                    continue
                shared = tmp_path / name / "one"
                if other.type.kind == FOLDER and not callable(other.type.writes):
                    values = [{other.name: shared, output.name: shared / name} for name in names_in(other.type.writes)]
                    values += [{output.name: shared, other.name: shared / "below"}]
                elif other.type.kind == FOLDER:
                    values = [{output.name: shared, other.name: shared / "below"}]
                else:
                    values = [{output.name: shared, other.name: shared}]
                for value in values:
                    code, stderr = call(command, given | value)
                    assert code == 2 and flag(output) in stderr and flag(other) in stderr, f"{name} {value}: {stderr}"
                    tried += 1
    assert tried > 30


def test_the_first_process_of_a_machine_alone_says_what_is_wrong(commands, call, tmp_path, monkeypatch):
    given = ready(commands["calc-gfas"], tmp_path)
    wrong = given | {"json_path": given["network"]}
    assert "itself" in call(commands["calc-gfas"], wrong)[1]
    monkeypatch.setenv("LOCAL_RANK", "1")
    result = CliRunner().invoke(commands["calc-gfas"], [f"--{key}={wrong[key]}" for key in ("network",)] +
                                [f"--l2cs-path={wrong['l2cs_path']}", f"--json={wrong['json_path']}"])  # fmt: skip
    assert result.exit_code == 2 and result.output == ""


def special_files(folder):
    """A pipe, a socket, devices; and a folder in place of a file."""
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(folder)  # the name of a socket must be short
        server.bind("socket")
        os.chdir(here)
    return [folder / "pipe", folder / "socket", f"/dev/fd/{os.pipe()[0]}", "/dev/zero", "/dev/null"]


def test_special_files_are_refused_at_once_by_every_option(commands, call, tmp_path):
    specials = special_files(tmp_path)
    for name, command in commands.items():
        given = ready(command, tmp_path / name)
        for param in places(command, (Input, Output)):
            wrong = [tmp_path] if param.type.kind == FILE else []
            if isinstance(param.type, Output):
                wrong += ["/dev/stdout", "/dev/fd/1"]
                if not param.type.probed:
                    continue
            for special in [*specials, *wrong]:
                code, stderr = call(command, given | {param.name: special})
                assert code == 2 and f"{special}: is " in stderr and flag(param) in stderr, f"{name} {param}: {stderr}"


def test_a_tilde_is_a_home_folder_in_every_option(commands, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, command in commands.items():
        for param in places(command, (Input, Output)):
            assert str(param.type.convert("~/x/y", param, None)) == str(tmp_path / "x" / "y"), f"{name} {param}"
            with pytest.raises(click.BadParameter, match="no home folder ~nobody-here"):
                param.type.convert("~nobody-here/x", param, None)
            if "" not in getattr(param.type, "names", ()):
                with pytest.raises(click.BadParameter, match="empty"):
                    param.type.convert("", param, None)


def test_names_stay_names_and_files_of_ours_are_never_replaced(commands, call, tmp_path):
    weights, tried = next(WORLD_WEIGHTS.glob("*.safetensors")), 0
    for name, command in commands.items():
        given = ready(command, tmp_path / name)
        for source in places(command, NamedInput):
            words = {word: source.type.convert(word, source, None) for word in source.type.names}
            assert all(word == value for word, value in words.items())
        for output in places(command, Output):
            if output.type.kind == FILE and OURS not in output.type.shares:
                code, stderr = call(command, given | {output.name: weights})
                assert code == 2 and "is a file of" in stderr, f"{name} {output}: {stderr}"
                tried += 1
    assert tried > 15


@pytest.mark.parametrize("name, flag", [("check-dataset", "sheet"), ("check-dataset", "plot"), ("make-faces", "sheet")])
def test_the_name_of_a_picture_says_what_it_is(name, flag, commands, call, tmp_path):
    given = ready(commands[name], tmp_path)
    code, stderr = call(commands[name], given | {flag: tmp_path / "sheet.txt"})
    assert code == 2 and f"--{flag}" in stderr and "is a .png file; give a name that ends so" in stderr
    assert call(commands[name], given | {flag: tmp_path / "sheet.PNG"})[0] == 0


def test_the_names_are_those_of_the_embedded_world():
    assert GENERATOR.names == set(GENERATORS) and GAZE_NETWORK.names == set(WORLD_NETWORKS)


def test_folders_behind_links_are_read_too(commands, call, tmp_path):
    command = commands["check-dataset"]
    given = ready(command, tmp_path) | {"data": put(tmp_path / "set" / "a" / "1.png").parent.parent}
    put(tmp_path / "shard" / "2.png")
    (tmp_path / "set" / "a" / "shard").symlink_to(tmp_path / "shard")
    (tmp_path / "set" / "a" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "a" / "up").symlink_to(tmp_path)  # never followed: all files of the disk may be there
    (tmp_path / "shard" / "top").symlink_to("/")
    assert list(folder_links(tmp_path / "set")) == [tmp_path / "set/a/shard"]
    assert call(command, given | {"json_path": tmp_path / "beside.json"})[0] == 0
    code, stderr = call(command, given | {"sheet": tmp_path / "shard" / "sheet.png"})
    assert code == 2 and "--sheet" in stderr and "--data" in stderr
