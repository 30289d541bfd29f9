"""Names of metrics and of detectors: what each compares, what it is called in a report, why some cannot be had here.

Another detector is a file with its network, and a row of DETECTOR_TABLE here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from eg3d.metrics.detectors import Detector, load_world_features
from eg3d.metrics.fid import frechet_distance, frechet_standard_error
from eg3d.metrics.inception_score import SPLITS, inception_score
from eg3d.metrics.kid import kernel_distance
from eg3d.metrics.moments import FeatureStatistics
from eg3d.metrics.precision_recall import NEIGHBOURS, precision_and_recall

PUBLISHED_COUNT = 50_000
INCEPTION, WORLD, VGG = "inception", "embedded", "vgg"
NAMES = {  # published name: (kind, whether all real images count)
    "fid50k_full": ("fid", True), "kid50k_full": ("kid", True), "pr50k3_full": ("pr", True), "is50k": ("is", False),
    "fid50k": ("fid", False), "kid50k": ("kid", False), "pr50k3": ("pr", False),
}  # fmt: skip
PATHS = "measures pictures along a path in W under one camera, which a 3D generator's published code never gave it"
SHIFTS = "moves the synthesis input, and tri-planes have no such transform"
REFUSED = {"ppl2_wend": PATHS, "eqt50k_int": SHIFTS, "eqt50k_frac": SHIFTS, "eqr50k": SHIFTS}
REAL_AT_MOST = {"fid": None, "kid": 1_000_000, "pr": 200_000}  # of a `_full` metric, as published
FEWEST = {"fid": 2, "kid": 2, "pr": NEIGHBOURS + 1, "is": 2 * SPLITS}
TITLES = {"fid": "fd", "kid": "kd", "pr": "pr"}  # with a detector that has no published names
LOWER, HIGHER = "lower is better", "higher is better"


@dataclass(frozen=True)
class DetectorKind:
    """A detector that can be asked for by name.

    load: (weights file or None, device) -> Detector. It imports its network itself, so that --help need not.
    file: what weights a user must give; None: they are part of this repository.
    published: whether metrics by it have their published names; those by others are fd_NAME, kd_NAME and pr_NAME.
    chosen: by --detector, whose file is --inception-weights. Precision and recall alone ask for the other, VGG16.
    """

    load: Callable[[Path | None, object], Detector]
    file: str | None = None
    published: bool = False
    chosen: bool = True


def _load_inception(path: Path, device) -> Detector:
    from eg3d.metrics.inception import load_inception

    return load_inception(path, device)


def _load_vgg(path: Path, device) -> Detector:
    from eg3d.metrics.vgg import load_vgg

    return load_vgg(path, device)


INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth (from the releases of toshas/torch-fidelity)"
DETECTOR_TABLE = {
    INCEPTION: DetectorKind(_load_inception, INCEPTION_FILE, published=True),
    WORLD: DetectorKind(lambda path, device: load_world_features(device)),
    VGG: DetectorKind(_load_vgg, "vgg16-397923af.pth (from torchvision's models)", published=True, chosen=False),
}
DETECTORS = tuple(name for name, kind in DETECTOR_TABLE.items() if kind.chosen)
# For the help of --inception-weights.
WEIGHTS_HELP = "; ".join(f"{name}: {kind.file}" for name, kind in DETECTOR_TABLE.items() if kind.chosen and kind.file)


def takes_weights(detector: str) -> bool:
    """Whether --inception-weights are for the detector of this name."""
    kind = DETECTOR_TABLE[detector]
    return kind.chosen and kind.file is not None


@dataclass(frozen=True)
class Metric:
    """One published metric on `num_gen` generated pictures.

    detector: one of DETECTORS; vgg: precision and recall look at VGG16's features instead.
    """

    kind: str
    full: bool
    num_gen: int = PUBLISHED_COUNT
    detector: str = INCEPTION
    vgg: bool = False

    @property
    def features(self) -> str:
        """Whose features: a key of the caller's detectors."""
        return VGG if self.kind == "pr" and self.vgg else self.detector

    @property
    def name(self) -> str:
        """The published name only for what was published: its detector, and its count in the name."""
        count = f"{self.num_gen // 1000}k" if self.num_gen % 1000 == 0 else str(self.num_gen)
        if not DETECTOR_TABLE[self.features].published:
            return f"{TITLES[self.kind]}_{self.features}" + ("" if self.full else f"_first{count}")
        neighbours = ("" if count.endswith("k") else "_") + str(NEIGHBOURS) if self.kind == "pr" else ""
        other = "_inception" if self.kind == "pr" and self.features == INCEPTION else ""
        return f"{self.kind}{count}{neighbours}{'_full' if self.full else ''}{other}"

    def real_count(self, size: int) -> int:
        """How many pictures of a data set of this size it looks at, from the first on; ValueError for too few."""
        if self.kind == "is":
            return 0
        if not self.full and size < self.num_gen:
            raise ValueError(
                f"{self.name} compares the first {self.num_gen} pictures, the data set has {size}; "
                f"take the metric with _full, or --num-gen={size}"
            )
        if size < FEWEST[self.kind]:
            raise ValueError(f"{self.name} needs {FEWEST[self.kind]} real pictures, the data set has {size}")
        most = REAL_AT_MOST[self.kind] if self.full else self.num_gen
        return size if most is None else min(size, most)

    def warning(self, width: int, real: int) -> str | None:
        """What a reader must know of a Frechet distance of few pictures."""
        if self.kind == "fid" and min(self.num_gen, real) <= width:
            return (
                f"{self.name}: {min(self.num_gen, real)} pictures for {width} features: the covariance has no full "
                "rank and the distance is much too large; compare it with equal counts only"
            )
        return None


@dataclass(frozen=True)
class Score:
    """The numbers of one metric by their published keys, their standard errors (None: unknown) and directions.

    details: what else is worth keeping.
    """

    metric: Metric
    results: dict[str, float]
    standard_errors: dict[str, float | None]
    directions: dict[str, str]
    details: dict[str, float] = field(default_factory=dict)


def parse_metrics(text: str, num_gen: int, detector: str, vgg: bool) -> list[Metric]:
    """`fid50k_full,kid50k_full` -> metrics; `none` is no metric. ValueError says what is wrong with a name."""
    if text == "none":
        return []
    found = []
    for name in (part.strip() for part in text.split(",")):
        if name in REFUSED:
            raise ValueError(f"--metrics={name}: cannot be measured here: it {REFUSED[name]}")
        if name not in NAMES:
            raise ValueError(f"--metrics={name}: there is no such metric; {_advice(name)}")
        kind, full = NAMES[name]
        if kind == "is" and detector != INCEPTION:
            raise ValueError(
                f"--metrics={name}: needs Inception's 1008 classes, the {detector} network has none; leave it out"
            )
        if num_gen < FEWEST[kind]:
            raise ValueError(f"--num-gen={num_gen}: {name} needs at least {FEWEST[kind]} generated pictures")
        metric = Metric(kind, full, num_gen, detector, vgg)
        if metric in found:
            raise ValueError(f"--metrics={text}: {name} is given twice; give it once")
        found.append(metric)
    return found


def _advice(name: str) -> str:
    smaller = re.fullmatch(r"(fid|kid|is|pr)(\d+)(k?)(3?)(_full)?", name)
    if smaller and (wanted := f"{smaller[1]}50k{smaller[4]}{smaller[5] or ''}") in NAMES and smaller[3]:
        return f"for fewer pictures give --metrics={wanted} --num-gen={smaller[2]}000"
    return f"the metrics are {', '.join(NAMES)}"


def score(metric: Metric, real: torch.Tensor, generated: torch.Tensor, classifier, seed: int = 0) -> Score:
    """A metric of features real [N, F] and generated [M, F]; `classifier` of the detector, for IS."""
    name = metric.name
    if metric.kind == "fid":
        reference, found = FeatureStatistics.of(real), FeatureStatistics.of(generated)
        error = frechet_standard_error(reference, generated)
        return Score(metric, {name: frechet_distance(reference, found)}, {name: error}, {name: LOWER})
    if metric.kind == "kid":
        distance = kernel_distance(real, generated, seed)
        details = {"subset_std": distance.subset_std}
        return Score(metric, {name: distance.value}, {name: distance.standard_error}, {name: LOWER}, details)
    if metric.kind == "pr":
        both = precision_and_recall(real, generated)
        keys = f"{name}_precision", f"{name}_recall"
        return Score(
            metric, dict(zip(keys, both[:2], strict=True)), dict(zip(keys, both[2:], strict=True)),
            dict.fromkeys(keys, HIGHER),
        )  # fmt: skip
    result = inception_score(generated, classifier)
    return Score(
        metric, {f"{name}_mean": result.mean, f"{name}_std": result.std},
        {f"{name}_mean": result.standard_error, f"{name}_std": None}, {f"{name}_mean": HIGHER},
    )  # fmt: skip
