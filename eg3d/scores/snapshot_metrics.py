"""Metrics at the snapshots of a training (`train.py --metrics`): those of calc_metrics.py, of the network in memory.

Nothing here draws from what the training draws from, or changes what it computes with.
"""

import sys
from pathlib import Path

from tqdm import tqdm

from eg3d.config.run import TrainConfig
from eg3d.data.dataset import ImageDataset
from eg3d.metrics.registry import parse_metrics
from eg3d.models.generator import TriPlaneGenerator
from eg3d.running import distributed
from eg3d.scores.distances import content_digest, load_detectors, measure, score_line
from eg3d.training.stats import finite
from groundwork.files import sha256

SEED, TRUNCATION_PSI = 0, 1.0  # the defaults of calc_metrics.py, whatever the seed of the run


class SnapshotMetrics:
    """Measures a run's averaged generator; every process makes one, and calls it at the same steps."""

    def __init__(self, config: TrainConfig, dataset: ImageDataset, device):
        """ValueError, before anything is trained, for a data set or detector that will not do."""
        watch = config.watch
        self.data, self.batch, self.dataset = config.data.path, config.micro_batch, dataset.as_stored()
        self.metrics = parse_metrics(watch.metrics, watch.num_gen, watch.detector, watch.vgg_weights is not None)
        self.detectors = distributed.together(
            lambda: load_detectors(self.metrics, watch.inception_weights, watch.vgg_weights, device)
        )
        counts = distributed.together(lambda: [metric.real_count(len(self.dataset)) for metric in self.metrics])
        self.digest = distributed.from_first(lambda: content_digest(self.dataset, progress=True))
        if distributed.rank() == 0:
            for metric, count in zip(self.metrics, counts, strict=True):
                if warning := metric.warning(self.detectors[metric.features].width, count):
                    tqdm.write(f"warning: {warning}", file=sys.stderr)

    def __call__(self, G_ema: TriPlaneGenerator, snapshot: Path, images_seen: int) -> list[dict]:
        """A line for each metric's metric-NAME.jsonl, on rank 0, none elsewhere.

        Args: snapshot, the file that holds the same weights, which rank 0 can read.
        """
        found, digest = [], None
        for result, count, seconds in measure(
            G_ema, self.dataset, self.digest, self.metrics, self.detectors, SEED, TRUNCATION_PSI, self.batch,
            progress=sys.stderr.isatty(),
        ):  # fmt: skip
            digest = digest or sha256(snapshot)
            line = score_line(
                result, count, seconds, self.detectors[result.metric.features], snapshot.name,
                psi=TRUNCATION_PSI, seed=SEED, data=self.data, data_sha256=self.digest, network=str(snapshot),
                network_sha256=digest, images_seen=images_seen,
            )  # fmt: skip
            for part in ("results", "standard_errors"):  # a number that is none should not end a training
                line[part] = {name: None if value is None else finite(value) for name, value in line[part].items()}
            found.append(line)
        return found
