"""When kernels are taken without being asked for: where measurements have shown that they are right and faster."""

import importlib
import json
from types import SimpleNamespace

import pytest
import torch

from eg3d.ops.kernels import backend
from eg3d.ops.kernels.backend import kernels_for, using
from groundwork.files import REPOSITORY

KERNELS = SimpleNamespace(instructions=lambda: "AVX2")
ON_CPU = torch.zeros(1)
ON_GPU = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float16)


@pytest.fixture(autouse=True)
def everywhere(monkeypatch):
    """Kernels can be had for every device."""
    monkeypatch.setattr(backend, "available", lambda device_type: (KERNELS, ""))


def test_on_a_gpu_auto_takes_plain_pytorch_and_kernels_must_be_asked_for(monkeypatch):
    monkeypatch.setattr(backend, "PROVEN", {"cpu": {"AVX2"}})
    with using("auto"):
        assert kernels_for(ON_GPU) is None and kernels_for(ON_CPU) is KERNELS
    with using("kernels"):
        assert kernels_for(ON_GPU) is KERNELS and kernels_for(ON_CPU) is KERNELS
    with using("torch"):
        assert kernels_for(ON_GPU) is kernels_for(ON_CPU) is None


def test_on_a_cpu_of_other_instructions_auto_takes_plain_pytorch_and_kernels_must_be_asked_for(monkeypatch):
    monkeypatch.setattr(backend, "PROVEN", {"cpu": {"AVX-512"}})
    with using("auto"):
        assert kernels_for(ON_CPU) is None
    with using("kernels"):
        assert kernels_for(ON_CPU) is KERNELS


def test_on_a_gpu_whose_kernels_are_proven_auto_takes_them(monkeypatch):
    monkeypatch.setattr(backend, "PROVEN", {"cuda": {"AVX2"}})
    with using("auto"):
        assert kernels_for(ON_GPU) is KERNELS


def test_a_gpu_is_proven_exactly_if_a_committed_result_says_so():
    files = (REPOSITORY / "benchmarks" / "results").glob("gpu_*.json")
    verdicts = [json.loads(file.read_text())["results"]["verdict"] for file in files]
    assert ("cuda" in backend.PROVEN) == ({"right": True, "faster": True} in verdicts)


def test_instructions_are_proven_exactly_if_a_committed_result_says_so():
    """Every case, drawing and training, at least FASTER times as fast as plain PyTorch."""
    (file,) = (REPOSITORY / "benchmarks" / "results").glob("instructions_*.json")
    found = json.loads(file.read_text())["results"].values()
    faster = {
        kept["instructions"] for kept in found
        if all(case["ratio"] >= backend.FASTER for case in kept["cases"].values())
    }  # fmt: skip
    assert faster == backend.PROVEN["cpu"] and len(found) == 3


def measured(*ratios):
    image, step = ratios
    pair = {"torch_to_kernels": {"ratio": step}}
    return {"ops": {}, "image": {"ffhq": {"torch_to_kernels": {"ratio": image}}}, "train-step": pair}


@pytest.mark.parametrize(
    "right, numbers, faster",
    [
        (True, measured(1.5, 1.2), True),
        (False, measured(1.5, 1.2), True),
        (True, measured(1.5, 0.9), False),
        (True, measured(1.0, 1.2), False),
        (True, {"ops": {}}, False),
    ],
)
def test_the_verdict_needs_every_picture_and_every_step_to_be_faster(right, numbers, faster, monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    gpu_check = importlib.import_module("gpu_check")
    assert gpu_check.verdict(right, numbers) == {"right": right, "faster": faster}
