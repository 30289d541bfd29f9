"""A run: the views of all sources of all people, in several processes, gone on with where the last one stopped.

    DIR/settings.json            what the files depend on; another run must have the same
    DIR/full/p00.h5              a person whose sources are done
    DIR/full/.p00.parts/12.h5    a finished source of a person whose sources are not all done (view_writer.py)

What is in no file is made; what is in one is never made again. So a killed run goes on by running the command again.
"""

import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from dataset_preprocessing.nv_rendering import source_views
from dataset_preprocessing.nv_rendering.source_views import Skipped, Source
from dataset_preprocessing.nv_rendering.view_settings import VARIANTS, ViewSettings, as_facts
from dataset_preprocessing.nv_rendering.view_writer import Layout, pack, sources_in, write_part
from groundwork.command import package_version
from groundwork.files import atomic_write, sha256
from groundwork.strict_json import JsonError, parse_json, read_json
from groundwork.workers import in_processes
from l2cs.normalization import DISTANCE, FOCAL, SIZE
from l2cs.view_files import FULL, MADE_BY, open_hdf5

SETTINGS_FILE = "settings.json"
FORMAT = 2  # of the files, and of what is drawn: the same settings give the same bytes as long as it stays
# Files whose content counts, not their place.
CONTENTS = ("model.target_pose.headpose_file", "misc.openface_path", "supplementary.mpii.random_lightings_ac",
            "supplementary.mpii.random_colors", "supplementary.mpii.random_bg_ids",
            "supplementary.mpii.augmentation_ids")  # fmt: skip
NOT_USED = ("supplementary.mpii.random_dark_ids", "misc.mpii_face_model", "misc.dlib_landmark_model",
            "model.save_original_headpose")  # fmt: skip
ANGLES = (
    "radians; (pitch, yaw) of the negated gaze and of the head's third axis, which points into the head; the vector is "
    "(cos p sin y, sin p, cos p cos y); positive pitch is up, positive yaw toward the picture's left"
)
LONGEST = 100  # numbers of a setting that are written out; of longer ones the digest counts


@dataclass
class Report:
    """What a run has done: views in the files, sources made by this run, sources found done, and why some gave none."""

    views: int = 0
    made: int = 0
    found: int = 0
    skipped: list[str] = field(default_factory=list)


def render_all(
    settings: ViewSettings, folder: Path, seed: int = 0, workers: int = 1, people: Sequence[str] = (),
    most_rows: int | None = None, tell: Callable[[str], None] = print,
) -> Report:  # fmt: skip
    """Makes what is missing in `folder` and packs it, person by person.

    Args:
        people: names, or all. most_rows: so many sources of each person, the first ones, or all.
        tell: gets a line for each person.
    Errors: ValueError, one line, for what is missing or damaged, and for a folder of a run with other settings.
    """
    source_views.forget()
    chosen = _chosen(source_views.people_of(settings), people)
    facts = facts_of(settings, seed)
    for person in chosen:  # whatever is wrong with the last one's files shows before hours of work
        source_views.sources_of(settings, person)
    report, layout = Report(), Layout(settings.output.side, settings.published_layout)
    with alone_in(folder):
        check_settings(folder, facts)
        for person in chosen:
            sources = source_views.sources_of(settings, person)
            person_run = PersonRun(folder, person, layout, facts)
            person_run.check_photos(sources)
            sources = sources[:most_rows]
            todo = [source for source in sources if source.row not in person_run.done]
            skipped = len(report.skipped)
            for reason in made(settings, seed, person_run.parts, layout, todo, workers, person):
                report.skipped += [reason] if reason else []
            views, rows = person_run.finish()
            report.made += len(todo) - (len(report.skipped) - skipped)
            report.found += len(sources) - len(todo)
            report.views += views
            tell(f"{person}: {views} views of {rows} sources -> {person_run.target}" if rows else f"{person}: no views")
    if not report.views:
        raise ValueError(f"no source gives a view: {report.skipped[0] if report.skipped else 'there is none'}")
    return report


def _chosen(all_people: list[str], people: Sequence[str]) -> list[str]:
    if unknown := [person for person in people if person not in all_people]:
        raise ValueError(f"--people={','.join(people)}: there is no {unknown[0]}; there are {', '.join(all_people)}")
    return [person for person in all_people if person in people or not people]


# ------------------------------------------------------------------ one person


class PersonRun:
    """The files of one person. parts: folder of finished sources; done: their rows, and those of the packed file."""

    def __init__(self, folder: Path, person: str, layout: Layout, facts: dict):
        self.target = folder / FULL / f"{person}.h5"
        self.parts = folder / FULL / f".{person}.parts"
        self._layout, self._facts = layout, facts | {"person": person}
        for left in (folder / FULL).glob(f".{person}.h5.*"):  # of a run that was killed while it packed
            left.unlink()
        self._check_target()
        packed = dict.fromkeys(sources_in(self.target), self.target)
        self.done: dict[int, Path] = self._finished() | packed

    def check_photos(self, sources: Sequence[Source]) -> None:
        """ValueError if a row that is done is of another photo now: photos were put before others, or taken away. One
        photo would be in the file twice then, and another not at all."""
        for path in sorted(set(self.done.values())):
            for row, name in sources_in(path).items():
                if row < len(sources) and name not in ("", sources[row].name):
                    raise ValueError(f"{path}: its source {row} is {name}, and the photos' source {row} is now "
                                     f"{sources[row].name}; add photos at the end, or give another folder")  # fmt: skip

    def finish(self) -> tuple[int, int]:
        """Packs what is not packed yet; (views, sources) of the person's file."""
        self.done = self._finished() | {row: path for row, path in self.done.items() if path == self.target}
        if any(path != self.target for path in self.done.values()):
            pack(self.target, self._layout, sorted(self.done.items()), _attributes(self._facts))
        shutil.rmtree(self.parts, ignore_errors=True)
        return len(self.done) * self._facts["model.target_pose.number_new_views"], len(self.done)

    def _finished(self) -> dict[int, Path]:
        """Row -> its part. A part is whole, for it got its name last."""
        return {int(path.stem): path for path in self.parts.glob("*.h5") if path.stem.isdigit()}

    def _check_target(self) -> None:
        """ValueError if the person's file is of another run."""
        if not self.target.exists():
            return
        with open_hdf5(self.target) as file:
            stored = file.attrs.get("settings", "{}")
        try:
            refuse_others(json_facts(stored), {k: v for k, v in self._facts.items() if k != "person"})
        except ValueError as error:
            raise ValueError(f"{self.target}: {error}") from None


def made(
    settings: ViewSettings, seed: int, parts: Path, layout: Layout, sources: Sequence[Source], workers: int, title: str
) -> Iterator[str]:
    """Writes a part for each source; gives, for each, why it has no views, or an empty text."""
    work = functools.partial(_make, settings, seed, parts, layout)
    parts.mkdir(parents=True, exist_ok=True)
    for left in parts.glob(".*"):  # of a run that was killed while it wrote
        left.unlink()
    if workers == 1 or len(sources) < 2:
        results: Iterable[str] = map(work, sources)
    else:
        results = in_processes(work, sources, min(workers, len(sources)), at_once=1)
    return iter(tqdm(results, title, len(sources), unit="source", disable=None))


def _make(settings: ViewSettings, seed: int, parts: Path, layout: Layout, source: Source) -> str:
    try:
        write_part(parts / f"{source.row}.h5", layout, source.row, source_views.views_of(settings, seed, source))
    except Skipped as reason:
        return str(reason)
    return ""


# ------------------------------------------------------------------ one run beside another


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """ValueError if another run writes there now."""
    (folder / FULL).mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"{folder}: another run writes there now; wait for it, or give another folder") from None
    try:
        yield
    finally:
        lock.release()


def facts_of(settings: ViewSettings, seed: int) -> dict[str, object]:
    """What the files depend on, by names, as JSON has it. Of small files the content counts, not the place."""
    facts = {name: value for name, value in as_facts(settings).items() if name not in NOT_USED}
    if not settings.legacy:
        facts["misc.openface_path"] = ""  # published settings name it, and nothing else reads it
    for name in CONTENTS:
        if facts[name]:
            facts[name] = sha256(Path(facts[name]))[:16]
    for name, value in facts.items():
        if isinstance(value, list) and len(value) > LONGEST:
            facts[name] = hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
    backgrounds = source_views.materials(settings).backgrounds
    names = "\n".join(backgrounds.names) if backgrounds else ""
    facts["data.background_path"] = hashlib.sha256(names.encode()).hexdigest()[:16] if names else ""
    return facts | {"seed": seed, "format": FORMAT}


def check_settings(folder: Path, facts: dict) -> None:
    """Writes the settings of a new run; ValueError if the folder holds views of a run with others."""
    path = folder / SETTINGS_FILE
    if not path.exists() and (part := next((folder / FULL).glob(".*.parts/*.h5"), None)):
        raise ValueError(f"{path}: is gone, so nobody knows of which settings {part} is; give another folder")
    if not path.exists() or not any((folder / FULL).rglob("*.h5")):
        atomic_write(path, (json.dumps(facts, indent=1) + "\n").encode())
        return
    try:
        stored = read_json(path)
    except JsonError as error:
        raise ValueError(f"{path}: is no JSON ({error}); give another folder, or remove this one") from None
    try:
        refuse_others(stored if isinstance(stored, dict) else {}, facts)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def refuse_others(stored: dict, facts: dict) -> None:
    """ValueError that names what differs."""
    missing = object()
    for name, value in facts.items():
        if (there := stored.get(name, missing)) != value:
            said = "missing" if there is missing else f"{there!r:.60}"
            hint = "; if the folder was moved, write its new place there" if name.startswith("data.mpii") else ""
            raise ValueError(f"is of another run: {name} is {said} there and {value!r:.60} now; give another folder, "
                             f"or the same settings{hint}")  # fmt: skip


def json_facts(text: str) -> dict:
    """The facts in the attribute `settings` of a file; nothing if it holds none."""
    try:
        found = parse_json(text)
    except JsonError:
        return {}
    return found if isinstance(found, dict) else {}


def _attributes(facts: dict) -> dict:
    """Attributes of a file: who made it, conventions, and all settings as JSON."""
    side = facts["output.side"]
    focal = FOCAL * side / SIZE
    settings = {name: value for name, value in facts.items() if name != "person"}
    return {
        MADE_BY: f"gaze-corrected-eg3d {package_version()}",
        "person": facts["person"],
        "seed": facts["seed"],
        "views_per_source": facts["model.target_pose.number_new_views"],
        "channels": "BGR",
        "angles": ANGLES,
        "frame": "x right, y down, z away from the camera; lengths in mm",
        "camera": [[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]],
        "pixels": "the first pixel spans 0..1",
        "distance_mm": DISTANCE,
        "rotation_matrix": "Q" if facts["legacy"] else "R2 Q",
        "variants": ", ".join(VARIANTS),
        "settings": json.dumps(settings),
    }  # fmt: skip
