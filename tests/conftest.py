"""What many tests share: tiny networks, cameras, and running a script as a user would."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from eg3d.geometry.cameras import FFHQ_FOCAL, intrinsics_matrix, lookat_pose, make_label

REPOSITORY = Path(__file__).resolve().parent.parent
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with Ctrl-C ignored
torch.set_num_threads(1)  # tiny networks gain nothing from a second thread, and wait for it on a busy machine
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels for GPUs run on the CPU; Triton reads this when it is imported


class Ran(NamedTuple):
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def run_script(tmp_path):
    """run_script("eg3d/x.py", "--flag=1") runs it in place from an empty folder -> (code, stdout, stderr)."""

    def run(script, *args, timeout=300) -> Ran:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, str(REPOSITORY / script), *map(str, args)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def frontal_cameras():
    """frontal_cameras(n) -> labels [n, 25] of cameras in front of the face."""

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
    from tiny_networks import discriminator_of

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return discriminator_of(
            c_dim=25, img_resolution=32, img_channels=3, channel_base=512, channel_max=32, num_fp16_res=0,
            conv_clamp=None, epilogue_kwargs={"mbstd_group_size": 2},
        )  # fmt: skip
