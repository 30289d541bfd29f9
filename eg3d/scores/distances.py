"""From a generator and a data set to features: who computes what, and the cache of real features.

Processes take whole batches in turn, and rank 0 gets all rows in the order of the items: the result does not depend on
the number of processes, and on batches only by rounding.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from tqdm import tqdm

from eg3d.data.dataset import ImageDataset
from eg3d.metrics.detectors import Detector
from eg3d.metrics.registry import DETECTOR_TABLE, VGG, Metric, Score, score
from eg3d.models.generator import TriPlaneGenerator
from eg3d.pictures.views import render_samples
from eg3d.running import distributed, processes
from groundwork.archive import Zip, open_archive
from groundwork.files import atomic_write, cache_folder, is_own
from groundwork.strict_json import parse_json

CACHE_VERSION = 2  # raise it when features of the same files and weights change. 2: pixels upright, in sRGB


class Distances:
    """Some metrics of generators, all against one data set; every process makes one.

    Attributes: dataset; digest: its `content_digest`.
    """

    def __init__(self, metrics: list[Metric], detectors: dict[str, Detector], dataset: ImageDataset, progress=False):
        """ValueError for a data set that is too small; a warning for a number that means little.

        progress: show how far the data set is read.
        """
        self.dataset, self._metrics, self._detectors = dataset, metrics, detectors
        self._counts = distributed.together(lambda: [metric.real_count(len(dataset)) for metric in metrics])
        self.digest = distributed.from_first(lambda: content_digest(dataset, progress))
        distributed.by_first(self._warn_of_few)

    def _warn_of_few(self) -> None:
        for metric, count in zip(self._metrics, self._counts, strict=True):
            if warning := metric.warning(self._detectors[metric.features].width, count):
                tqdm.write(f"warning: {warning}", file=sys.stderr)

    def measure(
        self, G: TriPlaneGenerator, seed: int, psi: float, batch: int, progress: bool = False
    ) -> Iterator[tuple[Score, float]]:
        """(score, seconds) of each metric, on rank 0; the other processes only help.

        All metrics look at the same generated pictures, as many as the first one says.
        """
        start = time.perf_counter()
        needed = list(dict.fromkeys(metric.features for metric in self._metrics))
        real = {name: self._real_features(name, batch, progress) for name in needed}
        labels = self.dataset.label_rows(torch.arange(len(self.dataset)))
        found = generated_features(
            G, labels, [self._detectors[name] for name in needed], self._metrics[0].num_gen, seed, psi, batch, progress
        )
        if found is None:
            return
        generated = dict(zip(needed, found, strict=True))
        for metric, count in zip(self._metrics, self._counts, strict=True):
            rows = real[metric.features][:count] if count else None
            classifier = self._detectors[metric.features].classifier
            yield score(metric, rows, generated[metric.features], classifier, seed), time.perf_counter() - start
            start = time.perf_counter()

    def _real_features(self, name: str, batch: int, progress: bool) -> torch.Tensor | None:
        """As many as the metrics of one detector need."""
        most = max(n for m, n in zip(self._metrics, self._counts, strict=True) if m.features == name)
        return real_features(self.dataset, self.digest, self._detectors[name], most, batch, progress) if most else None

    def lines(
        self, G: TriPlaneGenerator, seed: int, psi: float, batch: int, progress: bool, snapshot: str | None, **facts
    ) -> Iterator[dict]:
        """Lines of metric-NAME.jsonl, as published, with what makes them comparable; on rank 0, none elsewhere.

        Args: snapshot, the name of a file in the folder of a run; facts, the caller's.
        """
        for found, seconds in self.measure(G, seed, psi, batch, progress):
            metric = found.metric
            yield {
                "results": found.results, "metric": metric.name, "total_time": round(seconds, 3),
                "total_time_str": tqdm.format_interval(seconds), "snapshot_pkl": snapshot, "timestamp": time.time(),
                "standard_errors": found.standard_errors, "directions": found.directions, **found.details,
                "num_gpus": distributed.size(), "samples_generated": metric.num_gen,
                "samples_real": metric.real_count(len(self.dataset)),
                "detector": self._detectors[metric.features].facts(), "psi": psi, "seed": seed, **facts,
            }  # fmt: skip


def load_detectors(
    metrics: list[Metric], inception_weights: str | Path | None, vgg_weights: str | Path | None, device
) -> dict[str, Detector]:
    """By the names that metrics have for them; ValueError for one whose weights are not given.

    Weights may be named by strings, as a run's configuration does, which JSON holds.
    """
    found = {}
    for name in dict.fromkeys(metric.features for metric in metrics):
        kind, weights = DETECTOR_TABLE[name], vgg_weights if name == VGG else inception_weights
        if kind.file and weights is None:
            raise ValueError(
                f"--inception-weights is missing: give {kind.file} (nothing is downloaded), or --detector=embedded for "
                "the embedded world"
            )
        found[name] = kind.load(Path(weights) if kind.file else None, device)
    return found


def content_digest(dataset: ImageDataset, progress: bool = False) -> str:
    """sha256 over names, cameras and what the image files hold: bytes in a folder, checksums in a zip."""
    archive, digest = open_archive(dataset.path), hashlib.sha256(dataset.labels.numpy().tobytes())
    is_zip = isinstance(archive, Zip)
    for name in tqdm(dataset.names, desc="reading the data set", unit="img", disable=is_zip or not progress, delay=2):
        held = archive.content(name) if is_zip else hashlib.sha256(archive.read(name)).hexdigest()
        digest.update(json.dumps([name, held]).encode())
    return digest.hexdigest()


def collect(
    work: Callable[[range], list[torch.Tensor]], count: int, batch: int, title: str | None
) -> list[torch.Tensor] | None:
    """work(items) -> some tensors of one row per item; all rows of items 0 .. count - 1, on rank 0 (None elsewhere).

    Args: as of `processes.batches`.
    """
    found = list(processes.batches(range(count), batch, work, title))
    return [torch.cat(rows) for rows in zip(*found, strict=True)] if distributed.rank() == 0 else None


def generated_features(
    G: TriPlaneGenerator, labels: torch.Tensor, detectors: list[Detector], count: int, seed: int, truncation_psi: float,
    batch: int, progress: bool = False,
) -> list[torch.Tensor] | None:  # fmt: skip
    """Features [count, F] of generated pictures by each detector, on rank 0; each picture is drawn once for all."""

    def work(items: range) -> list[torch.Tensor]:
        images = render_samples(G, labels, items, seed, truncation_psi)
        rows = [detector(images) for detector in detectors]
        for detector, found in zip(detectors, rows, strict=True):
            if not found.isfinite().all():
                raise ValueError(f"{detector.name} gives features that are not finite; is the generator broken?")
        return rows

    return collect(work, count, batch, "generated images" if progress else None)


def real_features(
    dataset: ImageDataset, digest: str, detector: Detector, count: int, batch: int, progress: bool = False
) -> torch.Tensor | None:
    """Features [count, F] of the first pictures of a data set, on rank 0; computed once and kept in the cache.

    digest: `content_digest` of the data set; with the detector's hash and the mirroring it is the key.
    """
    key = {"version": CACHE_VERSION, "data": digest, "mirror": dataset.mirror, "detector": detector.sha256}
    path = _cache_path(key, detector)
    rows = distributed.by_first(lambda: _read_cache(path, key, detector.width, count))
    if not distributed.from_first(lambda: rows is not None):
        title = f"real images ({detector.name})" if progress else None
        found = collect(lambda items: [detector(dataset.batch(torch.tensor(items, dtype=torch.long))[0])],
                        count, batch, title)  # fmt: skip
        rows = found[0] if found is not None else None
        distributed.by_first(lambda: _write_cache(path, key, rows))
    return rows[:count] if rows is not None else None


def _cache_path(key: dict, detector: Detector) -> Path:
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    return cache_folder("metrics") / f"real-{detector.name}-{name}.safetensors"


def _read_cache(path: Path, key: dict, width: int, count: int) -> torch.Tensor | None:
    """At least `count` rows, or None if there are none; a file that is damaged or not the user's counts as none."""
    if not is_own(path):
        return None
    try:
        with safe_open(path, "pt") as file:
            held = parse_json((file.metadata() or {}).get("key", "null"))
            rows = file.get_tensor("rows")
    except (OSError, SafetensorError, ValueError):
        return None
    right = held == key and rows.dtype == torch.float32 and rows.ndim == 2 and rows.shape[1] == width
    return rows if right and len(rows) >= count and bool(rows.isfinite().all()) else None


def _write_cache(path: Path, key: dict, rows: torch.Tensor) -> None:
    try:
        atomic_write(path, save({"rows": rows.contiguous()}, {"key": json.dumps(key)}))
    except OSError as error:
        tqdm.write(f"warning: the features of the real images are not kept ({error})", file=sys.stderr)
