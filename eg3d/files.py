"""Where the repository keeps things, and how a file is written so that it is never half there."""

import hashlib
import os
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
EMBEDDED_WEIGHTS = REPOSITORY / "assets" / "embedded"
CACHE = REPOSITORY / ".cache"  # ignored by git; holds the rendered data sets


def atomic_write(path: Path, data: bytes) -> None:
    """Writes a file so that a reader sees the old content or the new: temporary name, flush to disk, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with open(path, "rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.sha256(file.read()).hexdigest()
        )
