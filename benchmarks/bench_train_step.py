"""How many images a second training sees: full cycles of the embedded preset or another, no gaze term.

Three variants in turn: the twin of the published step (tests/oracles/plain_training.py), our step in plain PyTorch, and
our step by kernels. The twin has a process of its own, without the allocator, and takes part for the embedded
preset as it is, on a CPU: on a GPU the published code had kernels of its own, and the twin has none.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import contextlib
import itertools

import click
import torch
from cases import training
from options import against_option, shared
from timing import Elsewhere, alternate, compared, floor, in_turn, peak_bytes, timed, under, write_results

from eg3d.running.cli import Command, pick_device, write_json
from eg3d.training.loop import set_numerics
from groundwork.files import REPOSITORY


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
    kernels, plain = under("kernels", call), under("torch", call)
    kernels()
    peak = peak_bytes(device)  # before the others, of whom the process would remember more
    variants = {"torch": timed(plain, device), "kernels": timed(kernels, device)}
    with contextlib.ExitStack() as processes:
        if device.type == "cpu" and preset == "embedded" and not (batch or batch_gpu or precision):
            twin = processes.enter_context(Elsewhere(REPOSITORY, "published-training-embedded", device))
            variants = {"published": twin, **variants}
        rounds = in_turn(list(variants.values()), repeats)
    bare = floor(plain, device)  # forward products only: what autograd adds to them has no Python call to record
    numbers = {"forward_floor_seconds": bare, "peak_bytes": peak}
    for (i, first), (j, second) in itertools.combinations(enumerate(variants), 2):
        pair = numbers[f"{first}_to_{second}"] = compared([(times[i], times[j]) for times in rounds])
        for name, time in zip((first, second), pair["seconds"], strict=True):
            numbers[name] = {"seconds": time, "images_per_second": call.images / time}
    for name in variants:
        time, speed = numbers[name]["seconds"], numbers[name]["images_per_second"]
        click.echo(f"{preset}, {name}: {speed:.1f} images/s, {time / bare:.2f} x the forward products")
    for first, second in itertools.combinations(variants, 2):
        click.echo(f"  {first} takes {numbers[f'{first}_to_{second}']['ratio']:.2f} x as long as {second}")
    click.echo(f"  peak by kernels {peak / 1e9:.2f} GB")
    if against:
        with Elsewhere(against, f"training-{preset}", device) as old, torch.enable_grad():
            pair = alternate(old, timed(kernels, device), repeats)
            numbers["against"] = pair | {"commit": old.commit()}
        click.echo(f"  {numbers['against']['commit']}: {pair['ratio']:.2f} x as long as by kernels")
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, f'train-step-{preset}', device, numbers)}")


if __name__ == "__main__":
    main()
