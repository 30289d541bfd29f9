"""How fast faces are scored, against drawing and judging every view alone with planes of its own."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
from cases import gfas, gfas_one_by_one
from options import shared
from timing import alternate, floor, timed, under, write_results

from eg3d.gaze.networks import load_gaze_network
from eg3d.running.cli import Command, pick_device, write_json


@click.command(cls=Command)
@click.option("--cfg", "preset", default="embedded", show_default=True, help="Preset, random weights.")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=32, show_default=True, help="Faces; 2 are enough for ffhq."
)
@shared
def main(preset, seeds, repeats, device, json_path, results):
    """Faces a second of the gaze-face alignment score (three views each)."""
    device = pick_device(device)
    estimator = load_gaze_network("embedded-judge", device)
    calls = [case(preset, device, seeds, estimator) for case in (gfas_one_by_one, gfas)]
    bare = floor(under("torch", calls[1]), device)
    numbers = {"seeds": seeds, "floor_seconds": bare}
    for ops in ("torch", "kernels"):
        pair = alternate(*(timed(under(ops, call), device) for call in calls), repeats)
        numbers[ops] = pair | {"faces_per_second": seeds / pair["seconds"][1], "over_floor": pair["seconds"][1] / bare}
        speed = numbers[ops]["faces_per_second"]
        click.echo(f"{preset}, --ops={ops}: {speed:.2f} faces a second, {pair['ratio']:.2f} x as fast as one by one, "
                   f"{numbers[ops]['over_floor']:.2f} x its products")  # fmt: skip
    write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, f'gfas-{preset}', device, numbers)}")


if __name__ == "__main__":
    main()
