"""How many images a second training sees, plain and by kernels: full cycles, random images, no gaze term."""

import click
import torch
from cases import training
from options import against_option, shared
from timing import Elsewhere, alternate, floor, peak_bytes, timed, under, write_results

from eg3d.cli import Command, pick_device, write_json
from eg3d.training.loop import set_numerics


@click.command(cls=Command)
@click.option("--cfg", "preset", default="embedded", show_default=True, help="Preset to train.")
@click.option("--batch", type=click.IntRange(min=1), help="Images per step.  [default: the preset's]")
@click.option("--batch-gpu", type=click.IntRange(min=1), help="Images at once.  [default: the preset's]")
@click.option("--precision", help="As in train.py.")
@against_option
@shared
def main(preset, batch, batch_gpu, precision, against, repeats, device, json_path, results):
    """Images a second of whole training steps: adversarial, R1 and density terms, averaging."""
    device = pick_device(device)
    set_numerics(True)
    call = training(preset, device, batch=batch, batch_gpu=batch_gpu, precision=precision)
    plain, kernels = under("torch", call), under("kernels", call)
    bare = floor(plain, device)  # forward products only: what autograd adds to them has no Python call to record
    pair = alternate(timed(plain, device), timed(kernels, device), repeats)
    numbers = {"forward_floor_seconds": bare, "torch_to_kernels": pair, "peak_bytes": peak_bytes(device)}
    for ops, time in zip(("torch", "kernels"), pair["seconds"], strict=True):
        numbers[ops] = {"seconds": time, "images_per_second": call.images / time}
        click.echo(
            f"{preset}, --ops={ops}: {call.images / time:.1f} images/s, {time / bare:.2f} x its forward products"
        )
    click.echo(f"  peak {numbers['peak_bytes'] / 1e9:.2f} GB")
    if against:
        with Elsewhere(against, f"training-{preset}", device) as old, torch.enable_grad():
            pair = alternate(old, timed(kernels, device), repeats)
            numbers["against"] = pair | {"commit": old.commit()}
        click.echo(f"  {numbers['against']['commit']}: {pair['ratio']:.2f} x as long as by kernels")
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, f'train-step-{preset}', device, numbers)}")


if __name__ == "__main__":
    main()
