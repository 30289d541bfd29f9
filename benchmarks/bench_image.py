"""How long a picture takes, compared with its bare products (the floor), other number formats, and older code."""

import click
import torch
from cases import RAYS, image, view, volume
from options import against_option, shared
from timing import Elsewhere, alternate, floor, peak_bytes, seconds, timed, write_results

from eg3d.cli import Command, pick_device, write_json
from eg3d.models.precision import PRECISIONS


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
    call = image(name, device, batch, "fp32")
    time, peak = seconds(call, device, repeats), peak_bytes(device)  # peak of the process: time the largest preset last
    bare = floor(call, device)
    found = {"seconds": time / batch, "floor_seconds": bare / batch, "over_floor": time / bare, "peak_bytes": peak}
    click.echo(f"{name}, {RAYS[name]} x {RAYS[name]} rays, batch {batch}: {time / batch:.4f} s per picture, "
               f"{time / bare:.2f} x its products ({bare / batch:.4f} s); peak {peak / 2**30:.2f} GiB")  # fmt: skip

    def compare(key, other, what):
        found[key] = alternate(other, timed(call, device), repeats)
        click.echo(f"  {what}: {found[key]['seconds'][0] / batch:.4f} s, {found[key]['ratio']:.2f} x a picture's")

    if batch == 1:
        compare("further_view", timed(view(name, device), device), "a further view of kept planes")
        preview = timed(volume(name, device, side=64), device)
        compare("preview_64", preview, "64 x 64 rays of kept planes, no super-resolution")
    for precision in precisions:
        compare(precision, timed(image(name, device, batch, precision), device), precision)
    if against:
        call = image(name, device)
        with Elsewhere(against, f"image-{name}", device) as old:
            compare("against", old, f"older code, {old.commit()}")
            found["against"]["commit"] = old.commit()
    return found


if __name__ == "__main__":
    main()
