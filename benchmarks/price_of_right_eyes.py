"""What eyes along the face must cost in Frechet and kernel distance, by rendered heads instead of a network.

The data set's faces mostly look at the camera, so a generator whose eyes follow the face cannot match it. Here the same
new people under the same cameras are rendered twice, looking where the data set's people look and along their faces;
the difference of their distances to the data set is the price that no training can avoid.
"""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

from pathlib import Path

import click
import numpy as np
import torch
from timing import write_results

from eg3d.data.dataset import ImageDataset
from eg3d.metrics.detectors import load_world_features
from eg3d.metrics.registry import WORLD, parse_metrics, score
from eg3d.running import cli
from eg3d.scores.distances import content_digest, real_features
from eg3d.world.cartoon.cartoon_head import render_head
from eg3d.world.cartoon.heads import Identity
from eg3d.world.rendered_sets import samples, world_faces
from groundwork.places import OUTPUT_FOLDER

ALONG_THE_FACE = (0.0, 0.0, 1.0)  # of the head's own axes, which are the world's


@click.command(cls=cli.Command)
@click.option("--count", type=click.IntRange(min=2), default=2000, show_default=True, help="Heads.")
@click.option("--seed", type=click.IntRange(min=1), default=1, show_default=True, help="Of the heads; the data has 0.")
@click.option("--results", type=OUTPUT_FOLDER, default=Path(__file__).parent / "results")
def main(count, seed, results):
    """Renders the heads, prints both distances and writes a results file."""
    detector, dataset = load_world_features("cpu"), ImageDataset(world_faces())
    metrics = parse_metrics("fid50k_full,kid50k_full", count, WORLD, vgg=False)
    real = real_features(dataset, content_digest(dataset), detector, len(dataset), batch=64, progress=True)
    as_data, straight = [], []
    for sample in samples("faces", "faces", count, seed, progress=True):
        as_data.append(sample.rendered.rgb)
        person = Identity.draw("faces", sample.identity)
        straight.append(render_head(person, sample.label, ALONG_THE_FACE).rgb)
    numbers = {}
    for name, images in (("eyes as in the data set", as_data), ("eyes along the face", straight)):
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        rows = torch.cat([detector(batch) for batch in pixels.split(64)])
        numbers[name] = {}
        for metric in metrics:
            found = score(metric, real, rows, detector.classifier)
            numbers[name] |= found.results | {f"{key}_se": value for key, value in found.standard_errors.items()}
        click.echo(f"{name}: {numbers[name]}")
    click.echo(f"written to {write_results(results, 'price-of-right-eyes', torch.device('cpu'), numbers)}")


if __name__ == "__main__":
    main()
