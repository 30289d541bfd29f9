"""docs/reproduction.md says what the committed results say, and its verdicts are computed right."""

import functools
import importlib.util
import json
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
BENCHMARKS, PAGE = REPOSITORY / "benchmarks", REPOSITORY / "docs" / "reproduction.md"


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("reproduction_page", BENCHMARKS / "reproduction_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def reproduce(run_script):
    return functools.partial(run_script, "benchmarks/reproduce.py")


def scores(maker, gfas, distance=10.0, identity=0.9, pose=0.001) -> dict:
    values = dict.fromkeys(maker.COLUMNS, 1.0)
    return values | dict(zip((maker.JUDGE, maker.DISTANCE, maker.IDENTITY, maker.POSE),
                             (gfas, distance, identity, pose), strict=True))  # fmt: skip


def test_the_tables_of_the_page_are_those_of_the_results(maker):
    runs = maker.read(BENCHMARKS / "results" / "reproduction")
    assert runs, "there are no results"
    assert maker.made(PAGE.read_text(), runs) == PAGE.read_text(), "run benchmarks/reproduce.py"


def test_every_result_names_commit_machine_and_commands_that_exist():
    for path in (BENCHMARKS / "results" / "reproduction").glob("*.json"):
        record = json.loads(path.read_text())
        assert path.name == f"{record['arm']}_seed{record['seed']}.json"
        assert record["commit"] and not record["commit"].endswith("-dirty") and record["hardware"]
        for command in record["commands"]:
            assert (REPOSITORY / command.split()[1]).exists()


def test_a_bar_is_judged_against_the_baseline_of_the_same_seed(maker):
    runs = {
        ("baseline", 0): scores(maker, 0.2),
        ("baseline", 1): scores(maker, 0.4),
        ("gl", 0): scores(maker, 0.05, distance=13.0, identity=0.88),
        ("gl", 1): scores(maker, 0.16, distance=12.0, identity=0.86, pose=0.0012),
    }
    gaze, distance, identity, pose = maker.bars(["gl"], runs).splitlines()[2:]
    assert "0.250, 0.400 (met by 1 of 2)" in gaze
    assert "1.300, 1.200 (met by 1 of 2)" in distance
    assert "-0.020, -0.040 (met by 1 of 2)" in identity
    assert "1.000, 1.200 (met)" in pose


def test_a_table_gives_the_mean_and_the_range(maker):
    runs = {("gl", seed): scores(maker, value) for seed, value in enumerate((0.01, 0.03, 0.02))}
    assert "| 0.0200 (0.0100 to 0.0300) |" in maker.table(["gl"], runs)


def test_a_finished_run_is_not_run_again(maker, reproduce, tmp_path):
    for arm in ("base", "gl"):
        record = {"arm": arm, "seed": 0, "kimg": 5, "scores": scores(maker, 0.125)}
        (tmp_path / f"{arm}_seed0.json").write_text(json.dumps(record))
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text())
    done = reproduce("--arms=base,gl", "--seeds=0", f"--results={tmp_path}", f"--page={page}")
    assert done.code == 0 and "$ python" not in done.stdout  # no command was run
    assert page.read_text().count("| 0.1250 |") == 4  # each in its table, and in that of every run


def test_results_of_another_length_are_not_taken_for_these(maker, reproduce, tmp_path):
    record = {"arm": "gl", "seed": 0, "kimg": 99, "scores": scores(maker, 0.125)}
    (tmp_path / "gl_seed0.json").write_text(json.dumps(record))
    (tmp_path / "page.md").write_text(PAGE.read_text())
    done = reproduce("--arms=gl", "--seeds=0", f"--results={tmp_path}", f"--page={tmp_path / 'page.md'}")
    assert done.code == 2 and "99 thousand images" in done.stderr and "$ python" not in done.stdout


def test_other_results_never_overwrite_the_page_of_the_committed_ones(reproduce, tmp_path):
    done = reproduce("--arms=gl", "--seeds=0", f"--results={tmp_path}")
    assert done.code == 2 and "needs --page" in done.stderr


def test_a_page_without_room_for_tables_is_refused_before_anything_is_trained(reproduce, tmp_path):
    (tmp_path / "page.md").write_text("# Nothing\n")
    done = reproduce("--arms=gl", f"--results={tmp_path}", f"--page={tmp_path / 'page.md'}")
    assert done.code == 2 and "the page has no part" in done.stderr and "$ python" not in done.stdout


def test_an_unknown_arm_is_one_line(reproduce, tmp_path):
    done = reproduce("--arms=gl,ours", f"--results={tmp_path}")
    assert done.code == 2 and "there is no arm ours" in done.stderr and "Traceback" not in done.stderr
