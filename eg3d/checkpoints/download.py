"""fetch(): a local file for an https://, http:// or file:// address. Downloads resume and stay in the user's cache.

A whole file has its final name in the cache. Three files may lie beside it: `<name>.part` has the bytes of an
unfinished download, `<name>.json` says which version of the server's file they belong to, and whoever downloads holds
`<name>.lock`.
"""

import hashlib
import ipaddress
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import SplitResult, unquote, urljoin, urlsplit
from urllib.request import url2pathname

import requests
import urllib3
from filelock import FileLock, Timeout
from requests.adapters import HTTPAdapter
from requests.exceptions import SSLError
from tqdm import tqdm
from urllib3.util import Retry

from groundwork.files import cache_folder, is_own, sha256
from groundwork.places import is_address
from groundwork.strict_json import JsonError, read_json

SIZE_LIMIT = 4 << 30  # bytes; a published checkpoint has about 0.4 GB
TRIES = 5  # failures in a row that bring nothing new, before giving up
WAIT_S = 1.0  # before the second try; later tries wait longer
TIMEOUT_S = 30.0  # of silence between two bytes
HEAD_S = 60.0  # until the head of an answer is here, all connections and redirects together
PATIENCE_S = 60.0  # after it, a download must have brought SLOWEST bytes for each further second
SLOWEST = 10_000  # bytes a second; a published checkpoint then takes half a day
FEWEST = 4096  # new bytes: a try that brings fewer has failed
LONGEST_VALIDATOR = 1000  # characters
BLOCK = 1 << 20  # bytes read at once, at most
MOST_REDIRECTS = 10
MAY_PASS = {408, 416, 429, 500, 502, 503, 504}  # HTTP answers after which the same question is worth asking again


class DownloadError(ValueError):
    """An address gives no file; one line with the address, what is wrong and what to do. `fetch` adds the address."""


class Interrupted(DownloadError):
    """One try has failed, and another may succeed."""


def fetch(address: str, cache: Path | None = None, limit: int = SIZE_LIMIT) -> Path:
    """A local file with the content of `address`; all that can go wrong is a DownloadError.

    `#sha256=<64 hex digits>` at the end of the address is checked, for a file already here too. A file downloaded
    before is returned without asking the server. `file://` names a file in place, which is not copied.
    Args: cache, folder of the downloads (default: `cache_folder()`); limit, bytes that a download may have
    """
    bare, mark, fragment = address.partition("#")
    try:
        digest = fragment.lower().removeprefix("sha256=") if mark else None
        if mark and not re.fullmatch("sha256=[0-9a-f]{64}", fragment.lower()):
            raise DownloadError(f"'#{fragment[:100]}' is not understood; write #sha256= and 64 hex digits, or nothing")
        parts = parse_address(bare, pinned=bool(digest))
        if parts.scheme != "file":
            return cached_file(bare, parts, digest, cache or cache_folder(), limit)
        check_digest(path := local_file(parts), digest)
        return path
    except (DownloadError, OSError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, OSError):
            advice = "check permissions and free space, or set XDG_CACHE_HOME to another folder"
            reason = f"cannot be read or stored on this machine ({error}); {advice}"
        line = re.sub("//[^/]*@", "//", bare) + ": " + reason  # without a password
        # The server may have written parts of the line: print nothing that a terminal would obey.
        raise DownloadError("".join(c if c.isprintable() else " " for c in line)) from error


def parse_address(address: str, pinned: bool) -> SplitResult:
    """The parts of an address without fragment; refuses one that cannot be read or, unless `pinned`, trusted."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises if it is no number
    except ValueError as error:
        raise DownloadError(f"is not a valid address ({error})") from None
    readable = parts.scheme == "file" or (parts.hostname and re.fullmatch("[!-~]+", address))
    if not is_address(address) or not readable or parts.port == 0:
        raise DownloadError("is not a valid address; write https://server/path or file:///path, and %20 for a space")
    if "@" in parts.netloc:
        raise DownloadError("a user name or password in an address is not supported; download it and give its path")
    if parts.scheme == "http" and not is_trusted(parts, pinned):
        raise DownloadError("http can be tampered with on the way; use https, or add #sha256= and 64 hex digits")
    return parts


def is_trusted(parts: SplitResult, pinned: bool) -> bool:
    """Whether nobody on the way can change what comes by http; `pinned`: its SHA-256 is known."""
    with suppress(ValueError):  # a name is no IP address
        return pinned or parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    return False


def may_lead(old: str, new: str, pinned: bool) -> bool:
    """Whether a redirect is followed: to https, or from http to http that `parse_address` would allow."""
    with suppress(ValueError):
        start, end = urlsplit(old), urlsplit(new)
        return end.scheme == "https" or (start.scheme == end.scheme == "http" and is_trusted(end, pinned))
    return False


def local_file(parts: SplitResult) -> Path:
    """The file that a file:// address names, in place."""
    if parts.netloc.lower() not in ("", "localhost"):
        raise DownloadError(f"'{parts.netloc}' is another machine; a file here is file:///path, with three slashes")
    path = Path(url2pathname(parts.path))
    if not path.is_file():
        raise DownloadError(f"there is no file {path}; check the path")
    return path


def check_digest(path: Path, digest: str | None) -> None:
    """Raises DownloadError unless the file's SHA-256 is `digest`; None passes."""
    if digest and (found := sha256(path)) != digest:
        raise DownloadError(f"the file's SHA-256 is {found}, not {digest}; it was changed, or the digest is wrong")


def cached_file(address: str, parts: SplitResult, digest: str | None, folder: Path, limit: int) -> Path:
    """The file in the cache, downloaded unless it is there and has the digest."""
    # The hash keeps two addresses apart; the rest has no character with which a server could leave the folder.
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", unquote(parts.path.rpartition("/")[2]))[-80:] or "file"
    target = Path(folder) / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{readable}"

    def ready() -> bool:
        return is_own(target) and digest in (None, sha256(target))

    if not ready():
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{target}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tqdm.write(f"{readable}: another process is downloading it; waiting for that", file=sys.stderr)
            lock.acquire()
        try:
            if not ready():  # the other process may have finished it
                target.unlink(missing_ok=True)
                Download(address, target, digest, limit).run(readable)
        finally:
            lock.release()
    return target


@dataclass
class Download:
    """One address on its way to the file `target`."""

    address: str
    target: Path
    digest: str | None
    limit: int

    def __post_init__(self):
        self.part, self.note = Path(f"{self.target}.part"), Path(f"{self.target}.json")
        self.started, self.received = time.monotonic(), 0  # since then, bytes

    def run(self, title: str) -> None:
        """Goes on from the bytes that are here, tries again after a break, checks, and gives the file its name."""
        if not is_own(self.part):
            self.part.unlink(missing_ok=True)
        longest, failed = self.here(), 0
        with tqdm(desc=title, delay=0.3, unit="B", unit_scale=True, unit_divisor=1024) as bar:
            while True:
                try:
                    self.transfer(bar)
                    break
                except DownloadError as reason:
                    # Only bytes beyond all earlier ones are progress: a server may start again from zero for ever.
                    failed = 0 if self.here() >= longest + FEWEST else failed + 1
                    longest = max(longest, self.here())
                    if failed == TRIES or not isinstance(reason, Interrupted):
                        kept = f"; {self.here()} bytes are kept, the next call goes on from them" if self.here() else ""
                        raise DownloadError(f"{reason}{kept}") from reason
                    bar.set_postfix_str("interrupted, trying again")
                    time.sleep(WAIT_S * max(failed, 1))
                    self.check_speed()
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
        """One request, its answer appended to the .part. Raises Interrupted unless the .part is whole then."""
        validator, size = self.noted()
        start = self.here() if validator else 0  # without it nothing tells whether old and new bytes fit together
        if start and start == size:  # stopped after the last byte, before the file got its name
            return
        resume = {"Range": f"bytes={start}-", "If-Range": validator} if start else {}
        with requests.Session() as session, within(HEAD_S, lambda: self.ask(session, resume)) as response:
            start, validator, size = self.accept(response, start, validator, size)
            # "wb" empties the file before the note changes: old bytes must never stand beside a new note.
            with open(self.part, "ab" if start else "wb") as file, suppress(urllib3.exceptions.HTTPError):
                self.part.chmod(0o644)  # whatever the umask
                self.note.write_text(json.dumps({"validator": validator, "size": size}))
                bar.reset(size)
                bar.initial = bar.n = start
                bar.set_postfix_str("")
                while block := response.raw.read1(BLOCK, decode_content=False):  # what is there: a break keeps it
                    self.check_size(file.tell() + len(block))
                    file.write(block)
                    bar.update(len(block))
                    self.received += len(block)
                    self.check_speed()
                size = file.tell() if size is None else size  # a clean end
        if self.here() != size:
            raise Interrupted(f"the connection broke after {self.here()} of {size or 'unknown'} bytes; try again later")

    def noted(self) -> tuple[str | None, int | None]:
        """Validator and size of the file that the .part belongs to; None and None if no usable note is here."""
        try:
            note = read_json(self.note, 1 << 16)
            validator, size = note["validator"], note["size"]
        except (OSError, JsonError, TypeError, LookupError):  # there is none, it was cut off, or is another's
            return None, None
        well = usable(validator) == validator and (size is None or (type(size) is int and size >= 0))
        return (validator, size) if well else (None, None)

    def ask(self, session: requests.Session, resume: dict[str, str]) -> requests.Response:
        """The answer to a request for the file, from wherever redirects lead. Its body is not read yet."""
        # identity: lengths and ranges must count the bytes of the file, not those of a packed one
        general = {"User-Agent": "gaze-corrected-eg3d", "Accept-Encoding": "identity", "Connection": "close"}
        headers = general | resume
        retries = Retry(TRIES - 1, other=0, backoff_factor=WAIT_S, respect_retry_after_header=False)
        place = self.address
        for scheme in ("https://", "http://"):
            session.mount(
                scheme, HTTPAdapter(max_retries=retries)
            )  # of connecting, until the head of an answer is here
        for _ in range(MOST_REDIRECTS):
            try:
                # Redirects are followed here: requests would read their bodies, however long, and go anywhere.
                answer = session.get(place, headers=headers, stream=True, allow_redirects=False, timeout=TIMEOUT_S)
            except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
                reason = getattr(error.args[0] if error.args else None, "reason", error)
                what = "this machine's clock and certificates" if isinstance(error, SSLError) else "the network"
                raise DownloadError(f"cannot be reached ({reason}); check the address and {what}") from None
            if answer.status_code == 200 or (answer.status_code == 206 and resume):
                return answer
            answer.close()
            location = answer.headers.get("Location", "")
            onward = joined(place, location) if answer.is_redirect else None
            if onward is None or not may_lead(place, onward, bool(self.digest)):
                break
            place = onward
        if answer.status_code == 416:  # the file there is shorter than what is here, so it is another one
            self.part.unlink(missing_ok=True)
        raise refusal(answer.status_code, location)

    def accept(self, answer, start: int, validator: str | None, size: int | None) -> tuple[int, str | None, int | None]:
        """Checks the head of an answer -> (bytes before its body, validator and size of the file, None: unknown)."""
        head, known = answer.headers, (validator, size)
        etag = head.get("ETag", "W/")  # a weak one may outlive a change (RFC 9110, 13.1.5)
        validator = usable(head.get("Last-Modified") if etag.startswith("W/") else etag)
        size = answer.raw.length_remaining
        if head.get("Content-Encoding", "identity").lower() != "identity":
            raise DownloadError("the server packs the file on the way; download it with a browser and give its path")
        if answer.status_code == 206:
            said = head.get("Content-Range", "nothing")[:100]
            span = re.fullmatch(rf"bytes {start}-(\d{{1,18}})/(\d{{1,18}})", said)
            if not span or not start <= int(span[1]) < int(span[2]):
                self.part.unlink()  # so that the next call asks for something else
                raise DownloadError(f"asked for all bytes from {start} on, the server sends '{said}'; try again")
            validator, size = validator or known[0], int(span[2])
            if known not in ((validator, size), (validator, None)):
                self.part.unlink()  # a server that ignores If-Range
                raise Interrupted("the file on the server has changed; try again")
        else:
            start, chunked = 0, head.get("Transfer-Encoding", "").lower() == "chunked"
            if not self.digest and head.get("Content-Type", "").startswith("text/html"):
                raise DownloadError("is a web page, not a file; give the address behind its download button")
            if not self.digest and size is None and not chunked:
                raise DownloadError("the server does not say where the file ends; add #sha256= and 64 hex digits")
        self.check_size(size or 0)
        free = shutil.disk_usage(self.part.parent).free
        if (size or 0) - start > free:
            need = f"needs {size - start} bytes and {self.part.parent} has {free} free"
            raise DownloadError(f"{need}; make room or set XDG_CACHE_HOME to a folder on another disk")
        return start, validator, size

    def check_speed(self) -> None:
        """DownloadError for a server that would keep us busy for ever, a byte now and then."""
        late = time.monotonic() - self.started - PATIENCE_S
        if late > 0 and self.received < late * SLOWEST:
            raise DownloadError(f"brought {self.received} bytes in {late + PATIENCE_S:.0f} s; try again later")

    def check_size(self, size: int) -> None:
        """DownloadError for more bytes than allowed."""
        if size > self.limit:
            self.part.unlink(missing_ok=True)
            raise DownloadError(f"has {size} bytes, more than the {self.limit} bytes allowed; check the address")


def usable(validator) -> str | None:
    """A validator that can be sent back in the head of a request; None for any other value."""
    well = isinstance(validator, str) and re.fullmatch(r"[!-~]([ -~]*[!-~])?", validator)
    return validator if well and len(validator) <= LONGEST_VALIDATOR else None


def joined(place: str, location: str) -> str | None:
    """Where a redirect leads from `place`; None if that is no address."""
    with suppress(ValueError):  # brackets that do not close, a port that is no number
        onward = urljoin(place, location)
        parts = urlsplit(onward)
        return onward if parts.port != 0 and parts.hostname and "@" not in parts.netloc else None
    return None


def within(seconds: float, work: Callable):
    """The value of `work()`; Interrupted if it takes longer. Its thread is left alone then, and nobody waits for it.

    Looking up a name, and a head that comes byte by byte, know no other limit.
    """
    done: SimpleQueue = SimpleQueue()

    def run():
        try:
            done.put((work(), None))
        except BaseException as error:
            done.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = done.get(timeout=seconds)
    except Empty:
        raise DownloadError(f"does not answer within {seconds:g} s; try again later") from None
    if error is not None:
        raise error
    return value


def refusal(code: int, location: str) -> DownloadError:
    """The error for an HTTP status that brings no file; `location`: where a redirect leads."""
    if code in MAY_PASS:
        return Interrupted(f"the server cannot send it now (HTTP {code}); try again later")
    if 300 <= code < 400:
        return DownloadError(f"leads to '{location[:200]}' (HTTP {code}), not followed; give the file's own address")
    if code in (401, 403):
        return DownloadError(f"no access (HTTP {code}); if it needs a login, download it and give its path")
    texts = {204: "the server sends no file", 404: "there is no such file", 410: "there is no such file"}
    return DownloadError(f"{texts.get(code, 'the server refuses')} (HTTP {code}); check the address")
