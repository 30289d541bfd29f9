"""Where things are, in a checkout and in a wheel; and how a file is written so that it is never half there."""

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


def _repository() -> Path | None:
    here = Path(__file__).resolve().parent
    return None if (here / "assets").is_dir() else here.parent  # setup.py puts that folder into the wheel


def cache_folder() -> Path:
    """The user's folder for what can be downloaded or made again, on Linux `~/.cache/gaze-corrected-eg3d`.

    `$XDG_CACHE_HOME` takes the place of `~/.cache`.
    """
    import platformdirs  # here: a checkout without it still trains and draws in plain PyTorch

    try:
        return platformdirs.user_cache_path("gaze-corrected-eg3d", appauthor=False)
    except RuntimeError as error:
        raise OSError(f"this user has no home folder; set XDG_CACHE_HOME to a folder ({error})") from None


REPOSITORY = _repository()  # None in an installed wheel, whose own folder may be read-only
WORLD_WEIGHTS = (Path(__file__).resolve().parent if REPOSITORY is None else REPOSITORY) / "assets" / "embedded"
CACHE = cache_folder() if REPOSITORY is None else REPOSITORY / ".cache"  # of rendered data sets; ignored by git


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
