"""Arrays that take long to make, kept in the user's cache."""

import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from groundwork.files import atomic_write, is_own


def kept_arrays(path: Path, names: list[str], make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of these names in the file; if it is not there, is another user's or is damaged, made and written."""
    if is_own(path):
        with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(path) as file:
            return {name: file[name] for name in names}
    arrays = make()
    out = io.BytesIO()
    np.savez(out, **arrays)
    atomic_write(path, out.getvalue())
    return arrays
