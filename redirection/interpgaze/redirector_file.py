"""Our own file of a redirector: safetensors with its configuration, and how it was made."""

from pathlib import Path

from eg3d.metrics.network_file import load_configured, save_network
from groundwork.files import WORLD_WEIGHTS
from redirection.attributes import PUBLISHED
from redirection.interpgaze.pth_files import LABEL, load_redirector
from redirection.interpgaze.redirector import InterpGaze, InterpGazeConfig

KIND = "gaze redirection"
EMBEDDED = {"embedded": WORLD_WEIGHTS / "people_interpgaze.safetensors"}


def save_redirector(path: Path, redirector: InterpGaze, facts: dict) -> None:
    """Writes weights (matrices as float16) and configuration, atomically."""
    save_network(path, KIND, redirector, facts)


def read_redirector(place: Path | str, label: str = LABEL, attributes: str = PUBLISHED) -> tuple[InterpGaze, dict]:
    """(network in evaluation mode, facts) of `embedded`, of our file, or of a folder with published .pth files.

    label, attributes: of such a folder, see `load_redirector`.
    Errors: ValueError, one line.
    """
    path = EMBEDDED.get(str(place)) or Path(place)
    if path.is_dir():
        return load_redirector(path, label, attributes).requires_grad_(False), {}
    network, stored = load_configured(path, KIND, InterpGazeConfig)
    return network, stored.facts
