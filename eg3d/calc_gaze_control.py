"""How well the gaze of a generator can be set, and what else changes with it."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import click
import numpy as np
import torch

from eg3d.checkpoints.loading import load_generator, network_facts
from eg3d.data.opening import open_dataset_for
from eg3d.gaze.crop import CROPS
from eg3d.geometry.cameras import FFHQ_ORBIT
from eg3d.geometry.head_gaze import FACE, gaze_direction
from eg3d.metrics.detectors import load_world_features
from eg3d.metrics.gaze_control import GAZE_GRID, ControlReport, control_report, read_in_head
from eg3d.metrics.gfas import GazeTally, Readings
from eg3d.models.eye_field import EyeField
from eg3d.pictures.views import GFAS_CAMERAS, camera_labels, render_batch
from eg3d.running import cli, distributed, processes
from eg3d.scores.aimed_distance import AimedDistance, aimed_distance
from eg3d.scores.controlled_views import Looked, look, reports, together
from eg3d.scores.judges import UNKNOWN, load_gaze_judges, load_identity_judge
from eg3d.scores.origin import drawn_world
from eg3d.world.aimed_heads import aimed_heads
from eg3d.world.training.model_card import to_images
from eg3d.world.worlds import NAMES
from groundwork.places import GAZE_JUDGE

WORLDS_OF = {data: world for world, data in NAMES.items()}
SEED = 0  # of the pictures of the distance
RENDERED = 16  # heads of the world that tell what the judge reads at best


@click.command(cls=cli.Command)
@cli.network_option
@click.option("--l2cs-path", type=GAZE_JUDGE, help="Gaze network that scores; not the one of the training.  [default: "
              "the judge of the world that the network draws: embedded-judge, people-judge]")  # fmt: skip
@click.option("--seeds", "--seed", type=cli.DISTINCT_SEEDS, default="0-63", show_default=True,
              help="For example 0,1,4-6.")  # fmt: skip
@cli.view_options
@click.option("--crop", type=click.Choice(CROPS), default="none", show_default=True, help="What the network sees.")
@click.option("--num-gen", type=click.IntRange(min=0), default=0, show_default=True,
              help="Also the Frechet distance of so many pictures with drawn gazes to rendered people with the same "
              "gazes, of an embedded world; 0: not.")  # fmt: skip
@cli.batch_option(8)
@cli.shared_compute_options
@cli.json_option
def main(**options):
    """Error and slopes of the read gaze over 15 gazes (+-0.5 x +-0.2 rad) and three cameras; what else changes.

    Beside it, for a generator of an embedded world: what the same judge reads in rendered heads with the same gazes.
    """
    processes.start(run, check, **options)


def check(num_gen, **_) -> None:
    if num_gen == 1:
        raise ValueError("--num-gen=1: a Frechet distance needs 2 pictures or more, and means something from 1000 on")


def run(network, l2cs_path, seeds, view, crop, num_gen, batch, precision, device, json_path):
    """What each process does."""
    G = distributed.first_of_each_machine(lambda: load_generator(network, device, precision))
    if not isinstance(G, EyeField):
        raise ValueError(f"--network={network}: the gaze of a {type(G).__name__} cannot be set; give one that "
                         "train.py --gaze-control=True has made")  # fmt: skip
    world = drawn_world(network, G.resolution)
    l2cs_path = l2cs_path or f"{world or UNKNOWN}-judge"
    judge = load_gaze_judges({"l2cs_path": l2cs_path}, [network], device)["l2cs_path"]
    if num_gen and not world:
        raise ValueError(f"--num-gen={num_gen}: only the people of an embedded world can be rendered with a gaze, and "
                         f"{network} draws none of them; leave it out")  # fmt: skip
    identity = distributed.together(lambda: load_identity_judge(None, None, world, device)) if world else None
    along_face = GazeTally(judge, crop)
    G.aim = FACE

    def read(part: list[int]) -> tuple[Looked, Readings]:
        return look(G, part, judge, identity, view, crop), along_face.read(render_batch(G, part, view=view))

    parts = []
    for found, readings in processes.batches(seeds, batch, read, "gaze control", "seed"):
        parts.append(found)
        along_face.take(readings)
    distance = distance_of(G, world, num_gen, batch, device) if num_gen else None
    if distributed.rank() > 0:
        return
    found = together(parts)
    report, alike = reports(found, identity)
    gfas = along_face.report()
    click.echo(f"{network} by {l2cs_path}, {len(seeds)} seeds x {len(GAZE_GRID)} gazes x {len(GFAS_CAMERAS)} cameras")
    tell(report)
    click.echo(f"  pixels that change        {100 * np.mean(found.changed):.1f} % of the base's picture")
    click.echo(f"  largest change outside    {found.outside:g}")
    click.echo(f"  GFAS along the face       {gfas.gfas_mse_sum:.4f} rad^2")
    facts = network_facts(network) | {"l2cs_path": l2cs_path, "l2cs_sha256": judge.sha256} | view.facts()
    facts |= {"control": report.to_dict(), "changed": float(np.mean(found.changed)), "outside": found.outside}
    facts |= {"gfas_mse_sum_along_face": gfas.gfas_mse_sum}
    if alike is not None:
        click.echo(f"  identity, base's picture  {alike.id_similarity_mean:.4f}")
        facts |= {"identity_with_base": alike.id_similarity_mean, "identity_se": alike.id_similarity_se}
    if distance:
        click.echo(f"  Frechet distance          {distance.controlled:.2f} +- {distance.controlled_se:.2f} to rendered "
                   f"people with such gazes; the base to its data {distance.base:.2f} +- {distance.base_se:.2f}, "
                   f"{num_gen} pictures each")  # fmt: skip
        facts |= {"distance": distance.to_dict()}
    if world:
        own = of_rendered_heads(judge, WORLDS_OF[world], device, crop)
        click.echo(f"{RENDERED} rendered heads, the same gazes and cameras")
        tell(own)
        facts["rendered_heads"] = own.to_dict()
    cli.write_json(json_path, facts)


def distance_of(G, world, num_gen, batch, device) -> AimedDistance | None:
    """On rank 0, see `aimed_distance`."""
    detector = distributed.together(lambda: load_world_features(device))
    dataset = distributed.first_of_each_machine(lambda: open_dataset_for(world, G.resolution))
    return aimed_distance(G, dataset, WORLDS_OF[world], detector, num_gen, SEED, batch)


def tell(report: ControlReport) -> None:
    click.echo("\n".join("  " + line for line in report.lines()))


def of_rendered_heads(judge, world: str, device, crop: str) -> ControlReport:
    """What a judge reads in rendered heads whose eyes look as asked."""
    cameras = camera_labels(*zip(*GFAS_CAMERAS, strict=True), FFHQ_ORBIT)
    wanted, camera, head = (
        np.array(values)
        for values in zip(*[(g, c, h) for h in range(RENDERED) for g in GAZE_GRID for c in range(len(cameras))],
                          strict=True)
    )  # fmt: skip
    labels = cameras[torch.from_numpy(camera)]
    pictures = aimed_heads(head, labels.numpy(), gaze_direction(torch.from_numpy(wanted)).numpy(), world)
    images = to_images(pictures).to(device)
    read = torch.cat([read_in_head(*part, judge, crop) for part in zip(images.split(64), labels.to(device).split(64),
                                                                       strict=True)])  # fmt: skip
    return control_report(wanted, read.cpu().numpy(), head, camera)


if __name__ == "__main__":
    main()
