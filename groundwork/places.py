"""Options that name a place: where a script reads, where it writes, and that no output lands on an input.

Such an option has one of these types, and `groundwork.command.Command` calls `check_places` before the script's body.
So every script expands `~`, refuses what is no file or folder, and never writes over what it reads.
"""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname

import click

from groundwork.files import CACHE, WORLD_WEIGHTS, special, user_cache
from groundwork.matching import LABEL_FILE

FILE, FOLDER, EITHER = "file", "directory", "path"  # kinds of places, and what a page of help calls them

# What to do about the errors of the operating system that a user can cause; others keep the system's own words.
REMEDIES = {
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.EISDIR: "is a folder; name a file",
    errno.ENOTDIR: "a part of this path is a file, not a folder; give another path",
    errno.EEXIST: "cannot be written there, a file is in the way; give another path",
    errno.ENOTEMPTY: "cannot be written there, the folder is not empty; give another path",
    errno.EACCES: "no permission; change it or give another path",
    errno.EPERM: "no permission; change it or give another path",
    errno.EROFS: "cannot be written there, the file system is read-only; give another path",
    errno.ENOSPC: "cannot be written, the disk is full; make room or give another path",
    errno.EFBIG: "cannot be written, a limit of file sizes is too low (ulimit -f); raise it",
    errno.EDQUOT: "cannot be written, the disk quota is used up; make room or give another path",
    errno.ENAMETOOLONG: "the name is too long; give a shorter one",
}


OURS = "ours"  # files that no user wrote: the embedded world, what was rendered and what was downloaded

# ------------------------------------------------------------------ types of options


class Place(click.ParamType):
    """A path. `~` and `~user` stand for home folders also after `--x=`, where no shell looks for them."""

    def __init__(self, kind: str):
        self.kind = self.name = kind

    def convert(self, value, param, ctx):
        return Path(self.expanded(os.fspath(value), param, ctx))

    def expanded(self, text: str, param, ctx) -> str:
        """The same path without `~`."""
        if not text or "\0" in text:
            self.fail("a path cannot be empty; give one, or leave the option out", param, ctx)
        path = os.path.expanduser(text)
        if path == text and text.startswith("~") and not os.path.lexists(text):
            user = text.split("/")[0]
            self.fail(f"'{text}': there is no home folder {user}; write ./{user} for a name in this folder", param, ctx)
        return path


class Input(Place):
    """Where a script reads.

    along: the files that are read with the one that is named.
    """

    def __init__(self, kind: str, along: Callable[[Path], Sequence[Path]] = lambda path: ()):
        super().__init__(kind)
        self.along = along

    def sources(self, flag: str, value) -> Iterator["Source"]:
        label = f"{flag}={value}"
        yield Source(label, Path(value))
        for path in [*self.along(Path(value)), *(folder_links(value) if self.kind != FILE else ())]:
            yield Source(f"{path}, which is read with {label}", path)


class NamedInput(Input):
    """As `Input`, where also one of some names, or an address, may stand; the script gets a text."""

    def __init__(self, kind: str, names: Sequence[str], along: Callable = lambda path: ()):
        super().__init__(kind, along)
        self.names = frozenset(names)

    def convert(self, value, param, ctx):
        text = str(value)
        return text if text in self.names or is_address(text) else self.expanded(text, param, ctx)

    def sources(self, flag: str, value) -> Iterator["Source"]:
        if value.lower().startswith("file://"):
            with suppress(ValueError):  # the script says what is wrong with it
                yield from super().sources(flag, url2pathname(urlsplit(value.partition("#")[0]).path))
        elif value not in self.names and not is_address(value):
            yield from super().sources(flag, value)


class Output(Place):
    """Where a script writes.

    Args:
        writes: for a folder: patterns of the files that appear in it, `seed*.png`; or a function of the script's
            arguments that gives them.
        beside: the files that are written next to the one that is named.
        at: `at(value, arguments)` is the place itself, if it is not the value alone.
        shares: arguments whose inputs may lie in the folder, because what is written there belongs to them; OURS for
            what is written into the embedded world.
        probed: whether is tried at the start that something can be written there.
        joins: whether a folder may be a data set itself. It never lies deeper in one, whose images its pictures would
            join.
        ending: how a file's name must end, for it says what the file is.
        files: of EITHER, endings that make a name that of a file; without one it is a folder.
    """

    def __init__(
        self,
        kind: str,
        writes: Sequence[str] | Callable[[dict], Sequence[str]] = (),
        beside: Callable[[Path], Sequence[Path]] = lambda path: (),
        at: Callable[[Path | None, dict], Path | None] = lambda path, arguments: path,
        shares: Sequence[str] = (),
        probed: bool = True,
        joins: bool = False,
        ending: str = "",
        files: Sequence[str] = (".zip",),
    ):
        super().__init__(kind)
        self.writes, self.beside, self.at, self.shares = writes, beside, at, shares
        self.probed, self.joins, self.ending, self.files = probed, joins, ending, tuple(files)

    def kind_of(self, path: Path) -> str:
        """EITHER is a file or a folder by its name."""
        return self.kind if self.kind != EITHER else FILE if path.suffix in self.files else FOLDER

    def targets(self, flag: str, value: Path | None, arguments: dict) -> Iterator["Target"]:
        path = self.at(value, arguments)
        if path is None:
            return
        folder = self.kind_of(path) == FOLDER
        patterns = self.writes(arguments) if callable(self.writes) else self.writes
        label = f"{flag}={path}"
        if folder:
            check_outside_data_sets(label, resolved(path).parent if self.joins else resolved(path))
        yield Target(label, resolved(path), tuple(patterns) if folder else None, frozenset(self.shares))
        yield from self._behind_links(label, path, patterns if folder else ())
        for other in self.beside(path):
            yield Target(f"{other}, which is written with {label}", resolved(other), None, frozenset())

    def _behind_links(self, label: str, path: Path, patterns: Sequence[str]) -> Iterator["Target"]:
        """The folders of `arcface/sample*.png` that are links: what is written there lies elsewhere."""
        for below, _, name in (pattern.rpartition("/") for pattern in patterns):
            for inner in path.glob(below) if below else ():
                if inner.is_symlink() and inner.is_dir():
                    about = f"{inner}, which is written with {label}"
                    check_outside_data_sets(about, resolved(inner))
                    yield Target(about, resolved(inner), (name,), frozenset(self.shares))


INPUT_FILE, INPUT_FOLDER, INPUT = Input(FILE), Input(FOLDER), Input(EITHER)
OUTPUT_FILE, OUTPUT_FOLDER = Output(FILE), Output(FOLDER)
OUTPUT_PICTURE = Output(FILE, ending=".png")
NEW_DATA_SET = Output(EITHER, writes=("*",))
# Names that several scripts share. A name must not be taken for a path, nor a path for a name.
EMBEDDED = ("embedded", "people")  # what the data sets and networks of the embedded worlds are called
DATA_SET = NamedInput(EITHER, EMBEDDED)
GENERATOR = NamedInput(FILE, [*EMBEDDED, *(f"{name}-{kind}" for name in EMBEDDED for kind in ("base", "control"))])
START = NamedInput(FILE, [*GENERATOR.names, "latest"])  # what a run starts from
GAZE_NETWORK = NamedInput(FILE, [*EMBEDDED, *(f"{name}-judge" for name in EMBEDDED)])
GAZE_JUDGE = NamedInput(FILE, [*GAZE_NETWORK.names, "iris"])  # what looks at pictures that are as real as photos
GAZE_SNAPSHOTS = NamedInput(EITHER, GAZE_NETWORK.names)  # one, or a folder of them
IDENTITY_NETWORK = NamedInput(FILE, EMBEDDED)
POSE_NETWORK = NamedInput(FILE, EMBEDDED)
DLIB_IDENTITY = NamedInput(FILE, ["dlib128"])
WEIGHTS = NamedInput(FILE, [])  # a path, kept as a text
LANDMARKS = NamedInput(EITHER, ["template", *EMBEDDED])


def is_address(text: str) -> bool:
    """Whether `eg3d.checkpoints.download` would fetch it; else it is a path."""
    return text.lower().startswith(("https://", "http://", "file://"))


# ------------------------------------------------------------------ checks


class Source(NamedTuple):
    """What is read. whole: a folder belongs to the input with all that lies in it; else only files that are there."""

    label: str
    named: Path
    whole: bool = True

    @property
    def path(self) -> Path:
        """Where it really lies. A pipe like /dev/fd/3 lies nowhere, so `named` says what it is."""
        return resolved(self.named)


class Target(NamedTuple):
    """What is written. writes: patterns of the files in a folder; None: it is a file. shares: as in `Output`."""

    label: str
    path: Path
    writes: tuple[str, ...] | None
    shares: frozenset[str] = frozenset()


def check_places(options: Sequence[click.Parameter], arguments: dict, writes: bool = True) -> None:
    """ValueError, one line, for a place that a script cannot read, cannot write, or must not write over.

    Args:
        options: of the command; those of other types are passed over.
        arguments: their values by name.
        writes: whether this process writes.
    """
    sources = [(OURS, source) for source in own_folders()]
    targets: list[Target] = []
    for option in options:
        flag = option.opts[0] if option.opts[0].startswith("-") else option.human_readable_name
        value = arguments.get(option.name)
        if isinstance(option.type, Input) and value is not None:
            for one in value if isinstance(value, tuple | list) else (value,):
                found = list(option.type.sources(flag, one))
                check_readable(found, option.type.kind)
                sources += [(option.name, source) for source in found]
        elif isinstance(option.type, Output):
            if writes and option.type.probed and value is not None:
                check_writable(value, flag, option.type.kind_of(value) == FOLDER)
            targets += option.type.targets(flag, value, arguments)
    for number, target in enumerate(targets):
        check_apart(target, [source for name, source in sources if name not in target.shares])
        for other in targets[:number]:
            check_two(other, target)
    for option in options:  # last, for it is the least of what can be wrong
        if isinstance(option.type, Output) and (path := arguments.get(option.name)) is not None:
            check_ending(path, option.opts[0], option.type.ending)


def check_ending(path: Path, flag: str, ending: str) -> None:
    """ValueError if the name of a file that will be written says that it is another kind of file."""
    if not path.name.lower().endswith(ending):
        raise ValueError(f"{flag}={path}: what is written is a {ending} file; give a name that ends so")


def own_folders() -> list[Source]:
    """Whose files every script may read, also if no option names them."""
    folders = [WORLD_WEIGHTS, CACHE]
    with suppress(OSError):  # without a home folder nothing is kept
        folders.append(user_cache())
    return [Source(str(folder), resolved(folder), whole=False) for folder in folders]


def folder_links(folder: str | Path) -> Iterator[Path]:
    """The links to folders in a folder, at any depth: what lies there is read too.

    Links upwards are not followed, as nobody who lists pictures does (`groundwork.archive`).
    """
    waiting, seen, root = [Path(folder)], set(), resolved(folder)
    while waiting:
        here = waiting.pop()
        with suppress(OSError):
            if (number := (here.stat().st_dev, here.stat().st_ino)) in seen:
                continue
            seen.add(number)
            for entry in os.scandir(here):
                is_link = entry.is_symlink()
                if entry.is_dir() and not (is_link and _leads_up(resolved(entry), root, resolved(here))):
                    waiting.append(Path(entry))
                    if is_link:
                        yield Path(entry)


def _leads_up(target: Path, *places: Path) -> bool:
    return any(target in (place, *place.parents) for place in places)


def check_readable(sources: Sequence[Source], kind: str) -> None:
    """ValueError for a device, a pipe or a socket, and for a folder in place of a file; what is missing passes."""
    for source in sources:
        what = special(source.named)
        if what is None and source is sources[0] and _other(source.named, kind):
            what = "a folder" if kind == FILE else "a file"
        if what is not None:
            raise ValueError(f"{source.label}: is {what}; name a {'folder' if kind == FOLDER else 'file'}")


def _other(path: Path, kind: str) -> bool:
    """Whether a file is there and a folder is wanted, or the other way round."""
    return path.is_dir() if kind == FILE else kind == FOLDER and path.is_file()


def check_apart(target: Target, sources: Sequence[Source]) -> None:
    """ValueError if writing `target` would change what is read."""
    for source in sources:
        if same(target.path, source.path):
            raise ValueError(f"{target.label}: is {source.label} itself, which would be lost; give another name")
        if lies_in(target.path, source.path) and (source.whole or target.path.is_file()):
            where = "lies inside" if source.whole else "is a file of"
            raise ValueError(f"{target.label}: {where} {source.label}, which is read; name a place elsewhere")
        if source.whole and writes_over(target, source.path):
            raise ValueError(f"{target.label}: would write over {source.label}, which is read; give another folder")


def check_outside_data_sets(label: str, folder: Path) -> None:
    """ValueError for a folder in one that has a label file: the next training would take its pictures for images."""
    for parent in (folder, *folder.parents):
        if (parent / LABEL_FILE).is_file():
            raise ValueError(
                f"{label}: lies inside a data set, {parent}, as {LABEL_FILE} there says; give another folder"
            )


def check_two(first: Target, second: Target) -> None:
    """ValueError if two outputs would have one name."""
    for target, other in ((first, second), (second, first)):
        if target.writes is None and (same(first.path, second.path) or lies_in(other.path, target.path)):
            raise ValueError(f"{second.label}: has the name of {first.label}; give each its own")
        if other.writes is None and writes_over(target, other.path):
            raise ValueError(f"{other.label}: is among the files of {target.label}; give it another name")


def writes_over(target: Target, path: Path) -> bool:
    """Whether one of the files that appear in a folder is `path`, or lies in it."""
    if target.writes is None or not lies_in(path, target.path):
        return False
    inside = path.relative_to(target.path).parts if target.path in path.parents else (path.name,)
    return any(
        fnmatchcase("/".join(inside), pattern)
        or (len(parts := pattern.split("/")) > len(inside) and all(map(fnmatchcase, inside, parts)))
        for pattern in target.writes
    )


def resolved(path: str | Path) -> Path:
    """Absolute, links followed; as far as it exists."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return Path(os.path.abspath(path))


def same(a: Path, b: Path) -> bool:
    """Whether two resolved paths are one file: also by a hard link, or on a disk that does not tell A from a."""
    with suppress(OSError):
        return a == b or a.samefile(b)
    return False


def lies_in(path: Path, folder: Path) -> bool:
    return any(same(parent, folder) for parent in path.parents)


def check_writable(path: Path | None, flag: str, folder: bool = False) -> None:
    """Raises ValueError, naming `flag`, unless `path` can be written; called before the work that fills it.

    Leaves nothing behind: an unnamed temporary file is made in the nearest folder that exists. Missing folders on the
    way are made later, by whatever writes. `folder`: the path is to be a folder. None, an output not asked for, passes.
    """
    if path is None:
        return
    if (what := special(path)) or is_stream(path):
        raise ValueError(f"{flag}={path}: is {what or 'no file'}; name a new one, or leave {flag} out")
    if path.exists() and path.is_dir() != folder:
        raise ValueError(f"{flag}={path}: is a {'folder; name a file' if path.is_dir() else 'file; name a folder'}")
    place = path.absolute() if folder else path.absolute().parent
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        unusual = "no file can be made here; give another path"  # ENOENT: a folder like /proc, which exists
        reason = unusual if error.errno == errno.ENOENT else REMEDIES.get(error.errno, error.strerror)
        reason = reason if place.is_dir() else "is a file, not a folder; give another path"
        raise ValueError(f"{flag}={path}: cannot be written there ({place}: {reason})") from None


def is_stream(path: Path) -> bool:
    """Whether a name is a stream of the process, as /dev/stdout: a file written whole would replace the name."""
    parent = resolved(path.absolute().parent)
    return parent == Path("/dev") or (parent.is_relative_to("/proc") and parent.name == "fd")
