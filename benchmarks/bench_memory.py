"""How much memory a training step takes, by images at once; each number is the peak of a process of its own."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from options import shared
from timing import write_results

from eg3d.running.cli import Command, pick_device, write_json

HERE = Path(__file__).resolve().parent


@click.command(cls=Command)
@click.option("--cfg", "preset", default="embedded", show_default=True, help="Preset to train.")
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Images per step.")
@click.option("--batch-gpu", "sizes", type=int, multiple=True, default=(4, 8, 16), show_default=True, help="At once.")
@shared
def main(preset, batch, sizes, repeats, device, json_path, results):
    """Peak memory and speed of training for several --batch-gpu."""
    device, numbers = pick_device(device), {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "numbers.json"
            command = [
                sys.executable, str(HERE / "bench_train_step.py"), f"--cfg={preset}", f"--batch={batch}",
                f"--batch-gpu={size}", f"--repeats={repeats}", f"--device={device.type}", f"--json={path}",
                f"--results={folder}",
            ]  # fmt: skip
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            found = json.loads(path.read_text())
        numbers[size] = {"peak_bytes": found["peak_bytes"], **found["kernels"]}
        click.echo(f"{preset}, batch {batch}, {size} at once: peak {found['peak_bytes'] / 1e9:.2f} GB, "
                   f"{found['kernels']['images_per_second']:.1f} images/s")  # fmt: skip
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, f'memory-{preset}', device, numbers)}")


if __name__ == "__main__":
    main()
