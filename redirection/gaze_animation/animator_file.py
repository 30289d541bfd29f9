"""Our own file of GazeAnimation's networks: safetensors with their configuration, how they were made, and the map from
degrees to gaze codes, if they have been calibrated."""

from dataclasses import asdict
from pathlib import Path

from eg3d.metrics.network_file import load_configured, save_network
from groundwork.files import WORLD_WEIGHTS, how_made
from groundwork.plain import from_plain
from redirection.gaze_animation.eye_paths import Calibration
from redirection.gaze_animation.gaze_animator import AnimatorConfig, GazeAnimator

KIND = "gaze animation"
CALIBRATION = "calibration"  # the fact of that name
EMBEDDED = {  # names of weights that lie in the repository
    "embedded": WORLD_WEIGHTS / "people_gaze_animation.safetensors",
    "cartoons": WORLD_WEIGHTS / "gaze_animation.safetensors",
}


def save_animator(path: Path, animator: GazeAnimator, facts: dict, calibration: Calibration | None = None) -> None:
    """Writes weights (matrices as float16), configuration and calibration, atomically."""
    more = {} if calibration is None else {CALIBRATION: asdict(calibration)}
    save_network(path, KIND, animator, facts | more)


def open_animator(name: str | Path, device="cpu") -> tuple[GazeAnimator, Calibration | None]:
    """(networks in evaluation mode, calibration) of a name of EMBEDDED or a file. Errors: ValueError, one line."""
    animator, calibration, _ = read_animator_of(name)
    return animator.to(device), calibration


def read_animator_of(name: str | Path) -> tuple[GazeAnimator, Calibration | None, dict]:
    """As `read_animator`, of a name of EMBEDDED or a file."""
    return read_animator(EMBEDDED.get(str(name), Path(name)))


def read_animator(path: Path) -> tuple[GazeAnimator, Calibration | None, dict]:
    """(networks in evaluation mode, calibration, facts) of our file. Errors: ValueError, one line, or OSError."""
    if path in EMBEDDED.values() and not path.is_file():
        raise ValueError(f"{path}: these networks are missing; {how_made(path)}")
    animator, stored = load_configured(path, KIND, AnimatorConfig)
    facts = dict(stored.facts)
    try:
        found = facts.pop(CALIBRATION, None)
        calibration = None if found is None else from_plain(Calibration, found)
    except ValueError as error:
        raise ValueError(f"{path}: its calibration is damaged ({error}); calibrate the weights again") from None
    return animator, calibration, facts
