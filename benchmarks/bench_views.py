"""How long volume rendering alone takes, against the definition and against older code."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import torch
from cases import RAYS, cameras, generator, volume
from options import against_option, shared
from timing import Elsewhere, alternate, floor, seconds, timed, under, write_results

from eg3d.geometry.cameras import split_label
from eg3d.geometry.rays import camera_rays
from eg3d.rendering import definition
from eg3d.running.cli import Command, pick_device, write_json
from groundwork.draws import Midpoints


def plain_volume(preset, device):
    """The same call by the definition, which sorts colours as the published order of operations does."""
    G, c = generator(preset, device), cameras(1, device)
    ws = G.mapping(torch.randn(1, G.z_dim, device=device), c)
    planes, options = G.planes(ws, "const"), G.options
    origins, directions = camera_rays(*split_label(c), RAYS[preset])
    return lambda: definition.render(planes, G.decoder, origins, directions, options, Midpoints())


@click.command(cls=Command)
@click.option("--cfg", "preset", default="ffhq", show_default=True, help="Preset whose planes and rays are taken.")
@against_option
@shared
def main(preset, against, repeats, device, json_path, results):
    """Seconds of volume rendering with all rays of the preset, planes given."""
    device = pick_device(device)
    with torch.inference_mode():
        call, plain = volume(preset, device), plain_volume(preset, device)
        bare = floor(under("torch", call), device)
        numbers = {"floor_seconds": bare}
        for ops in ("torch", "kernels"):
            variant = under(ops, call)
            time, pair = (
                seconds(variant, device, repeats),
                alternate(timed(plain, device), timed(variant, device), repeats),
            )
            numbers[ops] = {"seconds": time, "over_floor": time / bare, "plain": pair}
            click.echo(f"{preset}, --ops={ops}: {time:.4f} s, {time / bare:.2f} x its products")
            click.echo(f"  the definition: {pair['seconds'][0]:.4f} s, {pair['ratio']:.2f} x as long")
        if against:
            with Elsewhere(against, f"volume-{preset}", device) as old:
                pair = alternate(old, timed(under("torch", call), device), repeats)
                numbers["against"] = pair | {"commit": old.commit()}
            click.echo(
                f"  {numbers['against']['commit']}: {pair['seconds'][0]:.4f} s, {pair['ratio']:.2f} x plain PyTorch"
            )
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, 'views', device, numbers)}")


if __name__ == "__main__":
    main()
