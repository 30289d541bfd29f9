"""fetch(): a local file for an https://, http:// or file:// address; downloads resume and stay in the user's cache.

A finished file has its final name; a half-finished one is `<name>.part`, and `<name>.json` beside it notes to which
version of the file on the server those bytes belong. That note is also the lock, so it is never deleted.
"""

import hashlib
import http.client
import ipaddress
import json
import os
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO
from urllib.parse import SplitResult, unquote, urlsplit

from tqdm import tqdm

from groundwork.files import sha256

try:
    import fcntl
except ImportError:  # Windows: no lock there, so the same address must not be downloaded twice at once
    fcntl = None

SIZE_LIMIT = 4 << 30  # bytes; a published checkpoint has about 0.4 GB
TRIES = 5  # failures in a row that bring nothing new, before giving up
WAIT_S = 1.0  # before the second try; the third waits twice as long, and so on
TIMEOUT_S = 30.0  # of silence
BLOCK = 1 << 20  # bytes read at once, at most
MAY_PASS = {408, 429, 500, 502, 503, 504}  # HTTP answers that can be different in a moment


class DownloadError(ValueError):
    """An address gives no file; one line with the address, what is wrong and what to do. `fetch` adds the address."""


class Dropped(DownloadError):
    """One try has failed and another may succeed."""


def is_address(name: str) -> bool:
    """Whether `name` is an address for `fetch`, not a path."""
    return name.lower().startswith(("https://", "http://", "file://"))


def fetch(address: str, cache: Path | None = None, limit: int = SIZE_LIMIT) -> Path:
    """A local file with the content of `address`; all that can go wrong is a DownloadError.

    `#sha256=<64 hex digits>` at the end of the address is checked, for a file already here too. A file downloaded
    before is returned without asking the server. `file://` names a file in place, which is not copied.
    Args: cache, folder of the downloads (default: `cache_folder()`); limit, bytes that a download may have
    """
    bare, mark, fragment = address.partition("#")
    try:
        digest = parse_digest(fragment) if mark else None
        parts = parse_address(bare, pinned=digest is not None)
        if parts.scheme == "file":
            path = local_file(parts)
            check_digest(path, digest)
        else:
            path = cached_file(bare, parts, digest, cache or cache_folder(), limit)
        return path
    except (DownloadError, OSError) as error:
        reason = str(error)
        if isinstance(error, OSError):
            advice = "check permissions and free space, or set XDG_CACHE_HOME to another folder"
            reason = f"cannot be read or stored on this machine ({error}); {advice}"
        line = re.sub("//[^/]*@", "//", bare) + ": " + reason  # without a password
        # parts of it may come from the server: one line, nothing a terminal would obey
        raise DownloadError("".join(c if c.isprintable() else " " for c in line)) from error


def parse_digest(fragment: str) -> str:
    """`sha256=<64 hex digits>` -> the digits."""
    if not (found := re.fullmatch("sha256=([0-9a-fA-F]{64})", fragment)):
        raise DownloadError(f"'#{fragment[:100]}' is not understood; write #sha256= and 64 hex digits, or nothing")
    return found[1].lower()


def parse_address(address: str, pinned: bool) -> SplitResult:
    """The parts of an address without fragment; refuses one that cannot be read or, unless `pinned`, trusted."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port  # both raise when malformed
    except ValueError as error:
        raise DownloadError(f"is not a valid address ({error})") from None
    if not is_address(address) or (parts.scheme != "file" and not host):
        raise DownloadError("is not a valid address; write https://server/path or file:///path")
    if "@" in parts.netloc:
        raise DownloadError("a user name or password in an address is not supported; download it and give its path")
    if not is_trusted(parts, pinned):
        raise DownloadError("http can be tampered with on the way; use https, or add #sha256= and 64 hex digits")
    return parts


def is_trusted(parts: SplitResult, pinned: bool) -> bool:
    """Whether nobody on the way can change the content unseen; `pinned`: its SHA-256 is known."""
    if parts.scheme != "http" or pinned or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:  # a name
        return False


def local_file(parts: SplitResult) -> Path:
    """The file that a file:// address names, in place."""
    if parts.netloc.lower() not in ("", "localhost"):
        raise DownloadError(f"'{parts.netloc}' is another machine; a file here is file:///path, with three slashes")
    path = Path(urllib.request.url2pathname(parts.path))
    if not path.is_file():
        raise DownloadError(f"there is no file {path}; check the path")
    return path


def check_digest(path: Path, digest: str | None) -> None:
    """Raises DownloadError unless the file's SHA-256 is `digest`; None passes."""
    if digest and (found := sha256(path)) != digest:
        raise DownloadError(f"the file's SHA-256 is {found}, not {digest}; it was changed, or the digest is wrong")


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/gaze-corrected-eg3d`, or in `~/.cache` where that is unset."""
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:  # the XDG standard: a relative path counts as unset
        return (home if home.is_absolute() else Path.home() / ".cache") / "gaze-corrected-eg3d"
    except RuntimeError:
        raise DownloadError("this user has no home folder to keep it in; set XDG_CACHE_HOME to a folder") from None


def cached_file(address: str, parts: SplitResult, digest: str | None, folder: Path, limit: int) -> Path:
    """The file in the cache, downloaded unless it is there and has the digest."""
    # a hash, so that two addresses never share a file; no character of the server's choice that could leave the folder
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", unquote(parts.path.rpartition("/")[2]))[-80:] or "file"
    target = Path(folder) / f"{hashlib.sha256(address.encode(errors='replace')).hexdigest()[:16]}-{readable}"

    def ready() -> bool:
        return target.exists() and digest in (None, sha256(target))

    if not ready():
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(target.name + ".json")) as note:
            if not ready():  # it may have come while this call waited
                target.unlink(missing_ok=True)
                Download(address, target, digest, limit, note).run(readable)
    return target


@contextmanager
def locked(path: Path) -> Iterator[TextIO]:
    """The file `path`, open and held by this call alone; a second one waits until the first has ended."""
    with open(path, "a+", encoding="utf-8") as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tqdm.write(f"{path.stem}: another process is downloading it; waiting for that", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield file


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to https, or from http to http that `parse_address` would allow; any other is an HTTPError."""

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302  # unknown to Python 3.10

    def __init__(self, pinned: bool):
        self.pinned = pinned

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme != "https" and not (new.scheme == old.scheme == "http" and is_trusted(new, self.pinned)):
            raise urllib.error.HTTPError(req.full_url, code, msg, headers, fp)
        return super().redirect_request(req, fp, 307 if code == 308 else code, msg, headers, newurl)


class Version(NamedTuple):
    """Which content a server has under an address; None where it does not say. `size` in bytes."""

    etag: str | None = None
    last_modified: str | None = None
    size: int | None = None

    @property
    def validator(self) -> str | None:
        """For If-Range (RFC 9110, 13.1.5): the ETag, unless weak (W/), when it may outlive a change; else the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


@dataclass
class Download:
    """One address on its way to the file `target`; `note` is the open side file."""

    address: str
    target: Path
    digest: str | None
    limit: int
    note: TextIO

    def __post_init__(self):
        self.part = self.target.with_name(self.target.name + ".part")
        self.opener = urllib.request.build_opener(Redirects(self.digest is not None))

    def run(self, title: str) -> None:
        """Goes on from what is here, tries again after a break, checks, and gives the file its name."""
        longest, failed = self.here(), 0
        with tqdm(desc=title, unit="B", unit_scale=True, unit_divisor=1024, delay=0.3) as bar:
            while True:
                try:
                    self.transfer(bar)
                    break
                except Dropped as reason:
                    # bytes beyond all earlier ones count, no others: a server may start again from zero for ever
                    failed = 0 if self.here() > longest else failed + 1
                    longest = max(longest, self.here())
                    if failed == TRIES:
                        kept = f"; {self.here()} bytes are kept, the next call goes on from them" if self.here() else ""
                        raise DownloadError(f"{reason}{kept}") from reason
                    bar.set_postfix_str("interrupted, trying again")
                    time.sleep(WAIT_S * max(failed, 1))
        try:
            check_digest(self.part, self.digest)
        except DownloadError:
            self.part.unlink()
            raise
        with open(self.part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.part, self.target)

    def here(self) -> int:
        """Bytes received so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def transfer(self, bar: tqdm) -> None:
        """One request, its answer appended to the .part; returns when that is whole, else raises Dropped."""
        self.note.seek(0)
        try:
            noted = Version(**json.load(self.note))
        except (ValueError, TypeError):  # new, or cut off
            noted = Version()
        start = self.here() if noted.validator else 0  # else nothing tells whether old and new bytes fit together
        if start and start == noted.size:  # interrupted before the check or the rename
            return
        with self.ask(start, noted) as response:
            version, end = self.accept(response, start, noted)
            with open(self.part, "ab") as file:
                if response.status == 200:
                    start = 0
                    file.truncate(0)  # before the new note: old bytes must never stand beside it
                self.note.truncate(0)
                self.note.write(json.dumps(version._asdict()))
                self.note.flush()
                free = shutil.disk_usage(self.part.parent).free
                if (version.size or 0) - start > free:
                    need = f"needs {version.size - start} bytes and {self.part.parent} has {free} free"
                    raise DownloadError(f"{need}; make room or set XDG_CACHE_HOME to a folder on another disk")
                bar.reset(version.size)
                bar.initial = bar.n = start
                bar.set_postfix_str("")
                self.receive(response, file, start, end, bar)
        if self.here() < (version.size or 0):
            raise Dropped(f"the connection ended after {self.here()} of {version.size} bytes; try again later")

    def ask(self, start: int, noted: Version) -> http.client.HTTPResponse:
        """The server's answer to a request for the bytes from `start` on."""
        resume = {"Range": f"bytes={start}-", "If-Range": noted.validator} if start else {}
        request = urllib.request.Request(self.address, headers={"User-Agent": "gaze-corrected-eg3d", **resume})
        try:
            return self.opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # the file there is shorter than what is here, so it is another one
                self.part.unlink(missing_ok=True)
            raise refusal(error.code, error.headers.get("Location", "")) from None
        except (ValueError, http.client.InvalidURL) as error:
            raise DownloadError(f"is not a valid address ({error}); percent-encode its characters") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                advice = "check the address, and this machine's clock and certificates"
                raise DownloadError(f"the server does not prove its name ({reason.verify_message}); {advice}") from None
            raise Dropped(f"cannot be reached ({reason}); check the address and the network") from None

    def accept(self, response: http.client.HTTPResponse, start: int, noted: Version) -> tuple[Version, int | None]:
        """Checks the head of an answer -> (version of the file, byte at which this body ends; None: not announced)."""
        head, end = response.headers, response.length
        version = Version(head.get("ETag"), head.get("Last-Modified"), end)
        if start and response.status == 206:
            said = head.get("Content-Range", "nothing")[:100]
            span = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", said)
            first, last, size = map(int, span.groups()) if span else (-1, -1, -1)
            if not first == start <= last < size or end not in (None, last + 1 - start):
                self.part.unlink()  # so that the next call asks for something else
                raise DownloadError(f"asked for all bytes from {start} on, the server sends '{said}'; try again")
            version, end = noted._replace(size=size), last + 1
            given = head.get("ETag", noted.etag), head.get("Last-Modified", noted.last_modified)
            if given != noted[:2] or noted.size not in (None, size):  # a server that ignores If-Range
                self.part.unlink()
                raise Dropped("the file on the server has changed; try again")
        elif response.status != 200:
            raise DownloadError(f"the server sends no file (HTTP {response.status}); check the address")
        elif not self.digest and head.get("Content-Type", "").startswith("text/html"):
            raise DownloadError("is a web page, not a file; give the address behind its download button")
        elif not self.digest and end is None and not response.chunked:
            raise DownloadError("the server does not say where the file ends; add #sha256= and 64 hex digits")
        if (version.size or 0) > self.limit:
            raise DownloadError(f"has {version.size} bytes, more than the {self.limit} allowed; check the address")
        return version, end

    def receive(self, response: http.client.HTTPResponse, file: BinaryIO, at: int, end: int | None, bar: tqdm) -> None:
        """Appends a body to `file` as it arrives, so that an interruption keeps what came; `at`: bytes before it."""
        while end is None or at < end:
            try:
                block = response.read1(BLOCK if end is None else min(BLOCK, end - at))
            except (OSError, http.client.HTTPException) as error:
                raise Dropped(f"the connection broke ({error!r}); check the network") from None
            if not block:
                return
            if at + len(block) > self.limit:
                self.part.unlink()
                raise DownloadError(f"sends more than the {self.limit} bytes allowed; check the address")
            file.write(block)
            at += len(block)
            bar.update(len(block))


def refusal(code: int, location: str) -> DownloadError:
    """The error for an HTTP status that brings no file; `location`: where a redirect leads."""
    if code in MAY_PASS or code == 416:
        return Dropped(f"the server cannot send it now (HTTP {code}); try again later")
    if 300 <= code < 400:
        return DownloadError(f"leads to '{location[:200]}' (HTTP {code}), not followed; give the file's own address")
    if code in (401, 403):
        return DownloadError(f"no access (HTTP {code}); if it needs a login, download it and give its path")
    what = "there is no such file" if code in (404, 410) else "the server refuses"
    return DownloadError(f"{what} (HTTP {code}); check the address")
