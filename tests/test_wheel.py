"""What `pip install .` installs works by itself: far from the checkout, writing only where it is told to."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dataset_preprocessing.synthetic import make_faces
from eg3d.__main__ import MODULES, main, overview
from eg3d.checkpoints.own import HEADER_KEY

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("groundwork", "eg3d", "l2cs", "dataset_preprocessing", "redirection")
WHERE = """
import json, eg3d, groundwork.files as files
from eg3d.training.snapshots import git_commit
print(json.dumps([eg3d.__file__, str(files.WORLD_WEIGHTS), str(files.CACHE), files.REPOSITORY, git_commit()]))
"""


def run(*command, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300, **options)


def files_below(folder: Path) -> dict[str, int]:
    """Path -> time of the last change, of every file."""
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


# ---------------------------------------------------------------- one command for all scripts


def test_every_script_is_in_the_list_and_has_one_line():
    folders = (REPOSITORY / package for package in PACKAGES)
    scripts = {
        ".".join(file.relative_to(REPOSITORY).with_suffix("").parts)
        for folder in folders
        for file in folder.rglob("*.py")
        if "click.command(" in file.read_text()
    }
    assert set(MODULES.values()) == scripts
    lines = overview().splitlines()
    for name in MODULES:
        (line,) = (line for line in lines if line.startswith(f"  {name} "))
        assert len(line.split(maxsplit=1)[1]) > 20


def test_the_list_is_there_at_once_and_without_torch():
    def seconds(*flags) -> float:
        before = os.times()
        done = run(*flags, "-m", "eg3d", "--help")
        assert done.returncode == 0 and "gen-samples" in done.stdout
        if flags:  # stderr lists all modules imported
            assert "tqdm" in done.stderr and "torch" not in done.stderr
        after = os.times()  # of the processor, since others may keep the machine busy
        return sum(after[2:4]) - sum(before[2:4])

    seconds("-X", "importtime")
    assert min(seconds() for _ in range(3)) < 0.5


def test_an_unknown_script_is_one_line_and_exit_code_2():
    done = run("-m", "eg3d", "gen_sample", "--seeds=0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: there is no script 'gen_sample'; did you mean gen-samples?\n"


@pytest.mark.parametrize("asked", ["make-faces", "make_faces"])
def test_a_script_says_the_same_by_its_name_and_by_its_module(asked, monkeypatch, capsys):
    def said(script, *arguments) -> tuple:
        monkeypatch.setattr(sys, "argv", ["eg3d", asked, *arguments])
        with pytest.raises(SystemExit) as stop:
            script()
        return stop.value.code, *capsys.readouterr()

    for arguments in (["--help"], ["--no-such-option"], ["--count=0"], []):
        by_module = said(lambda given=arguments: make_faces.main(given, prog_name="eg3d make-faces"), *arguments)
        assert said(main, *arguments) == by_module
    assert said(main, "--help")[1].startswith("Usage: eg3d make-faces [OPTIONS]")
    assert said(main, "--count=0")[0] == 2


# ---------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: setuptools leaves a folder `build` behind, and takes old files from it."""
    copy, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    for name in (*PACKAGES, "assets"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    done = run("-W", "error:::setuptools", "-c", code, dist, cwd=copy)
    assert done.returncode == 0, done.stderr
    return dist / done.stdout.splitlines()[-1]


def test_the_wheel_holds_every_file_of_the_packages_and_the_embedded_weights(wheel):
    expected = {
        str(file.relative_to(REPOSITORY))
        for package in PACKAGES
        for file in (REPOSITORY / package).rglob("*")
        if file.is_file() and file.suffix not in (".pyc", ".md")
    } | {f"groundwork/{file.relative_to(REPOSITORY)}" for file in (REPOSITORY / "assets").rglob("*") if file.is_file()}
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {"eg3d/ops/kernels/csrc/act.cpp", "groundwork/assets/embedded/generator.safetensors"} <= expected
    assert expected == {name for name in packed if ".dist-info/" not in name}


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """The wheel, installed into a folder inside somebody else's git repository."""
    project = tmp_path_factory.mktemp("project")
    for arguments in (["init"], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(project), *arguments], check=True, capture_output=True)
    folder = project / "site"
    done = run("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", folder, wheel)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def used(site, tmp_path_factory):
    """Every command below, run one after the other from another folder -> that folder, name -> what it printed."""
    place = tmp_path_factory.mktemp("elsewhere")
    environment = {
        **os.environ, "PYTHONPATH": str(site), "XDG_CACHE_HOME": str(place / "cache"), "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    eg3d = (site / "bin" / "eg3d",)
    commands = {
        "where": ("-c", WHERE),
        "compare": (
            *eg3d, "gen_samples_compare", "--network=embedded-base", "--network2=embedded", "--seeds=0-7",
            "--l2cs-path=embedded-judge", "--outdir=pictures", "--report=report.html", "--report-seeds=1",
            "--json=scores.json", "--ops=kernels",
        ),
        "faces": ("-m", "dataset_preprocessing.synthetic.make_faces", "--dest=faces.zip", "--count=8"),
        "train": (
            *eg3d, "train", "--cfg=embedded", "--data=faces.zip", "--outdir=run", "--resume=embedded-base", "--batch=4",
            "--kimg=0.008", "--tick=0.004", "--snap=1000", "--gaze-weight=5", "--ops=kernels",
        ),
        "make_embedded": ("-m", "eg3d.make_embedded"),
    }  # fmt: skip
    before = files_below(site)
    done = {name: run(*command, cwd=place, env=environment) for name, command in commands.items()}
    return place, done, (before, files_below(site))


@pytest.mark.slow
def test_the_installed_code_runs_and_knows_no_checkout(used, site):
    place, done, _ = used
    code, weights, cache, repository, commit = json.loads(done["where"].stdout)
    assert Path(code) == site / "eg3d" / "__init__.py"
    assert Path(weights) == site / "groundwork" / "assets" / "embedded"
    assert Path(cache) == place / "cache" / "gaze-corrected-eg3d"
    assert repository is None and commit is None  # of the repository round it there is one


@pytest.mark.slow
def test_the_installed_networks_draw_and_score(used):
    place, done, _ = used
    assert done["compare"].returncode == 0, done["compare"].stderr
    assert len(list((place / "pictures").glob("seed*_compare_*.png"))) == 3 * 8
    scores = json.loads((place / "scores.json").read_text())
    assert scores["network"]["slope"] < 0.4 and scores["network2"]["slope"] > 0.7  # as the model card says
    page = (place / "report.html").read_text()
    assert "<html" in page and "gen_samples_compare.py --network=embedded-base" in page


@pytest.mark.slow
def test_kernels_are_built_in_the_users_cache(used):
    place, _, _ = used
    assert len(list((place / "cache" / "gaze-corrected-eg3d").glob("kernels-*.so"))) == 1


@pytest.mark.slow
def test_the_installed_code_trains_two_steps(used):
    place, done, _ = used
    assert done["faces"].returncode == 0 and done["train"].returncode == 0, done["train"].stderr
    assert (place / "run" / "training-state.pt").exists()
    with open(max((place / "run").glob("*.safetensors")), "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    facts = json.loads(header["__metadata__"][HEADER_KEY])["facts"]
    assert facts["images_seen"] == 8 and facts["git_commit"] is None


@pytest.mark.slow
def test_what_needs_a_checkout_says_so_in_one_line(used):
    done = used[1]["make_embedded"]
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "checkout" in done.stderr


@pytest.mark.slow
def test_nothing_is_written_beside_the_installed_code(used):
    before, after = used[2]
    assert "eg3d/train.py" in before and before == after
