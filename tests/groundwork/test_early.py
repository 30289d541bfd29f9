"""How a script ends when it is stopped or the machine gives out: one line, the right exit code, no traceback."""

import errno
import io
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from groundwork import early
from groundwork.command import Command
from groundwork.early import PACKAGES, Terminated, exhausted, foreign_package

REPOSITORY = Path(__file__).resolve().parent.parent.parent

SCRIPTS = [file for package in PACKAGES for file in (REPOSITORY / package).rglob("*.py")
           if "click.command(" in file.read_text() or file.name == "__main__.py"]  # fmt: skip


@pytest.mark.parametrize("name", PACKAGES)
def test_another_project_s_package_of_our_name_is_one_line_at_every_script(tmp_path, monkeypatch, name):
    """Ahmednull/L2CS-Net installs a package l2cs with a file model.py, as ours has."""
    assert foreign_package() is None
    monkeypatch.setattr(early, "PACKAGES", (name,))
    monkeypatch.delitem(sys.modules, name, raising=False)
    for kind, others in (("regular", sys.path), ("namespace", [])):  # a folder without __init__.py, and no other there
        folder = tmp_path / kind
        (folder / name).mkdir(parents=True)
        if kind == "regular":
            (folder / name / "__init__.py").touch()
        monkeypatch.setattr(sys, "path", [str(folder), *others])
        line = foreign_package()
        assert f"another project's package {name} in {folder / name} before ours in {REPOSITORY}; take" in line
        assert "\n" not in line
    for file in SCRIPTS:  # each asks before it imports anything of these packages
        assert "from groundwork.early import begin" in file.read_text(), file


def test_benchmarks_end_and_wait_as_the_scripts_do():
    """The worker of bench_waiting.py alone takes the policy that it measures."""
    for file in (REPOSITORY / "benchmarks").glob("*.py"):
        text = file.read_text()
        if "click.command(" in text:
            before = text.partition("\nimport ")[0].partition("\nfrom ")[0]
            assert ("    from groundwork.early import begin\n\n    begin()\n" in before) == (
                file.stem != "bench_waiting"
            )


@pytest.mark.robust
@pytest.mark.parametrize("script", ["eg3d/calc_gfas.py", "l2cs/demo.py", "dataset_preprocessing/dataset_tool.py"])
def test_another_project_s_l2cs_is_one_line_and_no_traceback(tmp_path, script):
    (tmp_path / "l2cs").mkdir()
    (tmp_path / "l2cs" / "__init__.py").touch()
    (tmp_path / "l2cs" / "model.py").write_text("raise SystemExit('this ran')\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}
    done = subprocess.run([sys.executable, str(REPOSITORY / script), "--help"], env=environment, capture_output=True,
                          text=True, timeout=100)  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "this ran" not in done.stderr
    assert done.stderr.startswith(f"error: Python finds another project's package l2cs in {tmp_path / 'l2cs'}")


EXHAUSTED = [
    (MemoryError(), "the memory ran out (no more could be had)"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes.\n at"),
     "the memory ran out (tried to allocate 400 bytes)"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
     "the memory ran out (tried to allocate 2.00 gib)"),
    (RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), "the memory ran out"),
    (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "the memory ran out"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "the memory ran out"),
    (RuntimeError("can't start new thread"), "the system allows no further thread"),
    (OSError(errno.EMFILE, "Too many open files"), "too many files are open"),
]  # fmt: skip


@pytest.mark.parametrize("error, said", EXHAUSTED, ids=range(len(EXHAUSTED)))
def test_what_has_run_out_is_one_line_of_any_command(error, said):
    @click.command(cls=Command)
    @click.option("--batch", type=int)
    def draw(batch):
        raise error

    result = CliRunner().invoke(draw, [])
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith(f"error: {said}") and result.stderr.count("\n") == 1
    assert ("--batch" in result.stderr) == ("memory" in said)


@pytest.mark.parametrize("error", [ValueError("a"), RuntimeError("shapes do not fit"), OSError(errno.ENOENT, "gone")])
def test_other_errors_are_not_taken_for_it(error):
    assert exhausted(error) is None


@pytest.mark.parametrize("number, said", [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_ends_a_command_with_one_line_after_it_has_cleaned_up(number, said):
    cleaned = []

    @click.command(cls=Command)
    def work():
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            cleaned.append(True)

    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    result = CliRunner().invoke(work, [])
    assert result.exit_code == 128 + number and result.stderr.split() == [said] and cleaned
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert issubclass(Terminated, KeyboardInterrupt)


STUB = """
from groundwork.early import begin
begin()
import time
print("importing", flush=True)
{work}
"""
ENDS = {  # what happens during the imports of a script: code, signal, exit code, line
    "Ctrl-C": ("time.sleep(9)", signal.SIGINT, 130, "interrupted"),
    "SIGTERM": ("time.sleep(9)", signal.SIGTERM, 143, "terminated"),
    "Ctrl-C inside a callback": (
        "class A:\n    def __del__(self): time.sleep(9)\nA()", signal.SIGINT, 130, "interrupted",
    ),
    "no memory": ("raise MemoryError", None, 2, "error: the memory ran out"),
    "no package": ("import thatisnowhere", None, 2, "error: No module named 'thatisnowhere'; install"),
    "no disk": ("raise OSError(28, 'No space left on device')", None, 2, "error: [Errno 28] No space left"),
}  # fmt: skip


@pytest.mark.robust
@pytest.mark.parametrize("name", ENDS)
def test_what_stops_a_script_while_it_imports_is_one_line(name):
    work, number, code, line = ENDS[name]
    process = subprocess.Popen(
        [sys.executable, "-c", STUB.format(work=work)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout.readline() == "importing\n"
    if number is not None:
        process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code and stderr.startswith(line) and stderr.count("\n") == 1, stderr


LIMITS = {"memory": (resource.RLIMIT_AS, 300 << 20), "sizes of files": (resource.RLIMIT_FSIZE, 0)}


@pytest.mark.robust
@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_of_the_shell_is_one_line_of_a_real_script(limit, tmp_path):
    kind, most = LIMITS[limit]
    done = subprocess.run(
        [sys.executable, REPOSITORY / "eg3d" / "gen_samples.py", "--network=embedded", "--seeds=0", "--outdir=out"],
        capture_output=True, text=True, timeout=100, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        preexec_fn=lambda: resource.setrlimit(kind, (most, most)),
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: "), done.stderr
    assert done.stderr.count("error") == 1 and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.png"))


# ---------------------------------------------------------------- how threads wait

WAITS = [
    (["1.0 1.0 1.0 2/90 7"], {}, ("8000", None)),  # one runnable beside this process, on two processors
    (["0 0 0 3/90 7"], {}, (None, "passive")),
    (["0 0 0 9/90 7", "0 0 0 1/90 7"], {}, ("8000", None)),  # what ran has gone at the second look
    (["nonsense"], {}, ("8000", None)),
    ([], {}, ("8000", None)),  # not Linux
    (["0 0 0 9/90 7"], {"GOMP_SPINCOUNT": "7"}, ("7", None)),
    (["0 0 0 1/90 7"], {"OMP_WAIT_POLICY": "passive"}, (None, "passive")),
]


@pytest.mark.parametrize("looks, set_by_user, waits", WAITS)
def test_threads_sleep_at_once_among_other_programs_and_soon_alone_unless_the_user_says_how(
    looks, set_by_user, waits, monkeypatch
):
    """On a busy machine threads that spin take the processor from the one that they wait for."""
    seen = iter(looks + looks[-1:] * 3)
    monkeypatch.setattr(early, "open", lambda _: io.StringIO(next(seen)) if looks else open("/nowhere"), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for name in early.WAITING_SET_BY_USER:
        monkeypatch.delenv(name, raising=False)
    for name, value in set_by_user.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    early.begin()
    assert (os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY")) == waits
    for name in early.WAITING_SET_BY_USER:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.robust
@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch brings another OpenMP there")
@pytest.mark.parametrize("script", ["eg3d/doctor.py", "l2cs/evaluate.py"])
def test_openmp_has_read_it_when_pytorch_is_imported(script):
    environment = {**os.environ, "OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": str(REPOSITORY)}
    for name in early.WAITING_SET_BY_USER:
        environment.pop(name, None)
    done = subprocess.run([sys.executable, str(REPOSITORY / script), "--help"], env=environment, capture_output=True,
                          text=True, timeout=100)  # fmt: skip
    assert "GOMP_SPINCOUNT = '8000'" in done.stderr or "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr
