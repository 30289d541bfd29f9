"""All scores of one or several generators side by side: gaze, Frechet and kernel distance, identity, pose."""

from dataclasses import asdict
from pathlib import Path

import click

from dataset_preprocessing.ffhq.pose_estimators import ReconPose, WorldPose
from eg3d.checkpoints.loading import GENERATORS, load_generator, locate, short_names
from eg3d.data.dataset import ImageDataset
from eg3d.gaze.networks import load_gaze_network
from eg3d.metrics.detectors import load_world_features
from eg3d.metrics.identity import IdentityNetwork
from eg3d.metrics.inception import load_inception
from eg3d.metrics.landmark_sources import load_source
from eg3d.metrics.registry import INCEPTION, WORLD, Metric, parse_metrics
from eg3d.ops.precision import set_precision
from eg3d.running import cli, distributed, processes
from eg3d.scores.distances import content_digest
from eg3d.scores.table import HEADS_PSI, aligned, markdown, sample_scores, table, view_scores
from eg3d.world.rendered_sets import world_faces
from groundwork.files import atomic_write, sha256

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(cls=cli.Command)
@click.option("--network", "networks", multiple=True, required=True, help="Generator; give it several times.")
@click.option("--l2cs-path", "gaze", multiple=True, default=("embedded-judge", "embedded"), show_default=True,
              help="Gaze networks that score.")  # fmt: skip
@click.option(
    "--seeds", type=cli.DISTINCT_SEEDS, default="0-1999", show_default=True, help="Heads for all but distances."
)
@click.option("--num-gen", type=click.IntRange(min=4), default=2000, show_default=True, help="Pictures for distances.")
@click.option("--data", default="embedded", show_default=True, help="Data set the distances are to.")
@click.option("--inception-weights", type=FILE, help="For FID and KID.  [default: the embedded feature network]")
@click.option("--arcface-weights", help="For identity.  [default: the embedded network]")
@click.option("--recon-weights", type=FILE, help="Deep3DFaceRecon, for pose.  [default: the embedded network]")
@click.option("--landmarks", help="Five points for identity, see calc_id.py.")
@click.option("--markdown", "markdown_path", type=FILE, help="Also write the table to this file.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Pictures of distances at once."
)
@cli.seed_option
@cli.precision_option
@cli.ops_option
@cli.process_options
@cli.json_option
def main(**options):
    """One table of all scores, every network judged by the same networks on the same seeds and cameras.

    Heads for gaze, identity and pose are drawn once, with truncation 0.7; distances, precision and recall see pictures
    without truncation.
    """
    processes.start(run, check, **options)


def check(networks, markdown_path, json_path, **_) -> None:
    for path, flag in ((json_path, "--json"), (markdown_path, "--markdown")):
        cli.check_writable(path, flag)
    if len(set(networks)) < len(networks):
        raise ValueError("--network: one of them is given twice; give each once")


def run(networks, gaze, seeds, num_gen, data, inception_weights, arcface_weights, recon_weights, landmarks,
        markdown_path, batch, seed, precision, device, json_path):  # fmt: skip
    """What each process does."""
    generators = distributed.first_of_each_machine(lambda: load_generators(networks, precision, device))
    own_world = set(networks) <= set(GENERATORS)
    judges, identity, points, pose, detectors = distributed.together(
        lambda: load_judges(gaze, inception_weights, arcface_weights, recon_weights, landmarks, own_world, device)
    )
    (kind,) = detectors
    metrics = parse_metrics("fid50k_full,kid50k_full,pr50k3_full", num_gen, kind, vgg=False)
    dataset = distributed.first_of_each_machine(lambda: open_data(data, generators[networks[0]].img_resolution))
    distributed.by_first(lambda: warn_of_few(metrics, detectors[kind].width, len(dataset)))
    columns, digest = {}, distributed.from_first(lambda: content_digest(dataset))
    for short, G in zip(short_names(networks), generators.values(), strict=True):
        rows = view_scores(G, seeds, judges, identity, points, pose, seed, progress=f"{short}: views")
        distances = sample_scores(G, dataset, digest, metrics, detectors, seed, batch, progress=True)
        columns[short] = (rows or []) + distances
    if distributed.rank() > 0:
        return
    by = {
        "gaze": {name: judge.sha256 for name, judge in judges.items()},
        "identity": {"name": identity.name, "sha256": identity.sha256, "points": points.name},
        "pose": {"name": pose.name, "sha256": pose.sha256},
        "pictures": detectors[kind].facts(),
    }
    lines, note = table(columns), footnote(by, len(seeds), num_gen, len(dataset))
    click.echo(f"{aligned(lines)}\n{note}")
    if markdown_path:
        atomic_write(markdown_path, f"{markdown(lines)}\n{note}\n".encode())
    cli.write_json(
        json_path,
        {
            "seeds": len(seeds), "psi_of_heads": HEADS_PSI, "num_gen": num_gen, "psi_of_pictures": 1.0, "seed": seed,
            "data": data, "data_sha256": digest, "samples_real": len(dataset), "judged_by": by,
            "networks": {
                short: {"network": name, "sha256": sha256(locate(name)), "scores": [asdict(row) for row in rows]}
                for (short, rows), name in zip(columns.items(), networks, strict=True)
            },
        },
    )  # fmt: skip


def warn_of_few(metrics: list[Metric], width: int, real: int) -> None:
    for metric in metrics:
        if warning := metric.warning(width, real):
            click.echo(f"warning: {warning}", err=True)


def footnote(by: dict, heads: int, pictures: int, real: int) -> str:
    """What the table rests on, and who judged."""

    def named(judge: dict) -> str:
        return f"{judge['name']} ({judge['sha256'][:12]})"

    gaze = ", ".join(f"{name} ({digest[:12]})" for name, digest in by["gaze"].items())
    return (
        f"Distances: {pictures} pictures each, to {real} real ones, {named(by['pictures'])}. The rest: {heads} heads; "
        f"gaze by {gaze}; identity by {named(by['identity'])}, points {by['identity']['points']}; "
        f"pose by {named(by['pose'])}."
    )


def load_generators(networks: tuple[str, ...], precision: str | None, device) -> dict:
    """By the names they were given by; all draw pictures of one size."""
    generators = {name: set_precision(load_generator(name, device), precision) for name in networks}
    sizes = {G.img_resolution for G in generators.values()}
    if len(sizes) > 1:
        raise ValueError(f"--network: pictures of {' and '.join(map(str, sorted(sizes)))} px cannot share a table")
    return generators


def load_judges(gaze, inception_weights, arcface_weights, recon_weights, landmarks, own_world: bool, device) -> tuple:
    """Whatever looks at pictures: gaze networks by name, identity network, points, pose estimator, feature detector.

    own_world: all heads are the embedded world's, whose mean face is another one.
    """
    source = landmarks or ("template" if arcface_weights else "embedded")
    return (
        {path: load_gaze_network(path, device) for path in gaze},
        IdentityNetwork.load(arcface_weights or "embedded", device),
        load_source(source, not arcface_weights or own_world, device),
        ReconPose(recon_weights, None, "orig", device) if recon_weights else WorldPose(device),
        {INCEPTION: load_inception(inception_weights, device)} if inception_weights
        else {WORLD: load_world_features(device)},
    )  # fmt: skip


def open_data(data: str, resolution: int) -> ImageDataset:
    """The data set of the distances; ValueError where its pictures have another size."""
    dataset = ImageDataset(world_faces() if data == "embedded" else Path(data))
    if dataset.resolution != resolution:
        raise ValueError(f"--data={data}: has {dataset.resolution} px, the generators draw {resolution} px")
    return dataset


if __name__ == "__main__":
    main()
