"""Where the repository keeps things; `atomic_write` and `atomic_file`, through which all files are written."""

import hashlib
from pathlib import Path

from l2cs.files import atomic_file, atomic_write

__all__ = ["CACHE", "EMBEDDED_WEIGHTS", "REPOSITORY", "atomic_file", "atomic_write", "sha256"]

REPOSITORY = Path(__file__).resolve().parent.parent
EMBEDDED_WEIGHTS = REPOSITORY / "assets" / "embedded"
CACHE = REPOSITORY / ".cache"  # ignored by git; holds the rendered data sets


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with open(path, "rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.sha256(file.read()).hexdigest()
        )
