"""Runs the benchmarks on this machine's GPU and leaves one results file: `make gpu-check` calls it after the tests."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from timing import write_results

from eg3d.running.cli import Command, pick_device

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
@click.option("--results", type=click.Path(path_type=Path), default=HERE / "results", help="Folder for the results.")
def main(results):
    """Benchmarks on a CUDA device, into one file gpu_<device>_<yyyymm>.json."""
    device = pick_device("cuda")
    numbers = {}
    for name, (script, *flags) in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(HERE / script), *flags, "--device=cuda", f"--results={folder}"]
            done = subprocess.run(command, check=False)
            files = list(Path(folder).iterdir())
            if done.returncode or not files:
                raise ValueError(f"{script} {' '.join(flags)} failed with exit code {done.returncode}")
            numbers[name] = json.loads(files[0].read_text())["results"]
    click.echo(f"written to {write_results(results, 'gpu', device, numbers)}")


if __name__ == "__main__":
    main()
