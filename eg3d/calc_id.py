"""Identity across views: do two pictures of one generated head show the same person?"""

from pathlib import Path

import click
import torch

from eg3d.checkpoints.loading import GENERATORS, load_generator, locate
from eg3d.data.dataset import ImageDataset
from eg3d.metrics.identity import IdentityNetwork, IdentityTally, pair_names
from eg3d.metrics.landmark_sources import load_source
from eg3d.ops.precision import set_precision
from eg3d.pictures.layout import png_bytes, to_uint8
from eg3d.pictures.views import drawn_labels, random_labels, render_batch
from eg3d.running import cli, distributed, processes
from eg3d.world.rendered_sets import world_faces
from groundwork.files import atomic_write, sha256


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--num-gen", type=click.IntRange(min=1), help="Heads, two views each.  [default: 1024]")
@click.option("--seeds", type=cli.DISTINCT_SEEDS, help="Which heads, for example 0-255.  [default: the first num-gen]")
@click.option("--outdir", type=click.Path(file_okay=False, path_type=Path),
              help="Also write the pictures, as sample0000_0.png, into the folder arcface there.")  # fmt: skip
@click.option("--arcface-weights", help="insightface IResNet .pth (18 to 100 layers) or .onnx.  [default: embedded]")
@click.option("--landmarks", help="Five points: template (a mean face at the camera), embedded, a JSON file, a folder "
              "of .txt or a dlib .dat.  [default: embedded, with --arcface-weights template]")  # fmt: skip
@click.option(
    "--data", help="Data set (zip, folder or embedded) whose cameras are drawn, as EG3D did.  [default: uniform]"
)
@cli.view_options
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Seeds rendered at a time.")
@cli.seed_option
@cli.precision_option
@cli.ops_option
@cli.process_options
@cli.json_option
def main(**options):
    """Mean cosine similarity of two views of each head; higher is better.

    Cameras as published: yaw and pitch parameters uniform in +-0.4, here drawn from --seed. EG3D drew them from its
    data set (--data). What the published script prints as "ID" is the distance, 1 - similarity.
    """
    processes.start(run, check, **options)


def check(num_gen, seeds, outdir, json_path, **_) -> None:
    if num_gen and seeds:
        raise ValueError(f"--num-gen={num_gen}: --seeds say already which heads; give one of the two")
    cli.check_writable(json_path, "--json")
    cli.check_writable(outdir, "--outdir", folder=True)


def run(network, num_gen, seeds, outdir, arcface_weights, landmarks, data, trunc, trunc_cutoff, fov_deg, batch, seed,
        precision, device, json_path):  # fmt: skip
    """What each process does."""
    tally = distributed.together(lambda: load_judge(arcface_weights, landmarks, network, device))
    G = distributed.first_of_each_machine(lambda: set_precision(load_generator(network, device), precision))
    pool = distributed.first_of_each_machine(lambda: cameras_of(data))

    def read(part: list[int]) -> tuple[dict[int, float | None], dict[str, bytes]]:
        if pool is not None:
            labels = drawn_labels(pool, part, 2, "identity", seed)
        else:
            labels = random_labels(G, part, 2, "identity", seed, fov_deg)
        views = render_batch(G, part, labels, trunc, trunc_cutoff, fov_deg)
        pictures = map(png_bytes, to_uint8(views.images)) if outdir else []
        return tally.read(views), dict(zip(pair_names(views), pictures, strict=False))

    for similarity, pictures in processes.batches(seeds or range(num_gen or 1024), batch, read, "identity", "seed"):
        tally.take(similarity)
        for name, picture in pictures.items():
            atomic_write(outdir / "arcface" / name, picture)
    if distributed.rank() == 0:
        report = tally.report()
        click.echo("\n".join(report.lines()))
        settings = {
            "network": network,
            "network_sha256": sha256(locate(network)),
            "cameras": data or "uniform",
            "trunc": trunc,
            "trunc_cutoff": trunc_cutoff,
            "fov_deg": fov_deg,
            "seed": seed,
        }
        cli.write_json(json_path, settings | report.to_dict())


def load_judge(arcface_weights: str | None, landmarks: str | None, network: str, device) -> IdentityTally:
    """The network that embeds faces, and where it finds their points."""
    judge = IdentityNetwork.load(arcface_weights or "embedded", device)
    in_world = not arcface_weights or network in GENERATORS  # whose mean face is another one
    source = landmarks or ("template" if arcface_weights else "embedded")
    return IdentityTally(judge, load_source(source, in_world, device))


def cameras_of(data: str | None) -> torch.Tensor | None:
    """Labels [N, 25] of a data set; None without one."""
    return ImageDataset(world_faces() if data == "embedded" else Path(data)).labels if data else None


if __name__ == "__main__":
    main()
