"""The settings of a run: the published YAML file, with keys of ours, and overrides.

The file is read without running code. A path in it starts at the file's folder, as the published program reads the file
of the folder that it is in; a path of `--set` starts at the working directory.
"""

import dataclasses
import difflib
import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataset_preprocessing.nv_rendering import target_patterns
from groundwork.files import open_regular
from groundwork.plain import check_one_of, check_within, flat, from_plain

MOST_BYTES, MOST_DEPTH = 1 << 18, 16
RANGE, LIST, GRID, GAUSSIAN = "range", "list", "grid", "gaussian"
MODES = (*target_patterns.FILE_MODES, GAUSSIAN, RANGE, LIST, GRID)
VARIANTS = ("black", "black_dark", "colour", "colour_dark", "picture", "picture_dark")  # in the order of their numbers


def path_field() -> str:
    return field(default="", metadata={"path": True})


@dataclass(frozen=True, kw_only=True)
class Photos:
    """raw: folder in MPIIFaceGaze's layout; obj: that of the reconstructions."""

    raw: str = path_field()
    obj: str = path_field()


@dataclass(frozen=True, kw_only=True)
class Data:
    """background_path: folder of pictures, if a variant shows them."""

    mpii: Photos = Photos()
    background_path: str = path_field()


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Published supplementary files, each as it is given; without one its numbers are drawn.

    source: folder of pXX.h5; without it the lines of annotation are the sources. random_dark_ids: not used, as in the
    published program.
    """

    source: str = path_field()
    random_dark_ids: str = path_field()
    random_lightings_ac: str = path_field()
    random_colors: str = path_field()
    random_bg_ids: str = path_field()
    augmentation_ids: str = path_field()


@dataclass(frozen=True, kw_only=True)
class Supplementary:
    mpii: Tables = Tables()


@dataclass(frozen=True, kw_only=True)
class FaceModels:
    """openface_path: 68 points, for `legacy`. The six points of mpii_face_model are built in; no dlib is used."""

    mpii_face_model: str = path_field()
    dlib_landmark_model: str = path_field()
    openface_path: str = path_field()


@dataclass(frozen=True, kw_only=True)
class TargetPose:
    """Which poses the views have; angles in degrees.

    headpose_file: rows (pitch, yaw) in radians, for the published modes, or for `list`. sigma: of `gaussian`.
    pitch, yaw: [low, high] of `range`, or all values of `grid`. poses: [[pitch, yaw], ...] of `list`.
    sample_target_gaze: the gaze has these angles, not the head.
    """

    number_new_views: int = 16
    mode: str = "xgaze-train"
    headpose_file: str = path_field()
    sample_target_gaze: bool = False
    sigma: float = 20.0
    pitch: tuple[float, ...] = ()
    yaw: tuple[float, ...] = ()
    poses: tuple[tuple[float, float], ...] = ()

    def __post_init__(self):
        check_one_of("model.target_pose.mode", self.mode, MODES)
        check_within("model.target_pose.number_new_views", self.number_new_views, 1, 100_000)
        if self.mode in target_patterns.FILE_MODES and not self.headpose_file:
            raise ValueError(f"mode {self.mode} needs model.target_pose.headpose_file, a file of head poses; the "
                             "published program's folder `targets` has them")  # fmt: skip
        if self.mode == RANGE and not len(self.pitch) == len(self.yaw) == 2:
            raise ValueError("mode range needs pitch: [low, high] and yaw: [low, high] of model.target_pose, degrees")
        if self.mode == GRID and not (self.pitch and self.yaw):
            raise ValueError("mode grid needs the lists pitch and yaw of model.target_pose, degrees")
        if self.mode == LIST and bool(self.poses) == bool(self.headpose_file):
            raise ValueError("mode list needs poses: [[pitch, yaw], ...] or headpose_file of model.target_pose")


@dataclass(frozen=True, kw_only=True)
class Lights:
    """Of the dark variants: ranges in which the lights are drawn, one for each view. Angles in degrees.

    ambient, directional: factors. pitch, yaw: where the directional light stands, up and toward the picture's left from
    the camera.
    """

    ambient: tuple[float, float] = (0.25, 0.75)
    directional: tuple[float, float] = (0.0, 0.0)
    pitch: tuple[float, float] = (-45.0, 45.0)
    yaw: tuple[float, float] = (-60.0, 60.0)

    def __post_init__(self):
        for name, most in (("ambient", 2), ("directional", 2), ("pitch", 90), ("yaw", 180)):
            low, high = getattr(self, name)
            least = -most if name in ("pitch", "yaw") else 0
            if not least <= low <= high <= most:
                raise ValueError(f"model.light.{name}=[{low:g}, {high:g}] must be [low, high] from {least} to {most}")


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How often each variant is drawn; shares are brought to the sum 1."""

    black: float = 0.1
    black_dark: float = 0.1
    colour: float = 0.1
    colour_dark: float = 0.1
    picture: float = 0.3
    picture_dark: float = 0.3

    def __post_init__(self):
        if not all(0 <= share < math.inf for share in self.all) or not sum(self.all):
            raise ValueError("model.variants must be shares of 0 or more, and not all 0")

    @property
    def all(self) -> tuple[float, ...]:
        return tuple(getattr(self, name) for name in VARIANTS)

    @property
    def with_pictures(self) -> bool:
        return self.picture + self.picture_dark > 0


@dataclass(frozen=True, kw_only=True)
class Model:
    """save_original_headpose: not used, as in the published program."""

    save_original_headpose: bool = False
    target_pose: TargetPose
    light: Lights = Lights()
    variants: Shares = Shares()


@dataclass(frozen=True, kw_only=True)
class Output:
    """side: of the pictures, px. drawn: the side at which they are drawn, before they are shrunk. layout: `full`, all
    keys; `published`: those that the published program writes."""

    side: int = 224
    drawn: int = 448
    layout: str = "full"

    def __post_init__(self):
        check_within("output.side", self.side, 16, 1024)
        check_within("output.drawn", self.drawn, self.side, 2048)
        check_one_of("output.layout", self.layout, ("full", "published"))


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """legacy: what the published program does by mistake, for files that must equal its files: docs/novel_views.md."""

    data: Data
    supplementary: Supplementary = Supplementary()
    misc: FaceModels = FaceModels()
    model: Model
    output: Output = Output()
    legacy: bool = False

    def __post_init__(self):
        for name in ("raw", "obj"):
            if not getattr(self.data.mpii, name):
                raise ValueError(f"the settings lack data.mpii.{name}, a folder")
        if self.model.variants.with_pictures and not self.data.background_path:
            raise ValueError("the settings lack data.background_path, a folder of pictures; without one set the shares "
                             "picture and picture_dark of model.variants to 0")  # fmt: skip
        if self.legacy and not (self.misc.openface_path and self.supplementary.mpii.source):
            raise ValueError("legacy needs misc.openface_path, 68 points, and supplementary.mpii.source, 68 landmarks "
                             "of each photo")  # fmt: skip

    @property
    def published_layout(self) -> bool:
        return self.legacy or self.output.layout == "published"


def read_settings(path: Path, overrides: Sequence[str] = ()) -> ViewSettings:
    """The settings of a YAML file, after overrides `a.b.c=VALUE`, where the value is YAML too.

    ValueError, one line that names the file or the override, for what is no YAML, for an unknown key, with the nearest
    known one, for a value of another type, and for what is missing.
    """
    plain = _checked(_parsed(_text(path), str(path)), ViewSettings, "", str(path))
    plain = _with_paths(plain, ViewSettings, path.absolute().parent)
    for text in overrides:
        name, _, value = text.partition("=")
        said = f"--set {text[:80]}"
        if not _:
            raise ValueError(f"{said}: is no KEY=VALUE, as model.target_pose.number_new_views=4")
        tree = _parsed(value, said)
        if tree is None:
            raise ValueError(f"{said}: has no value; to take a file or folder out write {name.strip()}='\"\"'")
        for key in reversed(name.strip().split(".")):
            tree = {key: tree}
        plain = _merged(plain, _with_paths(_checked(tree, ViewSettings, "", said), ViewSettings, Path.cwd()))
    try:
        return from_plain(ViewSettings, plain)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def pattern_of(pose: TargetPose) -> target_patterns.Pattern:
    """The pattern of these settings. ValueError if its file cannot be read, or if it has too few poses."""
    of = target_patterns.GAZE if pose.sample_target_gaze else target_patterns.HEAD
    if pose.mode == GAUSSIAN:
        return target_patterns.Gaussian(pose.sigma, of)
    if pose.mode == RANGE:
        return target_patterns.Uniform(pose.pitch, pose.yaw, of)
    if pose.mode in target_patterns.FILE_MODES:
        return target_patterns.Rows(target_patterns.read_angles(Path(pose.headpose_file)), pose.mode, of)
    if pose.mode == GRID:
        pattern = target_patterns.grid(pose.pitch, pose.yaw, of)
    elif pose.headpose_file:
        pattern = target_patterns.PoseList(target_patterns.read_angles(Path(pose.headpose_file)), of)
    else:
        pattern = target_patterns.PoseList(
            target_patterns.checked_angles(np.radians(pose.poses), "model.target_pose.poses"), of
        )
    if pose.number_new_views > pattern.count:
        raise ValueError(f"model.target_pose.number_new_views={pose.number_new_views}: the {pose.mode} has "
                         f"{pattern.count} poses; ask for no more")  # fmt: skip
    return pattern


def as_facts(settings: ViewSettings) -> dict[str, object]:
    """All settings by dotted names, as JSON has them."""
    return {name: _listed(value) for name, value in flat(dataclasses.asdict(settings)).items()}


# ------------------------------------------------------------------ YAML


def _text(path: Path) -> str:
    with open_regular(path) as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"{path}: has more than {MOST_BYTES} bytes; settings are some lines")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is no text; give a YAML file") from None


def _parsed(text: str, where: str):
    """The plain value of a YAML text. Names that stand twice and aliases, which can grow without end, are refused."""
    import yaml  # here: only the extra novel-views brings it

    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            names = [key.value for key, _ in node.value]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise yaml.constructor.ConstructorError(None, None, f"the name {twice!r:.60} stands there twice")
            return super().construct_mapping(node, deep)

    opening = (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken, yaml.BlockSequenceStartToken,
               yaml.BlockMappingStartToken)  # fmt: skip
    closing = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
    depth = 0
    try:
        for token in yaml.scan(text, yaml.SafeLoader):
            depth += isinstance(token, opening) - isinstance(token, closing)
            if isinstance(token, yaml.AliasToken):
                raise ValueError(f"{where}: holds an alias (*name); write out what it stands for")
            if depth > MOST_DEPTH:
                raise ValueError(f"{where}: is nested too deep; give plain settings")
        return yaml.load(text, Strict)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        at = f", line {place.line + 1}" if place else ""
        raise ValueError(f"{where}: is no YAML ({getattr(error, 'problem', None) or 'damaged'}{at}); mend it") from None


def _checked(plain, cls: type, prefix: str, where: str) -> dict:
    """The tree of names without those that have no value; ValueError for one that is unknown."""
    if plain is None:
        return {}
    if not isinstance(plain, dict):
        raise ValueError(f"{where}: {prefix.rstrip('.') or 'it'} must hold names with values, not {plain!r:.40}")
    kinds, found = typing.get_type_hints(cls), {}
    for name, value in plain.items():
        if name not in kinds:
            near = difflib.get_close_matches(f"{prefix}{name}", _all_names(), 1, 0.4)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(kinds)}"
            raise ValueError(f"{where}: the key {prefix}{name!s:.60} is unknown{hint}")
        if dataclasses.is_dataclass(kinds[name]):
            found[name] = _checked(value, kinds[name], f"{prefix}{name}.", where)
        elif value is not None:
            found[name] = _as_tuples(value)
    return found


def _all_names(cls: type = ViewSettings, prefix: str = "") -> list[str]:
    names = []
    for name, kind in typing.get_type_hints(cls).items():
        names += [prefix + name, *(_all_names(kind, f"{prefix}{name}.") if dataclasses.is_dataclass(kind) else ())]
    return names


def _with_paths(plain: dict, cls: type, folder: Path) -> dict:
    """The tree with absolute paths."""
    kinds, found = typing.get_type_hints(cls), dict(plain)
    for at in dataclasses.fields(cls):
        value = plain.get(at.name)
        if dataclasses.is_dataclass(kinds[at.name]):
            found |= {at.name: _with_paths(value, kinds[at.name], folder)} if value is not None else {}
        elif at.metadata.get("path") and isinstance(value, str) and value:
            found[at.name] = str(folder / Path(value).expanduser())
    return found


def _merged(plain: dict, other: dict) -> dict:
    found = dict(plain)
    for name, value in other.items():
        found[name] = _merged(found.get(name, {}), value) if isinstance(value, dict) else value
    return found


def _as_tuples(value):
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _listed(value):
    return [_listed(item) for item in value] if isinstance(value, tuple | list) else value
