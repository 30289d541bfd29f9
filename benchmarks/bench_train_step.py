"""How many images a second training sees: full cycles of the lazy regularisers, random images, no gaze term."""

import click
import torch
from cases import training
from options import against_option, shared
from timing import Elsewhere, alternate, floor, peak_bytes, seconds, timed, write_results

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
    time = seconds(call, device, repeats, warm_up=1)
    bare = floor(call, device)  # forward products only: what autograd adds to them has no Python call to record
    numbers = {
        "images_per_second": call.images / time,
        "forward_floor_seconds": bare,
        "seconds": time,
        "peak_bytes": peak_bytes(device),
    }
    click.echo(f"{preset}: {call.images / time:.1f} images/s, {time / bare:.2f} x its forward products, "
               f"peak {numbers['peak_bytes'] / 2**30:.2f} GiB")  # fmt: skip
    if against:
        with Elsewhere(against, f"training-{preset}", device) as old, torch.enable_grad():
            pair = alternate(old, timed(call, device), repeats)
            numbers["against"] = pair | {"commit": old.commit()}
        click.echo(f"  {numbers['against']['commit']}: {pair['ratio']:.2f} x as long")
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, f'train-step-{preset}', device, numbers)}")


if __name__ == "__main__":
    main()
