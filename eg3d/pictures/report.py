"""The report: one HTML page that needs no network, with heads to turn, arrows, a table of scores and plots.

The page itself is report.html, which draws everything from the JSON that `write_report` puts into it.
"""

import base64
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from eg3d.metrics.gfas import COLUMNS, GazeTally, GfasReport
from eg3d.pictures.layout import side_by_side, to_uint8
from groundwork.files import atomic_write
from groundwork.strict_json import JsonError, read_json

TEMPLATE = Path(__file__).with_name("report.html")
DATA_SLOT = '<script type="application/json" id="data">{}</script>'
TURN_YAWS = [round(0.05 * i - 0.5, 2) for i in range(21)]  # rad; the three yaws of GFAS are among them
TURN_CAMERAS = [(yaw, -0.2) for yaw in TURN_YAWS]
LARGEST_SIDE = 256  # of a picture in the page
NO_FRECHET = "GFAS against Frechet distance: left out; give --scores=FILE, written by calc_metrics.py --json=FILE"
MUST_AGREE = ("data_sha256", "samples_generated", "samples_real", "psi", "detector")  # or scores do not compare
GFAS_ROWS = (  # field of GfasReport, what people read, digits, which way is better
    ("gfas_mse_sum", "GFAS (sum of mean squares), rad\N{SUPERSCRIPT TWO}", 4, "lower"),
    ("gfas_eq1", "GFAS (paper, Eq. 1), rad", 4, "lower"),
    ("gfas_legacy", "GFAS (published code)", 4, "lower"),
    ("angular_error_deg", "mean angular error, degrees", 2, "lower"),
    ("slope", "slope of yaw (0: camera, 1: face)", 3, "one"),
)


@dataclass(frozen=True)
class Turn:
    """One head from TURN_CAMERAS: its pictures side by side, and where its eyes look in each."""

    pictures: bytes  # WebP, len(TURN_CAMERAS) squares in a row
    gaze: list[tuple[float, float]]  # (yaw, pitch) as estimated, rad
    face: list[tuple[float, float]]  # (yaw, pitch) right ones


@dataclass(frozen=True)
class Subject:
    """One network of a report."""

    name: str
    scores: GfasReport
    turns: dict[int, Turn]  # by seed
    measured: dict[str, tuple[float, float | None, str]] = field(default_factory=dict)  # name: value, error, better


def shown_seeds(reports: Sequence[GfasReport], count: int) -> list[int]:
    """`count` seeds evenly spaced in the order from the largest gain (with one network: best score) to the smallest."""
    order = sorted(reports[0].per_seed_mse_sum, key=lambda seed: (-gain(reports, seed), seed))
    if len(order) <= count:
        return order
    return [order[i] for i in np.linspace(0, len(order) - 1, count).round().astype(int)]


def gain(reports: Sequence[GfasReport], seed: int) -> float:
    """How much lower the last network's GFAS of a seed is than the first's; with one network, its negative."""
    last = reports[-1].per_seed_mse_sum[seed]
    return (reports[0].per_seed_mse_sum[seed] if len(reports) > 1 else 0.0) - last


def turns_of(views: Iterable, estimator, crop: str = "none") -> dict[int, Turn]:
    """A Turn of each seed, from views (eg3d.pictures.views.Views) rendered from TURN_CAMERAS."""
    tally, turns, k = GazeTally(estimator, crop), {}, len(TURN_CAMERAS)
    yaw, pitch, face_yaw, face_pitch = (COLUMNS.index(n) for n in ("yaw", "pitch", "yaw_target", "pitch_target"))
    for batch in views:
        rows = tally.add(batch).double().cpu().numpy().round(4)
        for i, (seed, images) in enumerate(batch.by_seed()):
            own = rows[k * i : k * (i + 1)]
            pairs = [
                [tuple(row) for row in own[:, columns].tolist()] for columns in ([yaw, pitch], [face_yaw, face_pitch])
            ]
            turns[seed] = Turn(webp(side_by_side([shrink(image) for image in to_uint8(images)])), *pairs)
    return turns


def shrink(image: np.ndarray) -> np.ndarray:
    """uint8 [S, S, 3], made smaller where it is larger than the page shows."""
    if image.shape[0] <= LARGEST_SIDE:
        return image
    return np.asarray(Image.fromarray(image).resize((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS))


def webp(image: np.ndarray) -> bytes:
    """uint8 [H, W, 3] as a small WebP."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=88, method=4)
    return buffer.getvalue()


def read_scores(path: Path) -> list[dict]:
    """The records of a file by `calc_metrics.py --json`; ValueError with one line for anything else."""
    try:
        records = read_json(Path(path))["metrics"]
        for record in records:
            if not isinstance(record["network_sha256"], str):
                raise TypeError
            for name, value in record["results"].items():
                error = record.get("standard_errors", {}).get(name)
                if not all(math.isfinite(x) for x in (value, error) if x is not None):
                    raise ValueError
                record.get("directions", {}).get(name, "lower").split()[0]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f" ({error})" if isinstance(error, JsonError) else ""
        advice = "give a file that calc_metrics.py --json=FILE wrote"
        raise ValueError(f"{path}: holds no scores; {advice}{reason}") from None
    return records


def measured_of(paths: Sequence[Path], sha256: Sequence[str]) -> list[dict[str, tuple[float, float | None, str]]]:
    """Scores of the networks with these hashes, by name, from files of `calc_metrics.py --json`.

    A file may hold several networks; one that holds none of these raises ValueError, as do unlike conditions.
    """
    found: list[dict] = [{} for _ in sha256]
    made: dict[str, dict] = {}
    for path in paths:
        records = read_scores(path)
        if not any(record["network_sha256"] in sha256 for record in records):
            raise ValueError(f"{path}: its scores are of other networks; measure those that are compared")
        for record in records:
            for name, value in record["results"].items():
                if record["network_sha256"] in sha256 and value is not None:
                    conditions = {key: record.get(key) for key in MUST_AGREE}
                    if made.setdefault(name, conditions) != conditions:
                        key = next(key for key in MUST_AGREE if made[name][key] != conditions[key])
                        raise ValueError(f"{path}: its {name} was measured with another {key}; measure all alike")
                    better = record.get("directions", {}).get(name, "lower").split()[0]
                    entry = (value, record.get("standard_errors", {}).get(name), better)
                    found[sha256.index(record["network_sha256"])][name] = entry
    return found


def judges_of(paths: Sequence[Path]) -> dict[str, str]:
    """Who measured each score of these files, and on how many pictures: name -> a line for the end of the page."""
    lines = {}
    for record in (record for path in paths for record in read_scores(path)):
        detector = record["detector"] if isinstance(record.get("detector"), dict) else {}
        who = f"{detector.get('name', 'unknown network')}, sha256 {detector.get('sha256', 'unknown')}"
        drawn, real = (record.get(f"samples_{kind}", "unknown") for kind in ("generated", "real"))
        for name in record["results"]:
            lines[name] = f"{who}; {drawn} pictures, {real} real ones, psi {record.get('psi', 'unknown')}"
    return lines


def write_report(path: Path, subjects: Sequence[Subject], facts: dict[str, str]) -> None:
    """The page as one HTML file, written atomically.

    Args:
        subjects: the networks, those to be corrected first; all with the same seeds turned.
        facts: how it was made, for the end of the page.
    """
    text = json.dumps(page_data(subjects, facts), allow_nan=False, separators=(",", ":"))
    template = TEMPLATE.read_text(encoding="utf-8")
    assert template.count(DATA_SLOT) == 1
    # "<" could end the script element early or open a comment; JSON may write it as an escape
    page = template.replace(DATA_SLOT, DATA_SLOT.replace("{}", text.replace("<", "\\u003c")))
    atomic_write(path, page.encode())


def page_data(subjects: Sequence[Subject], facts: dict[str, str]) -> dict:
    """What report.html draws from, as plain JSON values."""
    reports = [subject.scores for subject in subjects]
    seeds, total = list(subjects[0].turns), reports[0].seeds
    names = list(dict.fromkeys(name for subject in subjects for name in subject.measured))
    frechet = next((name for name in names if is_frechet(name)), None)
    found = {name: [subject.measured.get(name) for subject in subjects] for name in names}
    more = [score_row(name, digits_of(values), values) for name, values in found.items()]
    heads = [
        {
            "seed": seed,
            "gain": round(gain(reports, seed), 5),
            "gfas": [round(report.per_seed_mse_sum[seed], 5) for report in reports],
            "strips": ["data:image/webp;base64," + base64.b64encode(s.turns[seed].pictures).decode() for s in subjects],
            "gaze": [subject.turns[seed].gaze for subject in subjects],
        }
        for seed in seeds
    ]
    several = len(subjects) > 1
    chosen = (
        f"All {total} seeds" if len(seeds) == total else f"{len(seeds)} of {total} seeds, evenly spaced in the order"
    )
    chosen += "" if len(seeds) == total else " of gain in GFAS" if several else " of GFAS"
    return {
        "networks": [{"name": subject.name, "slope": subject.scores.slope} for subject in subjects],
        "lead": "Turn the heads with the slider. Where the orange arrow stays with the blue one, the eyes look where "
        "the face looks; where it hardly leaves the middle of the picture, they look into the camera.",
        "chosen": f"{chosen}. The number at each picture is its head's GFAS, lower is better"
        + ("; in the corner is the change." if several else "."),
        "scorenote": f"Gaze: {total} seeds from {len(reports[0].views)} cameras. \N{PLUS-MINUS SIGN} is one standard "
        "error. Bold is the better value, which need not be a significant difference.",
        "yaws": TURN_YAWS,
        "start": TURN_YAWS.index(0.4),
        "face": subjects[0].turns[seeds[0]].face,
        "heads": heads,
        "scores": [gfas_row(reports, *row) for row in GFAS_ROWS] + more,
        "frechet": frechet and {"name": frechet, "values": [s.measured.get(frechet) for s in subjects]},
        "nofrechet": NO_FRECHET,
        "facts": facts,
    }  # fmt: skip


def digits_of(values: Sequence[tuple[float, float | None, str] | None]) -> int:
    """Decimals that show two digits of the smallest standard error, or without any four digits of the least value."""
    errors = [value[1] for value in values if value and value[1]]
    sizes = [abs(value[0]) / 100 for value in values if value and value[0]]
    least = min(errors or sizes, default=1e-3)
    return min(12, max(0, 1 - math.floor(math.log10(least))))


def is_frechet(name: str) -> bool:
    """Is a score of this name a Frechet distance (`fid50k_full`, `fd_embedded`)?"""
    return name.startswith(("fid", "fd"))


def gfas_row(reports: Sequence[GfasReport], attribute: str, name: str, digits: int, better: str) -> dict:
    """A row of the table from the field of every report, and its standard error."""
    values = [(getattr(report, attribute), getattr(report, attribute + "_se"), better) for report in reports]
    return score_row(name, digits, values)


def score_row(name: str, digits: int, values: Sequence[tuple[float | None, float | None, str] | None]) -> dict:
    better = next((value[2] for value in values if value), "lower")
    return {"name": name, "digits": digits, "better": better, "values": [value and list(value[:2]) for value in values]}
