"""Metrics at the snapshots of a training (`train.py --metrics`): those of calc_metrics.py, of the network in memory.

Nothing here draws from what the training draws from, or changes what it computes with.
"""

import sys
from pathlib import Path

from eg3d.checkpoints.loading import network_facts
from eg3d.config.run import TrainConfig
from eg3d.data.dataset import ImageDataset
from eg3d.metrics.registry import parse_metrics
from eg3d.models.generator import TriPlaneGenerator
from eg3d.running import distributed
from eg3d.scores.distances import Distances, load_detectors
from eg3d.training.stats import finite

SEED, TRUNCATION_PSI = 0, 1.0  # the defaults of calc_metrics.py, whatever the seed of the run


class SnapshotMetrics:
    """Measures a run's averaged generator; every process makes one, and calls it at the same steps."""

    def __init__(self, config: TrainConfig, dataset: ImageDataset, device):
        """ValueError, before anything is trained, for a data set or detector that will not do."""
        watch = config.watch
        metrics = parse_metrics(watch.metrics, watch.num_gen, watch.detector, watch.vgg_weights is not None)
        detectors = distributed.together(
            lambda: load_detectors(metrics, watch.inception_weights, watch.vgg_weights, device)
        )
        self.data, self.batch = config.data.path, config.micro_batch
        self.distances = Distances(metrics, detectors, dataset.as_stored(), progress=True)

    def __call__(self, G_ema: TriPlaneGenerator, snapshot: Path, images_seen: int) -> list[dict]:
        """A line for each metric's metric-NAME.jsonl, on rank 0, none elsewhere.

        Args: snapshot, the file that holds the same weights, which rank 0 can read.
        """
        facts = network_facts(snapshot) if distributed.rank() == 0 else {}
        lines = list(
            self.distances.lines(
                G_ema, SEED, TRUNCATION_PSI, self.batch, sys.stderr.isatty(), snapshot.name,
                data=self.data, data_sha256=self.distances.digest, **facts, images_seen=images_seen,
            )
        )  # fmt: skip
        for line in lines:
            for part in ("results", "standard_errors"):  # a number that is none should not end a training
                line[part] = {name: None if value is None else finite(value) for name, value in line[part].items()}
        return lines
