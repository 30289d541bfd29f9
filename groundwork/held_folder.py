"""How one process keeps a folder for itself while it writes there."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def held(outdir: Path) -> Iterator[None]:
    """Makes the folder if it is missing, and locks it for this process; deletes it at the end if it is still empty."""
    made, handle = [path for path in (outdir, *outdir.parents) if not path.exists()], None
    try:
        with writable(outdir):
            outdir.mkdir(parents=True, exist_ok=True)
            handle = lock(outdir)
        yield
    finally:
        # The innermost folder is deleted first, and while it is locked, so that no other process takes it meanwhile.
        # If another process has the lock, the folder is that one's.
        for path in made if handle is not None else made[1:]:
            with contextlib.suppress(OSError):
                path.rmdir()
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def writable(outdir: Path) -> Iterator[None]:
    """Turns an error of the system inside into one ValueError about --outdir."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"--outdir={outdir}: cannot write there ({error.strerror}); give another folder") from None


def lock(folder: Path) -> int:
    """Locks the folder for this process until it ends, however it ends; ValueError if another process has the lock."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_nlink == 0:  # the other process has just deleted it
            raise BlockingIOError
    except BlockingIOError:
        os.close(handle)
        raise ValueError(
            f"--outdir={folder}: another process works there; wait for it, or give another folder"
        ) from None
    except OSError:
        pass  # a file system without locks
    return handle
