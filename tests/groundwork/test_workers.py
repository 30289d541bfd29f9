"""Processes that share work end with the one that started them, without a word of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from groundwork.workers import in_processes

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SCRIPT = """
from groundwork.early import begin, stoppable
begin()
import time
from groundwork.workers import in_processes
if __name__ == "__main__":
    with stoppable():
        for _ in in_processes(time.sleep, [0.01] * 30000, 2):
            print("one", flush=True)
"""


def test_results_come_in_order():
    assert list(in_processes(abs, range(-70, 0), 2)) == list(range(70, 0, -1))
    assert list(in_processes(abs, range(-3, 0), 2, at_once=1)) == [3, 2, 1]


def test_numpy_of_a_process_has_one_thread_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert list(in_processes(os.getenv, ["OPENBLAS_NUM_THREADS"], 1)) == ["1"]
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert list(in_processes(os.getenv, ["OPENBLAS_NUM_THREADS"], 1)) == ["3"]


@pytest.mark.parametrize("number, line", [(signal.SIGINT, "interrupted\n"), (signal.SIGTERM, "terminated\n"),
                                          (signal.SIGKILL, "")])  # fmt: skip
def test_a_stop_of_the_whole_group_is_one_line_and_no_process_stays(tmp_path, number, line):
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, tmp_path / "script.py"], text=True, start_new_session=True,
                               env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout.readline() == "one\n"
    if number == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, number)
    _, stderr = process.communicate(timeout=30)  # waits for all that hold the other end
    if number == signal.SIGKILL:  # Python itself speaks of what a killed process leaves
        assert process.returncode == -number and "Traceback" not in stderr
    else:
        assert process.returncode == 128 + number and stderr == line
