"""Identity across views: do two pictures of one generated head show the same person?"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click

from eg3d.checkpoints.loading import load_generator, network_facts
from eg3d.config.presets import ray_ranges
from eg3d.data.opening import open_dataset
from eg3d.geometry.doubts import camera_doubts
from eg3d.metrics.identity import IdentityTally, pair_names
from eg3d.pictures.aims import aim_eyes, aim_facts
from eg3d.pictures.layout import png_bytes, to_uint8
from eg3d.pictures.views import drawn_labels, random_labels, render_batch
from eg3d.running import cli, distributed, processes
from eg3d.scores.judges import check_left_out, identity_options, load_identity_judge
from eg3d.scores.origin import drawn_world
from groundwork.files import atomic_write
from groundwork.places import DATA_SET, FOLDER, IDENTITY_NETWORK, LANDMARKS, Output


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--num-gen", type=click.IntRange(min=1), help="Heads, two views each.  [default: 1024]")
@click.option("--seeds", type=cli.DISTINCT_SEEDS, help="Which heads, for example 0-255.  [default: the first num-gen]")
@click.option(
    "--outdir",
    type=Output(FOLDER, ["arcface/sample*.png"]),
    help="Also write the pictures, as sample0000_0.png, into the folder arcface there.",
)
@click.option("--arcface-weights", type=IDENTITY_NETWORK,
              help="insightface IResNet .pth (18 to 100 layers) or .onnx, embedded, or people.  [default: that of the "
              "world that the network draws]")  # fmt: skip
@identity_options
@click.option("--landmarks", type=LANDMARKS,
              help="Five points: template (a mean face at the camera), embedded, people, a JSON file, a folder of "
              ".txt or a dlib .dat.  [default: as --arcface-weights; template with a file or --identity]")  # fmt: skip
@click.option(
    "--data",
    type=DATA_SET,
    help="Data set (zip, folder, embedded or people) whose cameras are drawn, as EG3D did.  [default: uniform]",
)
@cli.skip_unmatched_option
@cli.view_options
@cli.gaze_option
@cli.batch_option(8)
@cli.seed_option
@cli.shared_compute_options
@cli.json_option
@cli.drawing_options_without_effect
def main(**options):
    """Mean cosine similarity of two views of each head; higher is better.

    Cameras as published: yaw and pitch parameters uniform in +-0.4, here drawn from --seed. EG3D drew them from its
    data set (--data). What the published script prints as "ID" is the distance, 1 - similarity.
    """
    processes.start(run, check, **options)


def check(num_gen, seeds, **_) -> None:
    if num_gen and seeds:
        raise ValueError(f"--num-gen={num_gen}: --seeds say already which heads; give one of the two")


def run(network, num_gen, seeds, outdir, arcface_weights, identity, arcface_input, landmarks, data, skip_unmatched,
        view, gaze, batch, seed, precision, device, json_path):  # fmt: skip
    """What each process does."""
    G = distributed.first_of_each_machine(lambda: load_generator(network, device, precision))
    aim_eyes([G], gaze)
    world = drawn_world(network, G.img_resolution) or ""
    judge = distributed.together(
        lambda: load_identity_judge(arcface_weights, landmarks, world, device, arcface_input, identity)
    )
    dataset = distributed.first_of_each_machine(
        lambda: open_dataset(data, skip_unmatched=skip_unmatched) if data else None
    )
    pool = None if dataset is None else dataset.labels
    if dataset is not None:
        distributed.tell_once(dataset.notes, camera_doubts(dataset.labels, ray_ranges(G)))
    check_left_out({"--arcface-weights": arcface_weights or identity}, {network: G})
    tally = IdentityTally(*judge)

    def read(part: list[int]) -> tuple[dict[int, float | None], dict[str, bytes]]:
        if pool is None:
            labels = random_labels(G, part, 2, "identity", seed, view.fov_deg)
        else:
            labels = drawn_labels(pool, part, 2, "identity", seed)
        views = render_batch(G, part, labels, view)
        pictures = map(png_bytes, to_uint8(views.images)) if outdir else []
        return tally.read(views), dict(zip(pair_names(views), pictures, strict=False))

    for similarity, pictures in processes.batches(seeds or range(num_gen or 1024), batch, read, "identity", "seed"):
        tally.take(similarity)
        for name, picture in pictures.items():
            atomic_write(outdir / "arcface" / name, picture)
    if distributed.rank() == 0:
        report = tally.report()
        click.echo("\n".join(report.lines()))
        facts = network_facts(network) | {"cameras": data or "uniform", "seed": seed} | view.facts() | aim_facts(gaze)
        cli.write_json(json_path, facts | report.to_dict())


if __name__ == "__main__":
    main()
