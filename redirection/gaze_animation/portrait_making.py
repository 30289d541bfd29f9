"""Photos or pictures of a world -> portraits in two domains, with tables of what is true and what was left out.

Beside the published layout (`portrait_lists`) lie, of a world, truth.csv (degrees), landmarks.json (68 points of each
portrait, as `preprocess_ffhq.py` reads them) and corrected/NAME.png; of photos rejects.csv.
"""

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from eg3d.pictures.layout import stack, tiles, write_png
from eg3d.pictures.text import text_strip
from groundwork.archive import Folder, Unreadable
from groundwork.files import write_text
from groundwork.images import read_picture
from redirection.gaze_animation.camera_gaze import GazeSource, NoGaze
from redirection.gaze_animation.level_faces import SIDE, Placed, boxes_of
from redirection.gaze_animation.portrait_lists import CAMERA, ELSEWHERE, list_line
from redirection.gaze_animation.portrait_truth import FILE as TRUTH
from redirection.gaze_animation.portrait_truth import Truth, truth_rows
from redirection.gaze_animation.world_portraits import WorldPortrait
from redirection.lid_points import Lids, LidSource, NoLids

QUALITY = 95  # of JPEG, without subsampling of colours: irises are small
CORRECTED, LANDMARKS, REJECTS = "corrected", "landmarks.json", "rejects.csv"
COLUMNS = 8  # of the sheet
SHEET_OF_EACH = 32


@dataclass(frozen=True)
class Rules:
    """Which photos become portraits, and in which domain; degrees between gaze and camera."""

    at_camera: float = 5.0  # at most, of X
    away: float = 10.0  # at least, of Y; what lies between joins neither
    least_open: float = 0.12  # height over width of the eye that is less open
    most_outside: float = 0.02  # part of the boxes that lies outside the photo


@dataclass(frozen=True)
class Made:
    """A portrait uint8 [S, S, 3], its domain, name and eyes [2, 2] in px of SIDE; of a world also what is true."""

    domain: str
    name: str
    picture: np.ndarray
    eyes: np.ndarray
    of_world: WorldPortrait | None = None


@dataclass
class Making:
    """What has been made so far. rejects: photo and reason."""

    names: dict[str, list[str]] = field(default_factory=lambda: {ELSEWHERE: [], CAMERA: []})
    lines: dict[str, list[str]] = field(default_factory=lambda: {ELSEWHERE: [], CAMERA: []})
    sheet: dict[str, list[np.ndarray]] = field(default_factory=lambda: {ELSEWHERE: [], CAMERA: []})
    rejects: list[tuple[str, str]] = field(default_factory=list)
    truth: list[tuple[str, str, Truth]] = field(default_factory=list)
    points: dict[str, list] = field(default_factory=dict)


def eyes_of(lids: Lids) -> np.ndarray:
    """Six points of each eye -> their middles [2, 2], that at the image's left first."""
    return np.stack([np.asarray(lids[eye], np.float64).mean(axis=0) for eye in "RL"])


def openness(lids: Lids) -> float:
    """Height over width of the eye that is less open. Below about 0.12 the eye is closed."""
    found = []
    for points in lids.values():
        outer, top_a, top_b, inner, low_a, low_b = np.asarray(points, np.float64)
        height = np.linalg.norm((top_a + top_b - low_a - low_b) / 2)
        found.append(height / max(float(np.linalg.norm(outer - inner)), 1e-6))
    return min(found)


def photo_portraits(
    folder: Folder, names: Sequence[str], lids: LidSource, gaze: GazeSource, rules: Rules, size: int, rejects: list
) -> Iterator[Made]:
    """Portraits of photos; what is left out goes to `rejects`, as (photo, reason)."""
    stems: set[str] = set()
    for name in names:
        try:
            picture = np.asarray(read_picture(folder.read(name), name))
            made = _of_photo(picture, name, lids(picture, name), gaze, rules, size)
            if made.name in stems:
                raise ValueError("another photo gave a portrait of this name")
        except (NoLids, NoGaze, Unreadable, ValueError) as reason:
            rejects.append((name, str(reason)))
            continue
        stems.add(made.name)
        yield made


def _of_photo(picture: np.ndarray, name: str, lids: Lids, gaze: GazeSource, rules: Rules, size: int) -> Made:
    opened, eyes = openness(lids), eyes_of(lids)
    if opened < rules.least_open:
        raise ValueError(f"an eye is closed (height over width {opened:.2f}, least {rules.least_open:g})")
    place = Placed.of_eyes(eyes)
    in_portrait = place.to_portrait(eyes, SIDE)
    outside = place.share_outside(boxes_of(in_portrait), SIDE, picture)
    if outside > rules.most_outside:
        raise ValueError(f"{outside:.0%} of the boxes round the eyes lie outside the photo")
    off = gaze(picture, eyes, name)
    if rules.at_camera < off < rules.away:
        raise ValueError(f"looks {off:.1f} degrees past the camera: neither into it ({rules.at_camera:g} at most) nor "
                         f"elsewhere ({rules.away:g} at least)")  # fmt: skip
    stem = "_".join(Path(name).stem.split())  # a list has spaces between its fields
    domain = CAMERA if off <= rules.at_camera else ELSEWHERE
    return Made(domain, stem, place.cut(picture, size), in_portrait)


def world_made(portraits: Iterable[WorldPortrait]) -> Iterator[Made]:
    for one in portraits:
        yield Made(one.domain, one.name, one.picture, one.eyes, one)


def write_set(made: Iterable[Made], outdir: Path, making: Making) -> None:
    """Writes OUTDIR, which must not exist. Half-done work leaves nothing behind.

    Errors: ValueError, one line, if a domain is empty.
    """
    outdir.resolve().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{outdir.name}.", dir=outdir.resolve().parent) as temporary:
        whole = Path(temporary) / "whole"
        for domain in (ELSEWHERE, CAMERA):
            (whole / domain).mkdir(parents=True)
        for one in made:
            _write_one(one, whole, making)
        for domain, what in ((CAMERA, "looks into the camera"), (ELSEWHERE, "looks elsewhere")):
            if not making.lines[domain]:
                reason = f" ({len(making.rejects)} were left out; {making.rejects[0][0]}: {making.rejects[0][1]})"
                raise ValueError(f"nobody {what}, so the domain {domain}/ would be empty"
                                 f"{reason if making.rejects else ''}; give other pictures, or other limits "
                                 "(--at-camera, --away)")  # fmt: skip
            write_text(whole / f"{domain}.txt", "".join(making.lines[domain]))
        if making.truth:
            write_text(whole / TRUTH, _csv(truth_rows(making.truth)))
            write_text(whole / LANDMARKS, json.dumps(making.points))
        else:
            write_text(whole / REJECTS, _csv([["photo", "reason"], *making.rejects]))
        os.replace(whole, outdir)


def _write_one(one: Made, folder: Path, making: Making) -> None:
    Image.fromarray(one.picture).save(folder / one.domain / f"{one.name}.jpg", quality=QUALITY, subsampling=0)
    making.names[one.domain].append(one.name)
    making.lines[one.domain].append(list_line(one.name, one.eyes))
    if len(making.sheet[one.domain]) < SHEET_OF_EACH:
        making.sheet[one.domain].append(one.picture)
    if one.of_world is None:
        return
    making.truth.append((one.domain, one.name, one.of_world.truth))
    # The file counts from the centre of the first pixel.
    making.points[f"{one.domain}/{one.name}"] = np.round(one.of_world.points - 0.5, 2).tolist()
    if one.of_world.corrected is not None:
        (folder / CORRECTED).mkdir(exist_ok=True)
        Image.fromarray(one.of_world.corrected).save(folder / CORRECTED / f"{one.name}.png")


def _csv(rows: Sequence[Sequence]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def write_sheet(path: Path, making: Making, side: int = 128) -> None:
    """A PNG of the first portraits of each domain."""
    blocks = []
    for domain, what in ((CAMERA, "1/: look into the camera (X)"), (ELSEWHERE, "0/: look elsewhere (Y)")):
        small = [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BOX))
                 for one in making.sheet[domain]]  # fmt: skip
        grid = tiles(small, min(COLUMNS, len(small)))
        blocks += [text_strip(COLUMNS * side, 24, what), grid]
    write_png(path, stack(blocks))
