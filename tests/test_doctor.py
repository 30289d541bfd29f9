"""The doctor tells what is there, what is not, and which path is taken."""

import json
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from eg3d import doctor
from eg3d.ops.kernels import backend
from eg3d.running import machine as this_machine


@pytest.fixture
def machine(monkeypatch):
    """machine(capability=(9, 0), architectures=["sm_90"], cpu=..., cuda=...): a machine with one GPU, or with none."""

    def make(capability=None, architectures=(), **obstacles):
        there = capability is not None
        monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: int(there))
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(architectures))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Quick GPU")
        properties = SimpleNamespace(total_memory=80 * 2**30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
        found = {name: (None, obstacles[name]) if name in obstacles else (backend, "") for name in ("cpu", "cuda")}
        monkeypatch.setattr(backend, "available", lambda device_type: found[device_type])
        monkeypatch.setattr(this_machine, "driver_cuda", lambda: "13.2" if there else None)

    return make


def table() -> dict[str, str]:
    result = CliRunner().invoke(doctor.main, [])
    assert result.exit_code == 0, result.output
    rows = [line.split("  ", 1) for line in result.stdout.splitlines()]
    column = {len(line) - len(rest.lstrip()) for line, (_, rest) in zip(result.stdout.splitlines(), rows, strict=True)}
    assert len(column) == 1, "not aligned"
    return {name: text.strip() for name, text in rows}


def test_this_machine_is_described_in_lines_and_in_json(tmp_path):
    result = CliRunner().invoke(doctor.main, [f"--json={tmp_path / 'doctor.json'}"])
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "doctor.json").read_text())
    assert written["torch"] == torch.__version__ and torch.__version__ in result.stdout
    assert len(written["gpus"]) == torch.cuda.device_count()
    for taken in written["ops"].values():
        assert (taken["kernels"] is None) != (taken["because"] is None)


def test_a_gpu_with_proven_kernels_is_described(machine, monkeypatch):
    machine((9, 0), ["sm_80", "sm_90"])
    monkeypatch.setattr(backend, "PROVEN", {"cpu", "cuda"})
    rows = table()
    assert rows["GPU 0"] == "Quick GPU, 80.0 GiB, compute capability 9.0"
    assert rows["--precision, GPU 0"] == "fp32, fp16, tf32, bf16"
    assert rows["CUDA driver"] == "up to CUDA 13.2"
    assert rows["--ops=auto, GPU"] == rows["--ops=auto, CPU"] == "kernels (eg3d.ops.kernels.backend)"


def test_kernels_that_no_gpu_has_proven_are_named_but_not_taken(machine, monkeypatch):
    machine((9, 0), ["sm_90"])
    monkeypatch.setattr(backend, "PROVEN", {"cpu"})
    rows = table()
    assert rows["--ops=auto, CPU"] == "kernels (eg3d.ops.kernels.backend)"
    assert rows["--ops=auto, GPU"].startswith("plain PyTorch: no measurement")
    assert rows["--ops=auto, GPU"].endswith("--ops=kernels takes them")


def test_what_keeps_kernels_away_is_said(machine):
    machine((7, 5), ["sm_80"], cpu="no C++ compiler was found", cuda="Triton is not installed")
    rows = table()
    assert rows["GPU 0"].endswith("7.5, for which this PyTorch is not built")
    assert rows["--precision, GPU 0"] == "fp32, fp16"
    assert rows["--ops=auto, CPU"] == "plain PyTorch: no C++ compiler was found"
    assert rows["--ops=auto, GPU"] == "plain PyTorch: Triton is not installed"


def test_a_machine_with_nothing_is_described_too(machine, monkeypatch):
    machine(cpu="no C++ compiler was found")
    monkeypatch.setattr(this_machine, "cpp_compiler", lambda: None)
    monkeypatch.setattr(this_machine, "version", lambda package: None)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "amx_bf16": False})
    rows = table()
    assert rows["GPU"] == rows["C++ compiler"] == rows["Triton"] == rows["CUDA driver"] == "none"
    assert rows["PyTorch"].endswith("built for no GPU")
    assert rows["--precision, CPU"] == "fp32, bf16 (emulated, slow)"
    assert rows["--ops=auto, GPU"] == "plain PyTorch: PyTorch sees no CUDA device"


@pytest.mark.parametrize(
    "architectures, capability, right",
    [
        (["sm_80"], (8, 0), True),
        (["sm_80"], (8, 6), True),  # the same generation, a later member
        (["sm_86"], (8, 0), False),
        (["sm_80"], (9, 0), False),
        (["compute_80"], (9, 0), True),  # compiled on the spot
        (["compute_90"], (8, 0), False),
        (["sm_90a", "sm_100"], (10, 0), True),
        (["gfx90a"], (9, 0), False),
    ],
)
def test_it_is_known_which_gpus_pytorch_is_built_for(machine, architectures, capability, right):
    machine(capability, architectures)
    assert this_machine.built_for(*capability) == right
