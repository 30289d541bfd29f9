"""Every click script: `--help` is right, the shared options are there, and bad options are one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = ("eg3d", "l2cs", "dataset_preprocessing")
SCRIPTS = sorted(
    str(file.relative_to(REPOSITORY))
    for folder in FOLDERS
    for file in (REPOSITORY / folder).rglob("*.py")
    if "click.command(" in file.read_text()
)
NUMPY_ONLY = {"dataset_preprocessing/synthetic/make_faces.py", "dataset_preprocessing/synthetic/make_gaze.py"}
FILES_ONLY = {  # draw nothing, compute nothing
    "eg3d/convert.py",
    "eg3d/inspect_checkpoint.py",
    "eg3d/doctor.py",
    "dataset_preprocessing/dataset_tool.py",
    "dataset_preprocessing/check_dataset.py",
    "eg3d/calc_pose.py",
}
DRAWS_NOTHING = {"dataset_preprocessing/ffhq/preprocess_in_the_wild.py"}
COMPUTES_NUMBERS = {
    "eg3d/inspect_checkpoint.py",
    "eg3d/doctor.py",
    "eg3d/calc_gfas.py",
    "eg3d/gen_samples_compare.py",
    "eg3d/gen_good_samples.py",
    "eg3d/calc_metrics.py",
    "eg3d/calc_all.py",
    "eg3d/calc_id.py",
    "eg3d/calc_pose.py",
    "dataset_preprocessing/ffhq/preprocess_in_the_wild.py",
    "l2cs/evaluate.py",
    "dataset_preprocessing/filter_by_gaze.py",
    "dataset_preprocessing/check_dataset.py",
}

# Importing torch takes seconds, so one process plays `python SCRIPT ARGS` for all of them, folder on the path included.
DRIVER = r"""
import click, contextlib, io, json, os, runpy, sys, traceback
report = {}
def run(path, *args):
    sys.argv, sys.path[0] = [path, *args], os.path.dirname(path)
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:
            code = traceback.format_exc()
    return [code, out.getvalue(), err.getvalue()]
def options(path):
    values = runpy.run_path(path, run_name="read").values()
    command = next(value for value in values if isinstance(value, click.Command))
    return [
        {"names": p.opts + p.secondary_opts, "help": p.help, "kind": p.type.name,
         "cuts": isinstance(p.default, float) and p.type.name.startswith("integer")}
        for p in command.params if isinstance(p, click.Option)
    ]
for path in sys.argv[1:]:
    entry = {"help": run(path, "--help")}
    if entry["help"][0] == 0:
        entry |= {"bad": run(path, "--no-such-option=1"), "options": options(path)}
    report[path] = entry
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    paths = [str(REPOSITORY / script) for script in SCRIPTS]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, "-W", "ignore", "-c", DRIVER, *paths]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not list(elsewhere.iterdir()), "asking for help must not write files"
    return {str(Path(path).relative_to(REPOSITORY)): entry for path, entry in json.loads(done.stdout).items()}


def test_scripts_are_found():
    assert {"eg3d/train.py", "eg3d/gen_samples.py", "eg3d/calc_gfas.py", "l2cs/train.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_runs_from_another_folder_and_says_what_the_script_does(script, report):
    code, out, err = report[script]["help"]
    assert code == 0, f"{code}{err}"
    assert (
        out.startswith("Usage:") and len(out.split("Options:")[0].strip().splitlines()) >= 3
    )  # usage, then a sentence


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_option_is_explained_and_keeps_its_default(script, report):
    for option in report[script].get("options", []):
        assert option["help"], f"{script} {option['names']} has no help text"
        assert not option["cuts"], f"{script} {option['names']} is an integer option with a fractional default"


@pytest.mark.parametrize("script", SCRIPTS)
def test_shared_options_are_there(script, report):
    names = {name for option in report[script].get("options", []) for name in option["names"]}
    if script not in FILES_ONLY | DRAWS_NOTHING:
        assert names & {"--seed", "--seeds"}, f"{script} has no --seed"
    if script not in NUMPY_ONLY | FILES_ONLY:
        assert "--device" in names
    if script in COMPUTES_NUMBERS:
        assert "--json" in names


@pytest.mark.parametrize("script", SCRIPTS)
def test_unknown_option_is_one_line_and_exit_code_2(script, report):
    code, out, err = report[script]["bad"]
    assert code == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and "--no-such-option" in err


def test_a_script_really_runs_in_place(run_process):
    code, out, err = run_process("dataset_preprocessing/filter_by_gaze.py", "--help")
    assert code == 0 and "--min-abs-yaw" in out, err
