"""How long a picture takes, plain and by kernels, against its bare products (the floor), other formats, older code."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import torch
from cases import RAYS, generator, image, parts, view, volume
from options import against_option, shared
from timing import Elsewhere, alternate, floor, peak_bytes, seconds, timed, under, write_results

from eg3d.checkpoints.loading import save_snapshot
from eg3d.ops.precision import PRECISIONS
from eg3d.running.cli import Command, pick_device, write_json
from groundwork.files import REPOSITORY


@click.command(cls=Command)
@click.option("--cfg", "names", multiple=True, default=("embedded", "ffhq"), show_default=True, help="Presets to time.")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(list(PRECISIONS)),
              help="Other number formats, compared with float32.")  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Latents at once.")
@against_option
@shared
def main(names, precisions, batch, against, repeats, device, json_path, results):
    """Seconds per picture of the presets' generators, random weights."""
    device = pick_device(device)
    with torch.inference_mode():
        numbers = {name: measure(name, precisions, batch, against, repeats, device) for name in names}
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, 'image', device, numbers)}")


def measure(name, precisions, batch, against, repeats, device) -> dict:
    """All numbers of one preset; each ratio is of two variants in turn."""
    picture = image(name, device, batch, "fp32")
    plain, call = under("torch", picture), under("kernels", picture)
    bare = floor(plain, device)
    found = {"floor_seconds": bare / batch}
    for ops, variant in (("torch", plain), ("kernels", call)):
        spent = seconds(variant, device, repeats)
        found[ops] = {"seconds": spent / batch, "over_floor": spent / bare}
        click.echo(f"{name}, {RAYS[name]} x {RAYS[name]} rays, batch {batch}, --ops={ops}: {spent / batch:.4f} s per "
                   f"picture, {spent / bare:.2f} x its products ({bare / batch:.4f} s)")  # fmt: skip
        if batch == 1:
            found[ops]["parts"] = medians_of_parts(under(ops, parts(name, device)), repeats)
            click.echo("  " + ", ".join(f"{part} {spent:.3f} s" for part, spent in found[ops]["parts"].items()))

    def compare(key, other, what, base=call):
        found[key] = alternate(other, timed(base, device), repeats)
        click.echo(f"  {what}: {found[key]['seconds'][0] / batch:.4f} s, {found[key]['ratio']:.2f} x a picture's")

    compare("torch_to_kernels", timed(plain, device), "plain PyTorch")
    if batch == 1:
        compare("further_view", timed(under("kernels", view(name, device)), device), "a further view of kept planes")
        preview = under("kernels", volume(name, device, side=64))
        compare("preview_64", timed(preview, device), "64 x 64 rays of kept planes, no super-resolution")
    for precision in precisions:
        other = image(name, device, batch, precision)
        for ops, base in (("torch", plain), ("kernels", call)):
            compare(f"{precision}_{ops}", timed(under(ops, other), device), f"{precision}, --ops={ops}", base)
    if against:
        with Elsewhere(against, f"image-{name}", device) as old:
            compare("against", old, f"older code, {old.commit()}, against plain PyTorch", plain)
            found["against"]["commit"] = old.commit()
    if device.type == "cpu":
        found["peak_bytes"] = peak_of_samples(name)
        click.echo(f"  gen_samples.py, one face from three sides: peak {found['peak_bytes'] / 1e9:.2f} GB")
    else:
        found["peak_bytes"] = peak_bytes(device)
        click.echo(f"  peak so far {found['peak_bytes'] / 1e9:.2f} GB")
    return found


def medians_of_parts(call, repeats) -> dict[str, float]:
    """Median seconds of each part of a picture, after one call that warms up."""
    found = [call() for _ in range(repeats + 1)][1:]
    return {part: statistics.median(run[part] for run in found) for part in found[0]}


def peak_of_samples(name: str) -> int:
    """Highest memory of a process that draws one face of the preset, random weights, as a user would."""
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "network.safetensors"
        save_snapshot(network, {"G_ema": generator(name, "cpu")}, {})
        script = REPOSITORY / "eg3d" / "gen_samples.py"
        command = [sys.executable, str(script), f"--network={network}", "--seeds=0", f"--outdir={folder}"]
        process = subprocess.Popen([*command, "--device=cpu"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:  # the kernel's own count of a child (ru_maxrss) starts with its parent's memory
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            peak = int(found[1]) * 1024 if found else peak
            time.sleep(0.02)
        assert process.returncode == 0, f"{command} failed"
        return peak


if __name__ == "__main__":
    main()
