"""Our own file of GazeAnimation's networks: safetensors with their configuration, how they were made, and the map from
degrees to gaze codes, if they have been calibrated."""

from dataclasses import asdict
from pathlib import Path

from eg3d.metrics.network_file import load_configured, save_network
from groundwork.files import WORLD_WEIGHTS, how_made
from groundwork.plain import from_plain
from redirection.gaze_animation.eye_paths import Calibration
from redirection.gaze_animation.gaze_animator import AnimatorConfig, GazeAnimator
from redirection.gaze_animation.published_animator import load_published
from redirection.tensorflow_checkpoint import is_checkpoint

KIND = "gaze animation"
CALIBRATION = "calibration"  # the fact of that name
EMBEDDED = {"embedded": WORLD_WEIGHTS / "people_gaze_animation.safetensors"}  # names of weights in the repository


def save_animator(path: Path, animator: GazeAnimator, facts: dict, calibration: Calibration | None = None) -> None:
    """Writes weights (matrices as float16), configuration and calibration, atomically."""
    more = {} if calibration is None else {CALIBRATION: asdict(calibration)}
    save_network(path, KIND, animator, facts | more)


def open_animator(name: str | Path, device="cpu") -> tuple[GazeAnimator, Calibration | None]:
    """(networks in evaluation mode, calibration); name and errors: as `read_networks`."""
    animator, facts = read_networks(name)
    found = facts.get(CALIBRATION)
    try:
        calibration = None if found is None else from_plain(Calibration, found)
    except ValueError as error:
        raise ValueError(f"{name}: its calibration cannot be read ({error}); calibrate the weights again") from None
    return animator.to(device), calibration


def read_networks(name: str | Path) -> tuple[GazeAnimator, dict]:
    """(networks in evaluation mode, facts) of a name of EMBEDDED, our file, or a published checkpoint.

    A calibration among the facts is not looked at, so that weights with an older one can be calibrated again. Errors:
    ValueError, one line, or OSError.
    """
    path = EMBEDDED.get(str(name), Path(name))
    if path in EMBEDDED.values() and not path.is_file():
        raise ValueError(f"{path}: these networks are missing; {how_made(path)}")
    if is_checkpoint(path):
        return load_published(path), {}
    animator, stored = load_configured(path, KIND, AnimatorConfig)
    return animator, stored.facts
