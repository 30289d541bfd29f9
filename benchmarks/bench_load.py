"""How long a full-size checkpoint takes to load, and how much memory: published pickle, ours, and PyTorch's own reader.

Each load is the first of a fresh process, after the imports; the files are in the page cache. The floor is
`torch.load(weights_only=True)` of the same tensors, which builds no networks.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import torch
from timing import write_results

from eg3d.checkpoints.loading import save_snapshot
from eg3d.config import presets
from eg3d.models.discriminator import DualDiscriminator
from eg3d.models.generator import TriPlaneGenerator
from eg3d.running.cli import Command
from groundwork.files import REPOSITORY
from groundwork.places import OUTPUT_FOLDER

CHILD = """
import json, sys, time
import torch
from eg3d.checkpoints.loading import open_checkpoint
torch.zeros(8).numpy()
def memory(key):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))
open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
before, start, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
if sys.argv[2] == "torch":
    kept = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
else:
    checkpoint = open_checkpoint(sys.argv[1])
    kept = [stored.build(sys.argv[1]) for stored in checkpoint.networks.values()]
print(json.dumps({"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu,
                  "peak_bytes": memory("VmHWM") - before}))
"""


def measure(path: Path, reader: str, repeats: int) -> dict:
    """Medians over fresh processes; `peak_over_file`: memory above the start at its highest, over the file's size."""
    command = [sys.executable, "-c", CHILD, str(path), reader]
    runs = []
    for _ in range(repeats):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return median | {"file_bytes": path.stat().st_size, "peak_over_file": median["peak_bytes"] / path.stat().st_size}


@click.command(cls=Command)
@click.option("--results", type=OUTPUT_FOLDER, default=Path(__file__).parent / "results", help="Folder.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Processes per reader.")
def main(results, repeats):
    """Times loading G, D and G_ema of the 512 px FFHQ configuration (random weights)."""
    sys.path.append(str(REPOSITORY / "tests"))
    from published_layout import write_published

    torch.manual_seed(0)
    G, D = TriPlaneGenerator(presets.FFHQ.generator), DualDiscriminator(presets.FFHQ.discriminator, 512)
    networks = {"G": G, "D": D, "G_ema": G}
    numbers = {}
    with tempfile.TemporaryDirectory() as folder:
        pickle, plain, ours = (Path(folder) / name for name in ("net.pkl", "plain.pt", "net.safetensors"))
        write_published(pickle, **networks)
        # copies, because torch.save would store the tensors that G and G_ema share only once
        torch.save({n: {k: v.clone() for k, v in net.state_dict().items()} for n, net in networks.items()}, plain)
        save_snapshot(ours, networks, {})
        for name, path, reader in (("torch.load", plain, "torch"), ("published", pickle, ""), ("ours", ours, "")):
            numbers[name] = found = measure(path, reader, repeats)
            ratio = found["seconds"] / numbers["torch.load"]["seconds"]
            click.echo(
                f"{name:11s} {found['seconds']:.2f} s (CPU {found['cpu_seconds']:.2f} s), {ratio:.1f} x torch.load, "
                f"peak {found['peak_over_file']:.2f} x {found['file_bytes'] / 1e6:.0f} MB"
            )
    click.echo(f"written to {write_results(results, 'load', torch.device('cpu'), numbers)}")


if __name__ == "__main__":
    main()
