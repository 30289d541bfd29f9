"""Every click script: `--help` is right, the shared options are there, and bad options are one line."""

import runpy
from pathlib import Path

import click
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = ("eg3d", "l2cs", "dataset_preprocessing", "redirection")
SCRIPTS = sorted(
    str(file.relative_to(REPOSITORY))
    for folder in FOLDERS
    for file in (REPOSITORY / folder).rglob("*.py")
    if "click.command(" in file.read_text()
)
NUMPY_ONLY = {
    "dataset_preprocessing/synthetic/make_faces.py",
    "dataset_preprocessing/synthetic/make_gaze.py",
    "dataset_preprocessing/synthetic/make_mpii.py",
    "dataset_preprocessing/nv_rendering/main.py",
    "dataset_preprocessing/nv_rendering/render.py",
    "dataset_preprocessing/nv_rendering/show_novel_views.py",
}
FILES_ONLY = {  # draw nothing, compute nothing
    "eg3d/convert.py",
    "eg3d/inspect_checkpoint.py",
    "eg3d/doctor.py",
    "dataset_preprocessing/dataset_tool.py",
    "dataset_preprocessing/check_dataset.py",
    "dataset_preprocessing/mirror_dataset.py",
    "dataset_preprocessing/rebalance_dataset.py",
    "dataset_preprocessing/nv_rendering/readh5.py",
    "dataset_preprocessing/nv_rendering/normalize.py",
    "eg3d/calc_pose.py",
    "redirection/interpgaze/export_pth.py",
}
DRAWS_NOTHING = {
    "redirection/interpgaze/redirect.py",
    "redirection/gaze_animation/correct.py",
    "redirection/gaze_animation/animate.py",
    "redirection/deepwarp/redirect.py",
    "dataset_preprocessing/ffhq/preprocess_in_the_wild.py",
    "dataset_preprocessing/ffhq/preprocess_ffhq.py",
    "dataset_preprocessing/nv_rendering/recon_mpii.py",
    "eg3d/viewer.py",  # its page says whom to draw
}
COMPUTES_NUMBERS = {
    "redirection/evaluate.py",
    "redirection/train_face_judge.py",
    "redirection/train_judge.py",
    "eg3d/inspect_checkpoint.py",
    "eg3d/doctor.py",
    "eg3d/calc_gfas.py",
    "eg3d/gen_samples_compare.py",
    "eg3d/gen_good_samples.py",
    "eg3d/calc_metrics.py",
    "eg3d/calc_all.py",
    "eg3d/calc_id.py",
    "eg3d/calc_gaze_control.py",
    "eg3d/calc_pose.py",
    "dataset_preprocessing/ffhq/preprocess_in_the_wild.py",
    "dataset_preprocessing/ffhq/preprocess_ffhq.py",
    "l2cs/evaluate.py",
    "dataset_preprocessing/filter_by_gaze.py",
    "dataset_preprocessing/check_dataset.py",
    "dataset_preprocessing/nv_rendering/main.py",
    "dataset_preprocessing/nv_rendering/readh5.py",
}


def options_of(script) -> list[dict]:
    """What `report` needs of a script's options, from its click command."""
    values = runpy.run_path(str(REPOSITORY / script), run_name="read").values()
    command = next(value for value in values if isinstance(value, click.Command))
    return [
        {"names": p.opts + p.secondary_opts, "help": p.help,
         "cuts": isinstance(p.default, float) and p.type.name.startswith("integer")}
        for p in command.params if isinstance(p, click.Option)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def report(run_script_in, tmp_path_factory):
    """What each script says to `--help` and to an option that it does not have, and which options it has."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    told = {}
    for script in SCRIPTS:
        told[script] = {
            "help": run_script_in(elsewhere, script, "--help"),
            "bad": run_script_in(elsewhere, script, "--no-such-option=1"),
            "options": options_of(script),
        }
    assert not list(elsewhere.iterdir()), "asking for help must not write files"
    return told


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
    for option in report[script]["options"]:
        assert option["help"], f"{script} {option['names']} has no help text"
        assert not option["cuts"], f"{script} {option['names']} is an integer option with a fractional default"


@pytest.mark.parametrize("script", SCRIPTS)
def test_shared_options_are_there(script, report):
    names = {name for option in report[script]["options"] for name in option["names"]}
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
