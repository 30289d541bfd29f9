"""All scores of one or several generators side by side: gaze, Frechet and kernel distance, identity, pose."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

from dataclasses import asdict

import click

from dataset_preprocessing.ffhq.pose_estimators import load_pose_estimator
from eg3d.checkpoints.loading import load_generator, locate, short_names
from eg3d.config.presets import ray_ranges
from eg3d.data.opening import open_dataset_for
from eg3d.gaze.networks import load_gaze_network
from eg3d.geometry.doubts import camera_doubts
from eg3d.metrics.registry import DETECTORS, INCEPTION, WORLD, parse_metrics
from eg3d.models.eye_field import is_aimed
from eg3d.running import cli, distributed, processes
from eg3d.scores.distances import Distances, load_detectors
from eg3d.scores.judges import UNKNOWN, Judges, check_left_out, identity_options, load_identity_judge
from eg3d.scores.origin import drawn_world
from eg3d.scores.table import (
    HEADS,
    PICTURES_PSI,
    aligned,
    control_scores,
    markdown,
    sample_scores,
    table,
    view_scores,
)
from groundwork.files import sha256, write_text
from groundwork.places import (
    DATA_SET,
    GAZE_JUDGE,
    GENERATOR,
    IDENTITY_NETWORK,
    INPUT_FILE,
    LANDMARKS,
    POSE_NETWORK,
)

METRICS = "fid50k_full,kid50k_full,pr50k3_full"


@click.command(cls=cli.Command)
@click.option(
    "--network", "networks", type=GENERATOR, multiple=True, required=True, help="Generator; give it several times."
)
@click.option("--l2cs-path", "gaze", type=GAZE_JUDGE, multiple=True,
              help="Gaze networks that score.  [default: judge and loss network of the world that is drawn: "
              "embedded-judge and embedded, people-judge and people]")  # fmt: skip
@click.option(
    "--seeds", type=cli.DISTINCT_SEEDS, default="0-1999", show_default=True, help="Heads for all but distances."
)
@click.option("--num-gen", type=click.IntRange(min=4), default=2000, show_default=True, help="Pictures for distances.")
@click.option("--data", type=DATA_SET, help="Data set the distances are to.  [default: that of the world that is "
              "drawn: embedded, people]")  # fmt: skip
@cli.skip_unmatched_option
@click.option("--detector", type=click.Choice(DETECTORS),
              help="Whose features distances compare.  [default: inception with --inception-weights, else "
              "embedded]")  # fmt: skip
@click.option("--inception-weights", type=INPUT_FILE, help="Weights of the detector, for FID and KID.")
@click.option(
    "--arcface-weights", type=IDENTITY_NETWORK, help="For identity.  [default: that of the world: embedded, people]"
)
@identity_options
@click.option("--recon-weights", type=POSE_NETWORK,
              help="Deep3DFaceRecon, for pose.  [default: that of the world: embedded, people]")  # fmt: skip
@click.option("--landmarks", type=LANDMARKS, help="Five points for identity, see calc_id.py.")
@click.option("--markdown", "markdown_path", type=cli.OUTPUT_FILE, help="Also write the table to this file.")
@cli.batch_option(16, "Pictures of distances at once.")
@cli.seed_option
@cli.shared_compute_options
@cli.json_option
def main(**options):
    """One table of all scores, every network judged by the same networks on the same seeds and cameras.

    Heads for gaze, identity and pose are drawn once, with truncation 0.7; distances, precision and recall see pictures
    without truncation. If the gaze of a network can be set, its first 64 heads tell how well.
    """
    processes.start(run, check, **options)


def check(networks, **_) -> None:
    if len(set(networks)) < len(networks):
        raise ValueError("--network: one of them is given twice; give each once")


def run(networks, seeds, num_gen, data, skip_unmatched, markdown_path, batch, seed, detector, inception_weights,
        precision, device, json_path, **weights):  # fmt: skip
    """What each process does."""
    generators = distributed.first_of_each_machine(lambda: load_generators(networks, device, precision))
    worlds = {drawn_world(name, G.img_resolution) for name, G in zip(networks, generators, strict=True)}
    world = worlds.pop() or "" if len(worlds) == 1 else ""
    check_left_out(
        {
            "--l2cs-path": weights["gaze"] or None,
            "--arcface-weights": weights["arcface_weights"] or weights["identity"],
            "--recon-weights": weights["recon_weights"],
        },
        dict(zip(networks, generators, strict=True)),
    )
    data, own = data or world or UNKNOWN, world or UNKNOWN
    weights["gaze"] = weights["gaze"] or (f"{own}-judge", own)
    kind = detector or (INCEPTION if inception_weights else WORLD)
    metrics = parse_metrics(METRICS, num_gen, kind, vgg=False)
    detectors = distributed.together(lambda: load_detectors(metrics, inception_weights, None, device))
    judges = distributed.together(lambda: load_judges(**weights, world=world, pictures=detectors[kind], device=device))
    resolution = generators[0].img_resolution
    dataset = distributed.first_of_each_machine(
        lambda: open_dataset_for(data, resolution, skip_unmatched=skip_unmatched)
    )
    distributed.tell_once(dataset.notes, camera_doubts(dataset.labels, ray_ranges(generators[0])))
    distances, columns = Distances(metrics, detectors, dataset), {}
    for short, G in zip(short_names(networks), generators, strict=True):
        of_heads = view_scores(G, seeds, judges, seed, progress=f"{short}: views")
        if any(map(is_aimed, generators)):
            of_heads += control_scores(G, seeds, judges, progress=f"{short}: gazes")
        columns[short] = of_heads + sample_scores(G, distances, seed, batch)
    if distributed.rank() > 0:
        return
    lines, note = table(columns), judges.footnote(len(seeds), num_gen, len(dataset))
    click.echo(f"{aligned(lines)}\n{note}")
    if markdown_path:
        write_text(markdown_path, f"{markdown(lines)}\n{note}\n")
    facts = {
        "seeds": len(seeds), "psi_of_heads": HEADS.psi, "num_gen": num_gen, "psi_of_pictures": PICTURES_PSI,
        "seed": seed, "data": data, "data_sha256": distances.digest, "samples_real": len(dataset),
        "judged_by": judges.facts(),
    }  # fmt: skip
    scores = {
        short: {"network": name, "sha256": sha256(locate(name)), "scores": [asdict(row) for row in rows]}
        for (short, rows), name in zip(columns.items(), networks, strict=True)
    }
    cli.write_json(json_path, facts | {"networks": scores})


def load_generators(networks: tuple[str, ...], device, precision: str | None) -> list:
    """In their order; all draw pictures of one size."""
    generators = [load_generator(name, device, precision) for name in networks]
    sizes = {G.img_resolution for G in generators}
    if len(sizes) > 1:
        raise ValueError(f"--network: pictures of {' and '.join(map(str, sorted(sizes)))} px cannot share a table")
    return generators


def load_judges(
    gaze, arcface_weights, identity, arcface_input, recon_weights, landmarks, world: str, pictures, device
) -> Judges:
    """All that look at pictures; world: that all generators draw, empty if nothing tells; pictures: the detector."""
    return Judges(
        {path: load_gaze_network(path, device) for path in gaze},
        *load_identity_judge(arcface_weights, landmarks, world, device, arcface_input, identity),
        load_pose_estimator(recon_weights or world or None, device),
        pictures,
    )


if __name__ == "__main__":
    main()
