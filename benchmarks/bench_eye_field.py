"""What a gaze that can be set costs: pictures, memory and training of an eye field against those of its base."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from cases import cameras, generator, write_noise
from options import shared
from timing import alternate, peak_bytes, synchronise, write_results

from eg3d.checkpoints.loading import load_generator
from eg3d.config.flags import resolve
from eg3d.config.presets import PRESETS
from eg3d.config.run import network_from_dict
from eg3d.data.dataset import ImageDataset
from eg3d.gaze.networks import load_gaze_network
from eg3d.models.eye_field import EyeField
from eg3d.running.cli import Command, pick_device, write_json
from eg3d.training.trainer import Trainer
from eg3d.world.training.recipes import CONTROL
from groundwork.draws import Midpoints

WHO = ("base", "eyes")
LEAST_SECONDS = 1.0  # of one measurement, so that it spans the machine's short moods


def drawn(preset: str, who: str, device, heads: int, views: int) -> Callable:
    """Pictures of `heads` latents from `views` cameras each, of a base or of eyes in it.

    Weights are random but for embedded. A random base has its surface anywhere, and so its eyes.
    """
    G = load_generator("embedded-base", device) if preset == "embedded" else generator(preset, device)
    c = cameras(views, device).repeat(heads, 1)
    ws = G.mapping(torch.randn(heads, G.z_dim, device=device), c[:heads])
    if who == "eyes":
        G = eyes_in(G, preset)
    return lambda: G.synthesis(ws, c, draws=Midpoints(), noise_mode="const")


def eyes_in(base, preset: str) -> EyeField:
    """An eye field on a base: its eyes are the base's, as before any training."""
    its, control = PRESETS[preset], dataclasses.replace(PRESETS[preset].control, on=True)
    plain = control.on_base(dataclasses.asdict(base.config), its.gaze.eye_x, its.gaze.eye_y)
    field = EyeField(network_from_dict("generator", plain), base.neural_rendering_resolution)
    weights, state = base.state_dict(), field.state_dict()
    field.load_state_dict({n: weights[o] if (o := field.origin_of(n)) else value for n, value in state.items()})
    return field.eval().requires_grad_(False).to(next(base.parameters()).device)


def trained(who: str, device, folder: Path) -> Callable:
    """One cycle of the lazy regularisers of fine-tuning embedded-base with the gaze term; 16 steps of 16 pictures."""
    config = resolve("embedded", data=str(folder), resume="embedded-base", **(CONTROL if who == "eyes" else {}))
    dataset = ImageDataset(folder)
    dataset.keep_if_small()
    trainer = Trainer(config, dataset, device, gaze_estimator=load_gaze_network("embedded", device))

    def cycle():
        trainer.batch_index = 0
        for _ in range(config.loss.r1_every):
            trainer.step()

    cycle.images = config.loss.r1_every * config.batch
    return cycle


def busy(call: Callable, device) -> Callable[[], float]:
    """Seconds of a call, the mean of some: of this process on a CPU, whatever else runs there; else by the clock."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter

    def run() -> float:
        calls, start = 0, clock()
        while clock() < start + LEAST_SECONDS:
            call()
            synchronise(device)
            calls += 1
        return (clock() - start) / calls

    return run


def both(calls, device, repeats: int, pictures: int) -> dict:
    """Seconds a picture of the base and of the eyes, measured in turn, and the ratios of neighbours; medians."""
    found = alternate(*(busy(call, device) for call in reversed(calls)), repeats)
    times = [seconds / pictures for seconds in reversed(found.pop("seconds"))]
    return dict(zip(WHO, times, strict=True)) | found


def peak(preset: str, who: str, device) -> int:
    """Bytes that a process of its own needs at most for a picture."""
    command = [sys.executable, __file__, f"--cfg={preset}", f"--alone={who}", f"--device={device.type}"]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


@click.command(cls=Command)
@click.option("--cfg", "presets", multiple=True, default=("embedded", "ffhq"), show_default=True, help="Sizes.")
@click.option("--alone", type=click.Choice(WHO), hidden=True, help="Draw one picture and say the peak memory.")
@shared
def main(presets, alone, repeats, device, json_path, results):
    """Seconds a picture (8 heads x 3 cameras, and one picture; large ones alone), peak memory, seconds of training."""
    device, numbers = pick_device(device), {}
    with torch.inference_mode():
        if alone:
            drawn(presets[0], alone, device, 1, 1)()
            click.echo(peak_bytes(device))
            return
        for preset in presets:
            numbers[preset] = of_preset = {}
            for heads, views in ((8, 3), (1, 1)) if preset == "embedded" else ((1, 1),):
                calls = [drawn(preset, who, device, heads, views) for who in WHO]
                name = f"{heads} x {views}"
                of_preset[name] = found = both(calls, device, repeats, heads * views)
                click.echo(f"{preset}, {name}: {1e3 * found['base']:.1f} ms a picture, with eyes "
                           f"{1e3 * found['eyes']:.1f} ms, {found['ratio']:.2f} x")  # fmt: skip
            bytes_of = [peak(preset, who, device) for who in WHO]
            of_preset["peak_bytes"] = dict(zip(WHO, bytes_of, strict=True))
            click.echo(
                f"  peak {bytes_of[0] / 1e6:.0f} and {bytes_of[1] / 1e6:.0f} MB, {bytes_of[1] / bytes_of[0]:.2f} x"
            )
    with tempfile.TemporaryDirectory() as folder:
        write_noise(Path(folder), PRESETS["embedded"].generator.resolution)
        calls = [trained(who, device, Path(folder)) for who in WHO]
        numbers["training"] = found = both(calls, device, max(repeats // 2, 1), calls[0].images)
    click.echo(f"training, embedded: {1e3 * found['base']:.1f} ms an image, with eyes {1e3 * found['eyes']:.1f} ms, "
               f"{1 / found['ratio']:.2f} of its speed")  # fmt: skip
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, 'eye-field', device, numbers)}")


if __name__ == "__main__":
    main()
