"""Where things are, in a checkout and in a wheel; whose they are; and how a file is written, never half there."""

import errno
import functools
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def _repository() -> Path | None:
    here = Path(__file__).resolve().parent
    return None if (here / "assets").is_dir() else here.parent  # setup.py puts that folder into the wheel


def user_cache() -> Path:
    """Where the user's cache should be; see `cache_folder`. Raises: OSError if there is no home."""
    import platformdirs  # here: a checkout without it still trains and draws in plain PyTorch

    try:
        return platformdirs.user_cache_path("gaze-corrected-eg3d", appauthor=False)
    except RuntimeError as error:
        raise OSError(f"this user has no home folder; set XDG_CACHE_HOME to a folder ({error})") from None


REPOSITORY = _repository()  # None in an installed wheel, whose own folder may be read-only
WORLD_WEIGHTS = (Path(__file__).resolve().parent if REPOSITORY is None else REPOSITORY) / "assets" / "embedded"
CACHE = user_cache() if REPOSITORY is None else REPOSITORY / ".cache"  # of rendered data sets; see `private`


def how_made(weights: Path) -> str:
    """For errors: what makes a file of WORLD_WEIGHTS that is not there."""
    return f"`make embedded{' WORLD=people' if weights.name.startswith('people') else ''}` trains it"


# ---------------------------------------------------------------- what is found again and used without a question


def cache_folder(*below: str) -> Path:
    """The user's folder for what can be downloaded or made again, on Linux `~/.cache/gaze-corrected-eg3d`.

    `$XDG_CACHE_HOME` takes the place of `~/.cache`. Another folder, and a note, if it is not `private`.
    """
    return private(user_cache().joinpath(*below))


def private(folder: Path) -> Path:
    """The folder, made if it is missing, if nobody else can put files into it; else another folder, and a note.

    What a cache holds is used without a question, compiled code too. So the folder must be the user's own, and each
    folder above it the user's or root's. Others may write to none of them, but to a sticky one above it (/tmp).
    """
    folder = Path(os.path.realpath(folder))
    if not (reason := _open_to_others(folder)):
        return folder
    places = [Path(tempfile.gettempdir()) / f"gaze-corrected-eg3d-{os.geteuid()}"]
    with suppress(OSError):
        places.insert(0, user_cache())
    for place in map(Path, map(os.path.realpath, places)):
        if not _open_to_others(place) and os.access(place, os.W_OK):
            return _instead(folder, place, reason)
    return _instead(folder, Path(_of_this_process().name), reason)


def is_own(path: Path) -> bool:
    """Whether a file of a cache is there and may be used: it is the user's, and nobody else can write to it."""
    with suppress(OSError):
        facts = os.stat(path)
        return stat.S_ISREG(facts.st_mode) and (not _HAS_OWNERS or _is_safe(facts, {os.geteuid()}))
    return False


_HAS_OWNERS = hasattr(os, "geteuid")  # not on Windows, where the user's profile keeps others out


def _open_to_others(folder: Path) -> str:
    """Why somebody else could put files into that folder, which is made if it is missing; empty if nobody could."""
    with suppress(OSError):  # whoever uses the folder will meet the error
        for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
    if not _HAS_OWNERS:
        return ""
    owners = {os.geteuid()}
    for place in (folder, *folder.parents):
        with suppress(FileNotFoundError, NotADirectoryError):
            facts = place.lstat()
            if facts.st_uid not in owners:
                return f"{place} belongs to another user"
            if not _is_safe(facts, owners) and not (place != folder and facts.st_mode & stat.S_ISVTX):
                return f"others can write to {place}"
        owners = {os.geteuid(), 0}
    return ""


def _is_safe(facts: os.stat_result, owners: set[int]) -> bool:
    """Whether only these owners can write to a file or folder; a group that holds nobody but the user is the user."""
    by_group, by_all = facts.st_mode & stat.S_IWGRP, facts.st_mode & stat.S_IWOTH
    return facts.st_uid in owners and not by_all and (not by_group or _is_of_the_user_alone(facts.st_gid))


def _is_of_the_user_alone(group_id: int) -> bool:
    """Whether it is a group of the user's name and without other members, as many systems make one for each user."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(group_id)
    except KeyError:
        return False
    return (user.pw_gid, user.pw_name) == (group_id, group.gr_name) and set(group.gr_mem) <= {user.pw_name}


@functools.cache
def _instead(folder: Path, place: Path, reason: str) -> Path:
    print(f"note: {reason}, so nothing in {folder} is used, and {place} takes its place; take the others' permission "
          "away, or set XDG_CACHE_HOME to a folder of your own", file=sys.stderr)  # fmt: skip
    return place


@functools.cache
def _of_this_process() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="gaze-corrected-eg3d-")


# ---------------------------------------------------------------- writing and reading


def special(path: Path) -> str | None:
    """What is there, if it is neither a file nor a folder: reading it could take for ever."""
    with suppress(OSError):
        mode = path.stat().st_mode
        if stat.S_ISFIFO(mode):
            return "a pipe, not a file"
        if stat.S_ISSOCK(mode):
            return "a socket, not a file"
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            return "a device, not a file"
    return None


def open_regular(path: Path) -> BinaryIO:
    """A file opened to read bytes; OSError, at once, for a pipe, a socket or a device: they wait, or never end."""
    strange = OSError(errno.ENXIO, "is a pipe, a socket or a device; give a regular file", str(path))
    try:
        # A pipe does not wait for a writer then.
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise strange from None
        raise
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise strange
    return file


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A new binary file that takes the name `path` when the block has ended well; a failure leaves what was there.

    Temporary name beside `path`, flush to disk, rename. An OSError names `path`, not the temporary file.
    """
    path, temporary = Path(path), ""
    if what := special(path):
        raise ValueError(f"{path}: is {what}, and a file would take its place; give another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and (not temporary or error.filename in (None, temporary)):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


def atomic_write(path: Path, data: bytes) -> None:
    """Writes a file so that a reader sees the old content or the whole new one."""
    with atomic_file(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    r"""As `atomic_write`, for people: in names of files a byte that is no UTF-8 stands as \udce9."""
    atomic_write(path, text.encode(errors="backslashreplace"))


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
