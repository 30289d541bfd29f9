"""Photos of unseen heads of an embedded world inverted, where other views of the same heads are known."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import json
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch
from options import results_option
from timing import write_results
from tqdm import tqdm

from eg3d.checkpoints.loading import load_generator, network_facts
from eg3d.gaze.networks import load_gaze_network
from eg3d.geometry.cameras import FFHQ_ORBIT
from eg3d.geometry.head_gaze import CAMERA, FACE, gaze_along, gaze_direction
from eg3d.metrics.align import usable
from eg3d.metrics.gaze_control import read_in_head
from eg3d.models.eye_field import is_aimed
from eg3d.pictures.views import GFAS_CAMERAS, camera_labels
from eg3d.running import cli
from eg3d.scores.judges import load_identity_judge
from eg3d.training.inversion.latent_search import TARGETS, SearchConfig, find_latents
from eg3d.training.inversion.photo_run import Inversion, psnr
from eg3d.training.inversion.photos_to_invert import Photos, draw, moved
from eg3d.training.inversion.picture_distance import load_distance
from eg3d.training.inversion.pivotal_tuning import TuningConfig
from eg3d.world.rendered_sets import make_sample
from eg3d.world.worlds import world_of
from groundwork.files import write_text
from groundwork.places import OUTPUT_FILE
from groundwork.strict_json import read_json

TURN = 0.3  # rad, to both sides of the photo's camera, round the vertical axis of the head
AROUND = camera_labels(*zip(*GFAS_CAMERAS, strict=True), FFHQ_ORBIT)  # where set gazes are read
SET = 980  # which of the world's endless sets the heads are of: one that no setting was chosen on, and no network saw


@dataclass(frozen=True)
class Head:
    """images [3, 3, S, S], labels [3, 25]: the photo, and true renders from the left and the right; gaze [1, 2].

    along_face: true renders from GFAS_CAMERAS, eyes along the face: what the judge reads at best.
    """

    images: torch.Tensor
    labels: torch.Tensor
    gaze: torch.Tensor
    along_face: torch.Tensor


@click.command(cls=cli.Command)
@click.option("--heads", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the first head.")
@click.option("--ceiling", **cli.SWITCH, default=True, show_default=True,
              help="Also invert from all three views, which is the best that this way can do.")  # fmt: skip
@click.option("--network", "networks", multiple=True, default=("embedded-base", "embedded-control"), show_default=True)
@click.option("--target", type=click.Choice(TARGETS), default=SearchConfig().target, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=SearchConfig().steps, show_default=True)
@click.option("--pivotal-steps", type=click.IntRange(min=1), default=TuningConfig().steps, show_default=True)
@click.option("--local", type=click.FloatRange(min=0), default=TuningConfig().local, show_default=True)
@click.option("--obey", type=click.FloatRange(min=0), default=TuningConfig().obey, show_default=True)
@click.option("--rows", "rows_file", type=OUTPUT_FILE, help="Numbers of single heads, to go on from.")
@cli.json_option
@results_option
def main(heads, first, ceiling, networks, target, steps, pivotal_steps, local, obey, rows_file, json_path,
         results):  # fmt: skip
    """Reconstruction, true views at +-0.3 rad, identity and gaze of inverted heads of the cartoon world."""
    torch.set_num_threads(1)
    search, tuning = SearchConfig(target=target, steps=steps), TuningConfig(steps=pivotal_steps, local=local, obey=obey)
    settings = {"set": SET, "ceiling": ceiling, "search": asdict(search), "tuning": asdict(tuning)}
    kept = read_json(rows_file) if rows_file and rows_file.is_file() else {"settings": settings, "rows": {}}
    if kept.get("settings") != settings:
        raise ValueError(f"--rows={rows_file}: holds heads of other settings; give another file")
    rows = kept["rows"]
    judges = load_gaze_network("embedded-judge"), load_identity_judge(None, None, "embedded", "cpu")
    for number in tqdm(range(first, first + heads), "heads"):
        for name in networks:
            key = f"{name} {number}"
            if key not in rows:
                work = inversion(name, search, tuning)
                rows[key] = measured(work, head_of_world(number), number, judges, ceiling)
                if rows_file:
                    write_text(rows_file, json.dumps(kept, indent=1))
    numbers = settings | {"heads": heads, "first": first}
    for name in networks:
        mine = [rows[f"{name} {number}"] for number in range(first, first + heads)]
        numbers[name] = network_facts(name) | averages(mine)
        click.echo(f"{name}\n" + "\n".join(f"  {key:28} {value}" for key, value in numbers[name].items()))
    cli.write_json(json_path, numbers)
    click.echo(f"written to {write_results(results, 'inversion', torch.device('cpu'), numbers)}")


def inversion(name: str, search: SearchConfig, tuning: TuningConfig) -> Inversion:
    G = load_generator(name)
    reader = load_gaze_network("embedded") if is_aimed(G) else None
    return Inversion(G, replace(search, gaze=reader is None), tuning, load_distance(), Path(), {}, {}, reader)


def head_of_world(number: int) -> Head:
    """A head that nothing here was trained on, its photo, and what it looks like from two other sides."""
    sample, world = make_sample(number, "faces", "test", SET), world_of("cartoons")
    label = torch.from_numpy(sample.label)[None]
    motion = torch.zeros(3, 6)
    motion[1:, 1] = torch.tensor([TURN, -TURN])
    labels = moved(label.expand(3, -1), motion)
    person = world.draw("test", sample.identity)

    def drawn(gaze, cameras) -> torch.Tensor:
        pictures = np.stack([world.render(person, row.numpy(), gaze, world.size).rgb for row in cameras])
        return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1

    gaze = gaze_along(torch.from_numpy(sample.gaze_head)[None].float())
    return Head(drawn(sample.gaze_head, labels), labels, gaze, drawn(np.array([0.0, 0.0, 1.0]), AROUND))


def measured(work: Inversion, head: Head, number: int, judges, ceiling: bool) -> dict:
    """Numbers of one head, by name."""
    judge, identity = judges
    start = time.process_time()
    photos = work.photos(head.images[:1], head.labels[:1], [str(number)])
    found = find_latents(work.G, photos, work.distance, work.search, work.spread)
    G = work.tune(found.ws, found.photos)
    row = {"cpu_seconds": time.process_time() - start}
    gaze = found.photos.gaze
    with torch.no_grad():
        row["latent_photo_db"] = psnr(draw(work.G, found.ws, head.labels[:1], gaze), head.images[:1])
        images = draw(G, found.ws, head.labels, gaze)
        row |= {"photo_db": psnr(images[:1], head.images[:1]), "views_db": of_views(images, head)}
        row |= alike(images, head, identity)
        row["gaze_kept_deg"] = angle(*(read_in_head(x[:1], head.labels[:1], judge) for x in (images, head.images)))
        if gaze is not None:
            row["judge_face_deg"] = angle(read_in_head(head.along_face, AROUND, judge), FACE.gaze(AROUND))
            row["photo_gaze_deg"] = angle(gaze, head.gaze)
            for name, aim in (("face", FACE), ("contact", CAMERA)):
                wanted = aim.gaze(AROUND)
                for whose, network in (("", G), ("latent_", work.G)):
                    read = read_in_head(draw(network, found.ws, AROUND, wanted), AROUND, judge)
                    row[f"{whose}{name}_deg"] = angle(read, wanted)
    if ceiling:
        best = Photos(head.images, head.labels, photos.keys, photos.gaze)
        found = find_latents(work.G, best, work.distance, work.search, work.spread)
        G = work.tune(found.ws, found.photos)
        with torch.no_grad():
            row["ceiling_views_db"] = of_views(draw(G, found.ws, head.labels, found.photos.gaze), head)
    return row


def of_views(images: torch.Tensor, head: Head) -> float:
    """Mean over both sides, decibels."""
    return sum(psnr(images[i : i + 1], head.images[i : i + 1]) for i in (1, 2)) / 2


def alike(images: torch.Tensor, head: Head, identity) -> dict:
    """Cosine of each side with the photo: of drawn sides and of true ones; {} if the points of a face are not found."""
    network, points_of = identity
    everything, labels = torch.cat([images, head.images]), head.labels.repeat(2, 1)
    points = points_of(everything, labels, [f"{i}.png" for i in range(6)])
    if not usable(points, *everything.shape[2:]).all():
        return {}
    seen = network.embed(everything, points)
    photo = seen[3]
    return {"identity_drawn": float((seen[1:3] @ photo).mean()), "identity_true": float((seen[4:6] @ photo).mean())}


def angle(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean angle, degrees, between gazes [N, 2] in rad."""
    a, b = gaze_direction(one.double()), gaze_direction(other.double())
    return math.degrees(torch.atan2(torch.linalg.cross(a, b).norm(dim=1), (a * b).sum(dim=1)).mean())


def averages(rows: list[dict]) -> dict:
    """Means and standard errors over heads, and the worst photo."""
    found = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        values = np.array([row[name] for row in rows if name in row])
        found[name] = round(float(values.mean()), 4)
        if len(values) > 1:
            found[f"{name}_se"] = round(float(values.std(ddof=1) / len(values) ** 0.5), 4)
    found["identity_heads"] = sum("identity_true" in row for row in rows)
    found["photo_db_worst"] = round(min(row["photo_db"] for row in rows), 2)
    return found


if __name__ == "__main__":
    main()
