"""Frechet distance of pictures whose gaze is set to rendered people with the same gaze, beside the base's to its data.

The data's people mostly look into the camera, so no picture of another gaze can be near to them. An embedded world can
render its people with any gaze. All three sets have the same size and the data's cameras.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from eg3d.data.dataset import ImageDataset
from eg3d.geometry.head_gaze import gaze_direction
from eg3d.metrics.detectors import Detector
from eg3d.metrics.fid import frechet_distance, frechet_standard_error
from eg3d.metrics.moments import FeatureStatistics
from eg3d.models.eye_field import EyeField
from eg3d.pictures.views import render_samples
from eg3d.running import distributed
from eg3d.scores.distances import collect
from eg3d.world.aimed_heads import aimed_heads
from groundwork.draw_keys import draw_key

REACH = (0.5, 0.2)  # rad: yaw and pitch are uniform within +- these, as the grid of metrics/gaze_control.py


@dataclass(frozen=True)
class AimedDistance:
    """Distances of `pictures` pictures each, by the embedded features; lower is better."""

    controlled: float  # of an eye field with drawn gazes, to rendered people with gazes of the same distribution
    controlled_se: float
    base: float  # of its base, to the data set
    base_se: float
    pictures: int

    def to_dict(self) -> dict:
        return asdict(self)


def drawn_gazes(kind: str, seed: int, items: Sequence[int]) -> torch.Tensor:
    """Gaze [n, 2], uniform within +-REACH; depends on (kind, seed, number) alone."""
    draws = [np.random.default_rng(draw_key(seed, f"gaze of {kind}", number, 0)).uniform(-1, 1, 2) for number in items]
    return torch.from_numpy(np.stack(draws) * REACH).float()


def aimed_distance(
    G: EyeField, dataset: ImageDataset, world: str, detector: Detector, count: int, seed: int, batch: int
) -> AimedDistance | None:
    """Args: dataset, of the world's faces; world, its people. On rank 0; None elsewhere. ValueError: too few faces."""
    if len(dataset) < count:
        raise ValueError(f"--num-gen={count}: the data set has {len(dataset)} pictures to compare with; give fewer")

    order = np.random.default_rng(draw_key(seed, "faces", 0, 0)).permutation(len(dataset))

    def work(items: range) -> list[torch.Tensor]:
        rows = torch.from_numpy(order[items.start : items.stop])
        looking = gaze_direction(drawn_gazes("people", seed, items)).numpy()
        people = aimed_heads(items, dataset.label_rows(rows).numpy(), looking, world, "faces")
        gaze = drawn_gazes("pictures", seed, items)
        return [
            detector(render_samples(G, dataset.labels, items, seed, gaze=gaze)),
            detector(torch.from_numpy(people).permute(0, 3, 1, 2).contiguous()),
            detector(render_samples(G.base, dataset.labels, items, seed)),
            detector(dataset.batch(rows)[0]),
        ]

    found = collect(work, count, batch, "aimed people")
    if distributed.rank() > 0:
        return None
    controlled, people, base, faces = found
    return AimedDistance(*_frechet(people, controlled), *_frechet(faces, base), count)


def _frechet(real: torch.Tensor, generated: torch.Tensor) -> tuple[float, float]:
    """Of features [N, F]: the distance and its standard error."""
    reference = FeatureStatistics.of(real)
    return frechet_distance(reference, FeatureStatistics.of(generated)), frechet_standard_error(reference, generated)
