"""Identity across views: do two pictures of one generated head show the same person?"""

from pathlib import Path

import click

from eg3d import cli
from eg3d.checkpoint import GENERATORS, load_generator
from eg3d.metrics.identity import IdentityNetwork, IdentityTally, pair_names
from eg3d.metrics.landmark_sources import load_source
from eg3d.models.precision import set_precision
from eg3d.pictures import to_uint8, write_png
from eg3d.training.dataset import ImageDataset
from eg3d.views import drawn_labels, random_labels, render_from
from eg3d.world.datasets import embedded_faces


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--num-gen", type=click.IntRange(min=1), default=1024, show_default=True, help="Heads, two views each.")
@click.option("--seeds", type=cli.DISTINCT_SEEDS, help="Which heads, for example 0-255.  [default: the first num-gen]")
@click.option("--outdir", type=click.Path(file_okay=False, path_type=Path),
              help="Also write the pictures, as sample0000_0.png, into the folder arcface there.")  # fmt: skip
@click.option("--arcface-weights", help="insightface IResNet .pth (18 to 100 layers) or .onnx.  [default: embedded]")
@click.option("--landmarks", help="Five points: template (a mean face at the camera), embedded, a JSON file, a folder "
              "of .txt or a dlib .dat.  [default: embedded, with --arcface-weights template]")  # fmt: skip
@click.option(
    "--data", help="Data set (zip, folder or embedded) whose cameras are drawn, as EG3D did.  [default: uniform]"
)
@cli.look_options
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Seeds rendered at a time.")
@cli.seed_option
@cli.precision_option
@cli.ops_option
@cli.device_option
@cli.json_option
def main(network, num_gen, seeds, outdir, arcface_weights, landmarks, data, trunc, trunc_cutoff, fov_deg, batch, seed,
         precision, device, json_path):  # fmt: skip
    """Mean cosine similarity of two views of each head; higher is better.

    Cameras as published: yaw and pitch parameters uniform in +-0.4, here drawn from --seed. EG3D drew them from its
    data set (--data). What the published script prints as "ID" is the distance, 1 - similarity.
    """
    device = cli.pick_device(device)
    cli.check_writable(json_path, "--json")
    cli.check_writable(outdir, "--outdir", folder=True)
    judge = IdentityNetwork.load(arcface_weights or "embedded", device)
    embedded_world = not arcface_weights or network in GENERATORS  # whose mean face is another one
    points = load_source(landmarks or ("template" if arcface_weights else "embedded"), embedded_world, device)
    G = set_precision(load_generator(network, device), precision)
    seeds, tally = seeds or list(range(num_gen)), IdentityTally(judge, points)
    if data:
        pool = ImageDataset(embedded_faces() if data == "embedded" else Path(data)).labels
        labels = drawn_labels(pool, seeds, 2, "identity", seed)
    else:
        labels = random_labels(G, seeds, 2, "identity", seed, fov_deg)
    for views in render_from(G, seeds, labels, trunc, trunc_cutoff, fov_deg, batch, progress="identity"):
        for name, picture in zip(pair_names(views), to_uint8(views.images) if outdir else [], strict=False):
            write_png(outdir / "arcface" / name, picture)
        tally.add(views)
    report = tally.report()
    click.echo("\n".join(report.lines()))
    settings = {
        "network": network,
        "cameras": data or "uniform",
        "trunc": trunc,
        "trunc_cutoff": trunc_cutoff,
        "fov_deg": fov_deg,
        "seed": seed,
    }
    cli.write_json(json_path, settings | report.to_dict())


if __name__ == "__main__":
    main()
