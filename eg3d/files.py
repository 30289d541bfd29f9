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
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
