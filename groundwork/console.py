"""What a command prints cannot end its work: letters that the console lacks, a reader that went away, a full disk."""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator

from groundwork.places import REMEDIES


class _Stream(io.FileIO):
    """A stream of the process; `lost`: why something could not be written."""

    lost: OSError | None = None

    def write(self, data) -> int | None:
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError as error:
            self.lost = error
            return len(data)


@contextlib.contextmanager
def patient_console() -> Iterator[Callable[[], None]]:
    r"""Inside, a letter that the console lacks is printed as \xe9, and what nobody reads is dropped.

    Yields a function for the end of the work: ValueError if the standard output could not be written for another reason
    than a reader that went away.
    """
    kept = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = streams = _patient(sys.stdout, 1), _patient(sys.stderr, 2)

    def check() -> None:
        streams[0].flush()
        lost = getattr(getattr(getattr(streams[0], "buffer", None), "raw", None), "lost", None)
        if lost is not None and not isinstance(lost, BrokenPipeError):
            raise ValueError(f"standard output: {REMEDIES.get(lost.errno, lost.strerror)}")

    try:
        yield check
    finally:
        for stream in streams:
            with contextlib.suppress(ValueError, OSError):
                stream.flush()
        sys.stdout, sys.stderr = kept


def _patient(stream, number: int):
    """The same stream, patient. One that is no stream of the process, as in a test, stays as it is."""
    if stream is None:  # closed before the start: files opened later must not get its number
        with contextlib.suppress(OSError):
            os.fstat(number)
            return open(os.devnull, "w", encoding="utf-8")
        handle = os.open(os.devnull, os.O_WRONLY)
        if handle != number:
            os.dup2(handle, number)
            os.close(handle)
        return open(number, "w", encoding="utf-8", closefd=False)
    try:
        stream.flush()
        handle = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Stream(handle, "w", closefd=False)),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=getattr(stream, "line_buffering", True),
        write_through=getattr(stream, "write_through", False),
    )
