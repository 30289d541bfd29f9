"""How a data set is written: a zip or a folder that takes its name when it is whole."""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from groundwork.archive import is_inside, shown
from groundwork.files import atomic_file

ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold: the same content gives the same bytes
Write = Callable[[str, bytes], None]


def check_destination(dest: Path) -> None:
    """Raises ValueError unless `dest` is free: absent or empty."""
    if dest.is_dir() and (dest.suffix == ".zip" or any(dest.iterdir())):
        raise ValueError(f"--dest={dest}: the folder is not empty; name a new one")
    if dest.is_file() and (dest.suffix != ".zip" or dest.stat().st_size):
        raise ValueError(f"--dest={dest}: the file exists; name a new one")


@contextmanager
def new_data_set(dest: Path) -> Iterator[Write]:
    """Yields write(name, data) of a new zip (if `dest` ends so) or folder; a failure leaves nothing of it."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    with (_new_zip if dest.suffix == ".zip" else _new_folder)(dest) as write:

        def checked(name: str, data: bytes) -> None:
            if not is_inside(name):
                raise ValueError(f"{shown(name)}: a name that leaves the data set cannot be written")
            write(name, data)

        yield checked


@contextmanager
def _new_zip(dest: Path) -> Iterator[Write]:
    """Stored, not compressed: images are so already."""
    with atomic_file(dest) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        yield lambda name, data: archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), data)


@contextmanager
def _new_folder(dest: Path) -> Iterator[Write]:
    temporary = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", dir=dest.parent))

    def write(name: str, data: bytes) -> None:
        (temporary / name).parent.mkdir(parents=True, exist_ok=True)
        (temporary / name).write_bytes(data)

    try:
        yield write
        temporary.chmod(0o755)
        os.replace(temporary, dest)  # also replaces an empty folder
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
