"""The files of a data set, in a folder or a zip, read without trusting them.

A data set may come from anywhere. So the size of a file is checked before it is read, and whatever is wrong becomes a
ValueError of one line that names the file. Nothing is ever unpacked to the disk.
"""

import zipfile
import zlib
from pathlib import Path, PureWindowsPath
from threading import Lock

from groundwork.strict_pickle import one_line

MEMBER_BYTES = 2**28  # of one file: above an uncompressed image of images.MOST_PIXELS
EXPANSION = 200  # a zip may unpack to this many times its own size (photos: 1, painted BMPs: 50, bombs: 1000) ...
ALWAYS_FINE_BYTES = 2**30  # ... or to this
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # of the others Python unpacks without a limit


class Folder:
    """Members of a directory by their relative names, with forward slashes.

    Attributes:
        path: the directory.
        bytes: size of each member.
        stamps: text for each member that changes whenever somebody writes to it; known without reading it.
    """

    def __init__(self, path: Path):
        self.path = path
        files = {p.relative_to(path).as_posix(): p.stat() for p in path.rglob("*") if p.is_file()}
        self.bytes = {name: file.st_size for name, file in files.items()}
        # The time of change: no program can set it, unlike that of modification.
        self.stamps = {name: f"{file.st_size}/{file.st_ctime_ns}" for name, file in files.items()}

    def read(self, name: str) -> bytes:
        _check_size(self, name)
        return (self.path / name).read_bytes()

    def content(self, name: str) -> str:
        """Size and CRC-32 of what a member holds, as text: the same in a folder and in a zip."""
        data = self.read(name)
        return f"{len(data)}/{zlib.crc32(data)}"


class Zip:
    """Members of a zip file, like those of a folder; may be read by several threads."""

    def __init__(self, path: Path, flag: str = "--data"):
        self.path, where = path, f"{flag}={path}"
        if path.stat().st_size == 0:
            raise ValueError(f"{where}: the file is empty; copy the data set again")
        open(path, "rb").close()  # an error here is about permission, not about the content
        try:
            self._zip = zipfile.ZipFile(path)
            infos = [info for info in self._zip.infolist() if not info.is_dir()]
        except Exception:  # of many kinds: zipfile believes what it reads until it stumbles
            raise ValueError(f"{where}: is not a zip file, or was cut short; copy it again, or give a folder") from None
        self._infos = {}
        for info in infos:
            if info.filename in self._infos:
                raise ValueError(f"{where}: holds {shown(info.filename)} twice; pack it again")
            if not is_inside(info.filename):
                raise ValueError(f"{where}: holds {shown(info.filename)}, a name that leaves the folder; pack it again")
            self._infos[info.filename] = info
        self.bytes = {name: info.file_size for name, info in self._infos.items()}
        unpacked = sum(self.bytes.values())
        if unpacked > max(ALWAYS_FINE_BYTES, EXPANSION * path.stat().st_size):
            raise ValueError(
                f"{where}: would unpack to {unpacked / 2**30:.3g} GiB, over {EXPANSION} times its size; "
                "a zip bomb? Pack the images again"
            )
        self.stamps = {name: f"{info.file_size}/{info.CRC}" for name, info in self._infos.items()}
        self._lock = Lock()

    def content(self, name: str) -> str:
        """The same text as in a folder; a zip lists it."""
        return self.stamps[name]

    def read(self, name: str) -> bytes:
        _check_size(self, name)
        info, where = self._infos[name], f"{self.path}: {shown(name)}"
        if info.flag_bits & 0x1:
            raise ValueError(f"{where} is encrypted; pack the data set without a password")
        if info.compress_type not in METHODS:
            raise ValueError(f"{where} is compressed by method {info.compress_type}; pack it stored or deflated")
        try:
            with self._lock, self._zip.open(info) as member:
                data = member.read(info.file_size)  # no more, even if the stream goes on
        except Exception as error:  # of many kinds, as above
            raise ValueError(f"{where} is damaged inside the zip ({reason(error)}); copy the data set again") from None
        if len(data) != info.file_size:
            raise ValueError(f"{where} is damaged inside the zip (cut short); copy the data set again")
        return data


def open_archive(path: Path, flag: str = "--data") -> Folder | Zip:
    """The folder or zip at `path`; ValueError, naming the flag, when it is neither."""
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{flag}={path}: there is no such file or folder; give a data set's zip or folder")
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise ValueError(f"{flag}={path}: is neither a file nor a folder; give a data set's zip or folder")
    return Zip(path, flag)


def is_inside(name: str) -> bool:
    """Whether a member's name stays in its folder, on every system."""
    path = PureWindowsPath(name)  # takes both kinds of slashes, and knows drives
    return not path.drive and not path.root and ".." not in path.parts and path.parts != ()


def shown(name: str) -> str:
    """A member's name, fit for a terminal."""
    return one_line(name, 200)


def reason(error: Exception) -> str:
    """An exception's own words, fit for a terminal."""
    return one_line(str(error) or type(error).__name__, 120)


def _check_size(archive: Folder | Zip, name: str) -> None:
    size = archive.bytes[name]
    if size > MEMBER_BYTES:
        raise ValueError(
            f"{archive.path}: {shown(name)} has {size / 2**20:.4g} MiB, a file of a data set may have "
            f"{MEMBER_BYTES >> 20} MiB; replace it"
        )
