"""Runs tests and benchmarks on this machine's GPU and leaves one results file: `make gpu-check`.

The file's "verdict" decides whether `--ops=auto` takes the kernels on GPUs: see PROVEN in eg3d/ops/kernels/backend.py.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from timing import write_results

from eg3d.running.cli import Command, pick_device
from groundwork.files import REPOSITORY
from groundwork.places import OUTPUT_FOLDER

HERE = Path(__file__).resolve().parent
RUNS = {
    "ops": ["bench_ops.py", "--repeats=10"],
    "field": ["bench_field.py", "--cfg=ffhq", "--batch=4", "--repeats=10"],
    "image": ["bench_image.py", "--cfg=embedded", "--cfg=ffhq", "--repeats=10"],
    "image-512-batch-8": [
        "bench_image.py",
        "--cfg=ffhq",
        "--batch=8",
        "--repeats=5",
        "--precision=fp16",
        "--precision=tf32",
    ],
    "train-step": ["bench_train_step.py", "--repeats=3"],
    "train-step-512": ["bench_train_step.py", "--cfg=ffhq", "--batch=8", "--batch-gpu=4", "--repeats=1"],
}


@click.command(cls=Command)
@click.option("--results", type=OUTPUT_FOLDER, default=HERE / "results", help="Folder for the results.")
def main(results):
    """Tests and benchmarks on a CUDA device, into one file gpu_<device>_<yyyymm>.json."""
    device = pick_device("cuda")
    right, numbers = run_tests(), {}
    for name, (script, *flags) in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(HERE / script), *flags, "--device=cuda", f"--results={folder}"]
            done = subprocess.run(command, check=False)
            files = list(Path(folder).iterdir())
            if done.returncode or not files:
                raise ValueError(f"{script} {' '.join(flags)} failed with exit code {done.returncode}")
            numbers[name] = json.loads(files[0].read_text())["results"]
    numbers["verdict"] = verdict(right, numbers)
    click.echo(f"{numbers['verdict']}\nwritten to {write_results(results, 'gpu', device, numbers)}")


def run_tests() -> bool:
    """Whether the tests marked gpu pass. Only their files are named: others may import what this machine lacks."""
    files = [str(file) for file in sorted((REPOSITORY / "tests").rglob("test_*.py")) if "mark.gpu" in file.read_text()]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", *files]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, check=False, cwd=REPOSITORY, env=environment).returncode == 0


def verdict(right: bool, numbers: dict) -> dict:
    """Whether kernels are right (the tests) and faster than plain PyTorch, in every picture and training step."""
    pictures = [cfg for name in numbers if name.startswith("image") for cfg in numbers[name].values()]
    steps = [numbers[name] for name in numbers if name.startswith("train-step")]
    ratios = [measured["torch_to_kernels"]["ratio"] for measured in (*pictures, *steps)]
    return {"right": right, "faster": bool(pictures and steps) and min(ratios) > 1}


if __name__ == "__main__":
    main()
