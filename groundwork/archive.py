"""The files of a data set, in a folder or a zip, read without trusting them; and which of them are pictures.

A data set may come from anywhere. So the size of a file is checked before it is read, and whatever is wrong becomes a
ValueError of one line that names the file. Nothing is ever unpacked to the disk.

Names are compared after normalising: forward slashes, no "./", Unicode form C. What is hidden or belongs to the
system never joins.
"""

import functools
import os
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PureWindowsPath
from threading import Lock

from groundwork.formats import HEAD_BYTES, by_ending, has_decoder, is_hidden, kind_of
from groundwork.strict_pickle import one_line

MEMBER_BYTES = 2**28  # of one file: above an uncompressed image of images.MOST_PIXELS
EXPANSION = 200  # a zip may unpack to this many times its own size (photos: 1, painted BMPs: 50, bombs: 1000) ...
ALWAYS_FINE_BYTES = 2**30  # ... or to this
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # of the others Python unpacks without a limit
SHOWN = 3  # names in a line
LINK_TO_NOTHING = "is a link to nothing"


class Unreadable(ValueError):
    """One file of many that is damaged or no picture: a conversion may go on without it."""


class Archive:
    """What a folder and a zip have in common: their members by normalised names.

    Attributes:
        path: the folder or file.
        bytes: size of each member.
        stamps: text for each member that changes whenever somebody writes to it; known without reading it.
        unreadable: members that have a name but nothing to read, and why: broken links, pipes, devices.
        hidden: names of the system's own files and folders, which never join.
        repeated: links to folders that are read already.
    """

    def __init__(self, path: Path):
        self.path = path
        self.bytes: dict[str, int] = {}
        self.stamps: dict[str, str] = {}
        self.unreadable: dict[str, str] = {}
        self.hidden: list[str] = []
        self.repeated: list[str] = []

    def read(self, name: str) -> bytes:
        """The content of a member; `Unreadable` if it has none."""
        where = f"{self.path}: {shown(name)}"
        if name in self.unreadable:
            raise Unreadable(f"{where} {self.unreadable[name]}; repair or remove it")
        if self.bytes[name] > MEMBER_BYTES:
            raise Unreadable(f"{where} has {self.bytes[name] / 2**20:.4g} MiB, a file of a data set may have "
                             f"{MEMBER_BYTES >> 20} MiB; replace it")  # fmt: skip
        return self._read(name, self.bytes[name])

    def head(self, name: str) -> bytes:
        """The first bytes of a member, or what can be read of them."""
        try:
            return b"" if name in self.unreadable else self._read(name, HEAD_BYTES)
        except Unreadable:
            return b""

    @functools.cached_property
    def pictures(self) -> list[str]:
        """Sorted names of the pictures: by ending, and by the first bytes where it says nothing."""
        return sorted(name for name in self.bytes if self._is_picture(name))

    def _is_picture(self, name: str) -> bool:
        sure = by_ending(name)
        if sure is not None:
            return sure
        if name in self.unreadable:  # the link may have led to a folder of pictures
            return self.unreadable[name] == LINK_TO_NOTHING
        kind = kind_of(self.head(name))
        return kind is not None and has_decoder(kind)

    def left_out(self, used: Collection[str] = ()) -> str | None:
        """One line about the files that are neither pictures nor in `used`, or None: how many, and of which kinds."""
        pictures = set(self.pictures)
        others = [name for name in self.bytes if name not in pictures and name not in used]
        endings = sorted({os.path.splitext(name)[1].lower() or "no ending" for name in others})
        parts = []
        if others:
            heic = "; .heic needs pillow-heif" if ".heic" in endings else ""
            parts.append(f"{_count(others, 'other file')} not read ({_some(endings, 8)}{heic})")
        if self.hidden:
            parts.append(f"{_count(self.hidden, 'hidden or system file')} left out ({_some(self.hidden)})")
        if self.repeated:
            parts.append(
                f"{_count(self.repeated, 'link')} left out, to folders read already or above ({_some(self.repeated)})"
            )
        return "; ".join(parts) or None

    def why_empty(self, used: Collection[str] = ()) -> str:
        """What stands behind `holds no pictures`: ` (2 hidden or system files were left out (...))`, or nothing."""
        others = self.left_out(used)
        return f" ({others})" if others else ""

    def _member(self, written: str) -> str | None:
        """The normalised name, or None if it is hidden; ValueError if it leads out of the folder."""
        if not is_inside(written):
            raise ValueError(f"{self.path}: holds {shown(written)}, a name that leaves the folder; pack it again")
        name = normalised(written)
        if any(map(is_hidden, name.split("/"))):
            self.hidden.append(name)
            return None
        return name

    def _add(self, name: str, size: int, stamp: str) -> None:
        if name in self.bytes:
            raise ValueError(f"{self.path}: holds {shown(name)} twice; pack it again")
        self.bytes[name], self.stamps[name] = size, stamp


class Folder(Archive):
    """Members of a directory. Links to folders are followed once; those that lead back or upwards are not."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._files: dict[str, str] = {}
        for name, file in self._walk():
            name = self._member(name) if "\\" in name else normalised(name)  # other names are inside and not hidden
            if name is None:
                continue
            try:
                found = os.stat(file)
                if not stat.S_ISREG(found.st_mode):
                    self.unreadable[name] = "is a pipe, socket or device, not a file"
            except OSError as error:
                if not os.path.lexists(file):
                    continue  # deleted since
                if not os.path.islink(file) or isinstance(error, PermissionError):
                    raise
                found = os.lstat(file)
                self.unreadable[name] = LINK_TO_NOTHING
            # The time of change: no program can set it, unlike that of modification.
            self._add(name, found.st_size, f"{found.st_size}/{found.st_ctime_ns}")
            self._files[name] = file

    def file(self, name: str) -> Path:
        """Where a member lies."""
        return Path(self._files[name])

    def _read(self, name: str, size: int) -> bytes:
        try:
            with open(self._files[name], "rb") as file:
                return file.read(size)
        except OSError as error:
            raise Unreadable(f"{self.path}: {shown(name)} cannot be read ({error.strerror}); repair it") from None

    def content(self, name: str) -> str:
        """Size and CRC-32 of what a member holds, as text: the same in a folder and in a zip."""
        data = self.read(name)
        return f"{len(data)}/{zlib.crc32(data)}"

    def _walk(self) -> Iterator[tuple[str, str]]:
        """(name, path) of all files below; folders before links to folders, so that a link never takes the place of
        the folder itself. Folders are told apart by their real paths: not all file systems number them."""
        root = os.path.realpath(self.path)
        seen, folders, links = {root}, [("", str(self.path), root)], []
        while folders:
            name, place, real = folders.pop()
            found_links = []
            with os.scandir(place) as entries:
                for entry in entries:
                    below, is_link = f"{name}{entry.name}", entry.is_symlink()
                    if "\\" not in entry.name and is_hidden(entry.name):
                        self.hidden.append(below)
                    elif is_link and os.path.isdir(entry.path):
                        found_links.append((f"{below}/", entry.path, real))
                    elif not is_link and entry.is_dir():
                        if (target := os.path.join(real, entry.name)) in seen:
                            self.repeated.append(below)
                        else:
                            seen.add(target)
                            folders.append((f"{below}/", entry.path, target))
                    else:
                        yield below, entry.path
            links = sorted([*links, *found_links], reverse=True)
            while links and not folders:  # the next one that leads to something new
                below, place, beside = links.pop()
                target = os.path.realpath(place)
                if target in seen or any(_lies_in(folder, target) for folder in (root, beside)):
                    self.repeated.append(below.rstrip("/"))
                else:
                    seen.add(target)
                    folders.append((below, place, target))


class Zip(Archive):
    """Members of a zip file; may be read by several threads."""

    def __init__(self, path: Path, flag: str = "--data"):
        super().__init__(path)
        where = f"{flag}={path}"
        if path.stat().st_size == 0:
            raise ValueError(f"{where}: the file is empty; copy the data set again")
        open(path, "rb").close()  # an error here is about permission, not about the content
        try:
            self._zip = zipfile.ZipFile(path)
            infos = self._zip.infolist()
        except Exception:  # of many kinds: zipfile believes what it reads until it stumbles
            raise ValueError(f"{where}: is not a zip file, or was cut short; copy it again, or give a folder") from None
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            self._add_info(info)
        unpacked = sum(info.file_size for info in infos)
        if unpacked > max(ALWAYS_FINE_BYTES, EXPANSION * path.stat().st_size):
            raise ValueError(
                f"{where}: would unpack to {unpacked / 2**30:.3g} GiB, over {EXPANSION} times its size; "
                "a zip bomb? Pack the images again"
            )
        self._lock = Lock()

    def _add_info(self, info: zipfile.ZipInfo) -> None:
        written = _as_written(info)
        name = None if written.endswith(("/", "\\")) else self._member(written)
        if name is None:  # a folder, or hidden
            return
        self._add(name, info.file_size, f"{info.file_size}/{info.CRC}")
        self._infos[name] = info
        if stat.S_ISLNK(info.external_attr >> 16):
            self.unreadable[name] = "is a link inside the zip, not a file"

    def content(self, name: str) -> str:
        """The same text as in a folder; a zip lists it."""
        return self.stamps[name]

    def _read(self, name: str, size: int) -> bytes:
        info, where = self._infos[name], f"{self.path}: {shown(name)}"
        if info.flag_bits & 0x1:
            raise Unreadable(f"{where} is encrypted; pack the data set without a password")
        if info.compress_type not in METHODS:
            raise Unreadable(f"{where} is compressed by method {info.compress_type}; pack it stored or deflated")
        size = min(size, info.file_size)
        try:
            with self._lock, self._zip.open(info) as member:
                data = member.read(size)  # no more, even if the stream goes on
        except Exception as error:  # of many kinds, as above
            raise Unreadable(f"{where} is damaged inside the zip ({reason(error)}); copy the data set again") from None
        if len(data) != size:
            raise Unreadable(f"{where} is damaged inside the zip (cut short); copy the data set again")
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


def read_file(path: Path) -> bytes:
    """A single file by its path. `Unreadable` if it is a pipe, a device, a broken link, or too large."""
    if path.is_symlink() and not path.exists():
        raise Unreadable(f"{path}: {LINK_TO_NOTHING}; repair or remove it")
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable(f"{path}: is no plain file; give a file")
    if found.st_size > MEMBER_BYTES:
        raise Unreadable(f"{path}: has {found.st_size / 2**20:.4g} MiB, at most {MEMBER_BYTES >> 20} MiB are read")
    return Path(path).read_bytes()


def normalised(name: str) -> str:
    """A member's name as all programs should write it: forward slashes, no "./" and "//", Unicode form C.

    The names that a label file lists are brought to the same form.
    """
    if "\\" in name or name.startswith("./") or "/./" in name or "//" in name:
        name = "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))
    return name if name.isascii() else unicodedata.normalize("NFC", name)


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


def _as_written(info: zipfile.ZipInfo) -> str:
    """The name of a member. macOS writes UTF-8 but does not say so, and Python then reads another code."""
    if not info.flag_bits & 0x800 and not info.filename.isascii():
        try:
            return info.filename.encode("cp437").decode()
        except UnicodeError:
            pass
    return info.filename


def _lies_in(folder: str, other: str) -> bool:
    return folder.startswith(other.rstrip(os.sep) + os.sep)


def _count(items: Collection[str], what: str) -> str:
    return f"{len(items)} {what} was" if len(items) == 1 else f"{len(items)} {what}s were"


def _some(names: Collection[str], most: int = SHOWN) -> str:
    return ", ".join(shown(name) for name in sorted(names)[:most]) + (", ..." if len(names) > most else "")
