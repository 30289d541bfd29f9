"""All views of one source: its reconstruction is placed, turned, lit and drawn, with labels that turn with it.

Every random number of a view is keyed by (seed, person, row, view), so the view does not depend on which process makes
it, nor on which others are made. Published tables of random numbers take the place of draws if the settings name them.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from dataset_preprocessing.nv_rendering import mpii_layout
from dataset_preprocessing.nv_rendering.backgrounds import PUBLISHED_BLACK, Backgrounds
from dataset_preprocessing.nv_rendering.face_mask import face_vertices, in_crop
from dataset_preprocessing.nv_rendering.head_pose import HeadPose, read_face_model
from dataset_preprocessing.nv_rendering.mesh_files import Reconstruction, is_written, read_reconstruction
from dataset_preprocessing.nv_rendering.mesh_pictures import ColouredMesh, Light, projected, shrunk, shrunk_mask
from dataset_preprocessing.nv_rendering.target_patterns import Pattern
from dataset_preprocessing.nv_rendering.turning import NewView, SourceHead, apply, new_view, source_head
from dataset_preprocessing.nv_rendering.view_settings import VARIANTS, Lights, ViewSettings, pattern_of
from groundwork.draw_keys import draw_key
from l2cs.normalization import SIZE, rotation_matrix, undistorted_points, vectors_of

AT_ONCE = 16  # views of a source that are drawn before they are written
LONGEST_NAME = 255  # bytes, in the files
PER_SOURCE = -1  # stands for the view of what all views of a source share, in `legacy`
TABLES = ("random_lightings_ac", "random_colors", "random_bg_ids", "augmentation_ids")


class Skipped(ValueError):
    """Why one source gives no views; the others go on."""


@dataclass(frozen=True)
class Source:
    """One photo with its labels. Landmarks are in pixels of the undistorted photo.

    person "p00"; row: among the sources of the person; place: among those of all people, for stored tables; name
    "p00/day01/0005.jpg"; camera [3, 3]; landmarks6 [6, 2]; landmarks [68, 2] or None; gaze_target [3] mm; pose and
    centre [3] mm: as annotated.
    """

    person: str
    row: int
    place: int
    name: str
    camera: np.ndarray
    landmarks6: np.ndarray
    landmarks: np.ndarray | None
    gaze_target: np.ndarray
    pose: HeadPose
    centre: np.ndarray


# ------------------------------------------------------------------ what a run reads


def people_of(settings: ViewSettings) -> list[str]:
    """Names of the people, sorted; ValueError if there is none."""
    folder = settings.supplementary.mpii.source
    return mpii_layout.sources(_folder(folder)) if folder else mpii_layout.people(_folder(settings.data.mpii.raw))


@functools.lru_cache(maxsize=2)
def sources_of(settings: ViewSettings, person: str) -> list[Source]:
    """The sources of a person in the order of their file. ValueError, one line, for whatever is missing or damaged."""
    supplied, raw = settings.supplementary.mpii.source, Path(settings.data.mpii.raw)
    lines = mpii_layout.read_person(raw, person)
    first = _places(settings)[person]
    if not supplied:
        camera = mpii_layout.camera_of(raw, person)
        facts = [(line, camera, None, line.gaze_target) for line in lines]
    else:
        by_name, facts = {line.name: line for line in lines}, []
        for row in mpii_layout.read_sources(Path(supplied), person):
            if row.file_name not in by_name:
                raise ValueError(f"{Path(supplied) / person}.h5: {row.file_name} has no line in {person}.txt of {raw}")
            facts.append((by_name[row.file_name], row.camera, row.landmarks, row.gaze_target))
    return [_source(person, row, first + row, *facts_of_it) for row, facts_of_it in enumerate(facts)]


def _source(person: str, row: int, place: int, line: mpii_layout.PhotoRow, camera, landmarks, target) -> Source:
    if len(line.name.encode()) > LONGEST_NAME:
        raise ValueError(f"{line.name[:80]}: the name of this photo has more than {LONGEST_NAME} bytes; rename it")
    straight = [
        None if points is None else undistorted_points(points, camera.matrix, camera.distortion)
        for points in (line.landmarks6, landmarks)
    ]
    pose = HeadPose(rotation_matrix(line.rotation), line.translation)
    return Source(person, row, place, line.name, camera.matrix, *straight, target, pose, line.centre)


@functools.lru_cache(maxsize=2)
def _places(settings: ViewSettings) -> dict[str, int]:
    """Person -> how many sources stand before the first one of theirs; 0 if no stored table counts them."""
    people, tables = people_of(settings), settings.supplementary.mpii
    if not any(getattr(tables, name) for name in TABLES):
        return dict.fromkeys(people, 0)
    raw = Path(settings.data.mpii.raw)
    counts = [
        len(mpii_layout.read_sources(Path(tables.source), person) if tables.source
            else mpii_layout.read_person(raw, person))
        for person in people
    ]  # fmt: skip
    return dict(zip(people, np.cumsum([0, *counts]).tolist(), strict=False))


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise ValueError(f"{text}: there is no such folder; look at the settings")
    return Path(text)


@dataclass(frozen=True)
class Materials:
    """What all sources share. tables: stored random numbers by name."""

    pattern: Pattern
    backgrounds: Backgrounds | None
    model68: np.ndarray | None
    tables: dict[str, np.ndarray]


@functools.lru_cache(maxsize=2)
def materials(settings: ViewSettings) -> Materials:
    """Reads it, once in a process; ValueError, one line, for what is missing or damaged."""
    pictures = settings.data.background_path if settings.model.variants.with_pictures else ""
    model68 = read_face_model(Path(settings.misc.openface_path)) if settings.legacy else None
    if model68 is not None and len(model68) != 68:
        raise ValueError(f"{settings.misc.openface_path}: has {len(model68)} points; legacy needs OpenFace's 68")
    named = {name: getattr(settings.supplementary.mpii, name) for name in TABLES}
    tables = {name: mpii_layout.read_table(Path(path), name) for name, path in named.items() if path}
    wanted, stored = settings.model.target_pose.number_new_views, tables.get("augmentation_ids")
    if stored is not None and wanted > stored.shape[1]:
        raise ValueError(f"{named['augmentation_ids']}: has numbers for {stored.shape[1]} views of a source, and "
                         f"model.target_pose.number_new_views is {wanted}; leave the table out")  # fmt: skip
    backgrounds = Backgrounds(Path(pictures)) if pictures else None
    return Materials(pattern_of(settings.model.target_pose), backgrounds, model68, tables)


def forget() -> None:
    """Reads all files anew from here on; they may have changed."""
    for kept in (sources_of, _places, materials):
        kept.cache_clear()


# ------------------------------------------------------------------ choices


@dataclass(frozen=True)
class Choice:
    """How one view is drawn. variant: number in VARIANTS; colour: RGB; picture: number of a background."""

    variant: int
    light: Light
    colour: tuple[int, int, int]
    picture: int

    @property
    def behind(self) -> tuple[int, int, int]:
        """What the files call background."""
        kind = VARIANTS[self.variant].partition("_")[0]
        return {"black": (0, 0, 0), "colour": self.colour, "picture": (self.picture, -1, -1)}[kind]


def choice_of(settings: ViewSettings, shared: Materials, seed: int, source: Source, view: int) -> Choice:
    """The variant, light and background of a view: drawn for the view; in `legacy` all but the variant for the source.

    All numbers are drawn whatever the variant, so that one does not move the others.
    """
    draws = _draws(seed, source, view)
    share = np.cumsum(settings.model.variants.all)
    number = draws.random()
    if settings.legacy:
        draws = _draws(seed, source, PER_SOURCE)
    light = _drawn_light(draws, settings.model.light)
    colour = draws.integers(0, 256, 3)
    count = len(shared.backgrounds.names) if shared.backgrounds else 1
    picture = int(draws.integers(count))
    tables = shared.tables
    if "augmentation_ids" in tables:
        number = _stored(tables, "augmentation_ids", source)[view]
    if "random_lightings_ac" in tables:
        light = Light(float(_stored(tables, "random_lightings_ac", source)[0]), light.directional, light.toward)
    if "random_colors" in tables:
        colour = _stored(tables, "random_colors", source)
    if "random_bg_ids" in tables:
        picture = int(_stored(tables, "random_bg_ids", source)[0])
    # Rounded, as 0.1 + 0.1 + 0.1 is not 0.3; the last share that is not 0 takes what is left.
    variant = int(np.searchsorted(np.round(share / share[-1], 12), number, side="right"))
    variant = min(variant, int(np.flatnonzero(settings.model.variants.all)[-1]))
    dark = VARIANTS[variant].endswith("_dark")
    return Choice(variant, light if dark else Light(), tuple(map(int, colour)), picture)


def _draws(seed: int, source: Source, view: int) -> np.random.Generator:
    key = draw_key(seed, f"look/{source.person}", source.row, view)
    return np.random.default_rng([key, source.row, view - PER_SOURCE])


def _drawn_light(draws: np.random.Generator, ranges: Lights) -> Light:
    ambient, directional = draws.uniform(*ranges.ambient), draws.uniform(*ranges.directional)
    pitch, yaw = np.radians([draws.uniform(*ranges.pitch), draws.uniform(*ranges.yaw)])
    # Angles are those of a vector that points away from the light, as a head's third axis does from the camera.
    return Light(ambient, directional, tuple(-vectors_of((pitch, yaw))))


def _stored(tables: dict[str, np.ndarray], name: str, source: Source) -> np.ndarray:
    if source.place >= len(tables[name]):
        raise ValueError(f"{name}: has {len(tables[name])} rows, and {source.name} is source {source.place}; the table "
                         "belongs to another set")  # fmt: skip
    return tables[name][source.place]


# ------------------------------------------------------------------ drawing


@dataclass(frozen=True)
class Placed:
    """A source in its normalised frame, ready to be turned. face: as it was read; mesh: its `head.points`, coloured."""

    head: SourceHead
    face: Reconstruction
    mesh: ColouredMesh


def placed(settings: ViewSettings, source: Source) -> Placed:
    """`Skipped` if it has no reconstruction, or if head pose, matching or mask cannot be had of it."""
    face = _reconstruction(settings, source)
    try:
        head = source_head(
            face.vertices, face.landmarks, face.crop, source.camera, source.landmarks6, source.gaze_target,
            materials(settings).model68, source.landmarks, legacy=settings.legacy, pose=source.pose,
            centre=source.centre,
        )  # fmt: skip
        outline = None if source.landmarks is None else in_crop(source.landmarks, face.crop)
        chosen = np.zeros(len(face.vertices), bool)
        chosen[face_vertices(face.vertices, face.landmarks, outline)] = True
    except ValueError as error:
        raise Skipped(f"{source.name}: {error}") from None
    return Placed(head, face, ColouredMesh(head.points, face.faces, face.colours, chosen))


def views_of(settings: ViewSettings, seed: int, source: Source) -> Iterator[dict[str, np.ndarray]]:
    """The views of a source by the keys of `l2cs.view_files`, each [N, ...], in order, AT_ONCE at a time: 0.4 MB each
    are not all held. `Skipped`, before the first, if it gives none."""
    shared, ready = materials(settings), placed(settings, source)
    numbers = range(settings.model.target_pose.number_new_views)
    try:
        views = [new_view(ready.head, shared.pattern, seed, source.person, source.row, view) for view in numbers]
    except ValueError as error:
        raise Skipped(str(error)) from None
    for first in range(0, len(views), AT_ONCE):
        some = views[first : first + AT_ONCE]
        choices = [choice_of(settings, shared, seed, source, first + number) for number in range(len(some))]
        pictures = [_drawn(settings, shared, ready.mesh, *both) for both in zip(some, choices, strict=True)]
        yield _rows(settings, source, ready, first, some, choices, pictures)


def _reconstruction(settings: ViewSettings, source: Source) -> Reconstruction:
    stem = Path(settings.data.mpii.obj) / PurePosixPath(source.name).with_suffix("")
    if not is_written(stem):
        raise Skipped(f"{source.name}: no reconstruction of it lies in {settings.data.mpii.obj}")
    return read_reconstruction(stem)


def _drawn(
    settings: ViewSettings, shared: Materials, mesh: ColouredMesh, view: NewView, choice: Choice
) -> tuple[np.ndarray, np.ndarray]:
    """Picture uint8 BGR [side, side, 3] and mask uint8 [side, side] of a view."""
    side, drawn, legacy = settings.output.side, settings.output.drawn, settings.legacy
    kind = VARIANTS[choice.variant].partition("_")[0]
    if kind == "picture":
        background = shared.backgrounds.picture(choice.picture, drawn)
    elif kind == "colour":
        background = np.array(choice.colour)
    else:
        background = np.array(PUBLISHED_BLACK if legacy else (0.0, 0.0, 0.0))
    seen = mesh.seen(view.rotation, view.centre, drawn)
    picture = mesh.picture(seen, choice.light, background)
    return shrunk(picture, side, legacy), shrunk_mask(mesh.mask(seen, legacy), side, legacy)


def _rows(settings, source: Source, ready: Placed, first: int, views, choices, pictures) -> dict[str, np.ndarray]:
    """The columns of the file, for some views in order; first: the number of the first of them."""
    head, face = ready.head, ready.face
    count, side = len(views), settings.output.side
    photo68 = source.landmarks
    if photo68 is None:
        photo68 = in_crop(face.landmarks[:, :2], np.linalg.inv(face.crop))
    angles = np.array([view.head_angles for view in views])
    if not settings.published_layout:
        angles = np.column_stack([[view.roll for view in views], angles])

    def each(value, dtype):
        return np.repeat(np.asarray(value, dtype)[None], count, axis=0)

    return {
        "face_gaze": np.array([view.gaze_angles for view in views]),
        "face_head_pose": angles,
        "rotation_matrix": np.array([view.stored_rotation for view in views]),
        "face_mask": np.array([mask for _, mask in pictures]),
        "face_patch": np.array([picture for picture, _ in pictures]),
        "face_mat_norm": each(head.normalization.rotation, np.float32),
        "landmarks_norm": each(head.normalization.points(photo68) * (side / SIZE), np.float32),
        "pj_landmarks_norm": np.array([projected(apply(v, head.landmarks), side) for v in views], np.float32),
        "file_name": each(source.name.encode(), "S255"),
        "source_row": each(source.row, np.int32),
        "view": np.arange(first, first + count, dtype=np.int32),
        "variant": np.array([choice.variant for choice in choices], np.uint8),
        "ambient": np.array([choice.light.ambient for choice in choices], np.float32),
        "directional": np.array([choice.light.directional for choice in choices], np.float32),
        "light": np.array([choice.light.toward for choice in choices], np.float32),
        "background": np.array([choice.behind for choice in choices], np.int32),
    }
