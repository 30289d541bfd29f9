"""Where the eyes of drawn heads look: what --gaze asks of generators, and gazes that change along a film."""

import math
from collections.abc import Iterable
from pathlib import Path

import torch

from eg3d.geometry.head_gaze import CAMERA, FACE, Aim
from eg3d.models.eye_field import is_aimed
from groundwork.strict_json import JsonError, read_json

CIRCLE_DEG = (25.0, 12.0)  # of the point that resting heads follow, yaw and pitch
MOST_DEG = 90.0


def parse_aim(text: str) -> Aim:
    """`face`, `camera`, or `YAW,PITCH` in degrees of the head frame; ValueError, which says what to write."""
    if text in (names := {"face": FACE, "camera": CAMERA}):
        return names[text]
    try:
        yaw, pitch = (float(part) for part in text.split(","))
    except ValueError:
        message = f"'{text}' is no gaze; write face, camera, or YAW,PITCH in degrees, for example 20,-5"
        raise ValueError(message) from None
    if not (abs(yaw) <= MOST_DEG and abs(pitch) <= MOST_DEG):
        raise ValueError(f"'{text}' is beyond {MOST_DEG:g} degrees; eyes turn some 35 to the sides, 17 up and down")
    return Aim(math.radians(yaw), math.radians(pitch))


def aim_eyes(generators: Iterable, aim: Aim | None) -> None:
    """Sets the gaze of those generators that can be told; nothing without an aim. ValueError if none can."""
    if aim is None:
        return
    told = [G for G in generators if is_aimed(G)]
    if not told:
        raise ValueError("--gaze: the gaze of this network cannot be set; give embedded-control, or one that "
                         "train.py --gaze-control=True has made")  # fmt: skip
    for G in told:
        G.aim = aim


def aim_facts(aim: Aim | None) -> dict:
    """For reports, by the name of the flag: what --gaze said; {} if nothing."""
    if aim is None:
        return {}
    if aim in (names := {FACE: "face", CAMERA: "camera"}):
        return {"gaze": names[aim]}
    return {"gaze": f"{math.degrees(aim.yaw):g},{math.degrees(aim.pitch):g}"}


def circle(frames: int) -> torch.Tensor:
    """Gaze [frames, 2], rad, that goes once round an ellipse in front of the face."""
    turn = 2 * math.pi * torch.arange(frames) / frames
    return torch.stack([turn.sin(), turn.cos()], dim=1) * torch.tensor(CIRCLE_DEG).deg2rad()


def read_gaze_path(path: Path, frames: int) -> torch.Tensor:
    """A JSON file {"gaze": [[yaw, pitch] of each frame, degrees in the head frame]} -> [frames, 2], rad.

    Errors: ValueError, one line that names the file.
    """
    reason = ""
    try:
        rows = torch.tensor(read_json(Path(path))["gaze"], dtype=torch.float32)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        rows, reason = torch.zeros(0), f" ({error})" if isinstance(error, JsonError) else ""
    if rows.ndim != 2 or rows.shape[1] != 2 or not len(rows):
        raise ValueError(f'{path}: is no gaze path{reason}; it needs {{"gaze": [[yaw, pitch], ...]}} (degrees), one '
                         "for each frame")  # fmt: skip
    if not (rows.abs() <= MOST_DEG).all():
        frame = int((~(rows.abs() <= MOST_DEG)).any(dim=1).nonzero()[0, 0])
        raise ValueError(f"{path}: the gaze of frame {frame} is beyond {MOST_DEG:g} degrees; eyes turn some 35")
    if len(rows) != frames:
        raise ValueError(f"{path}: has {len(rows)} gazes for {frames} frames; give one for each")
    return rows.deg2rad()


def gazes(aim: Aim, path: str | Path | None, labels: torch.Tensor) -> torch.Tensor:
    """The gaze [n, 2] of each frame of a film with cameras labels [n, 25]: of a path, `circle` or a file, or an aim."""
    if path is None:
        return aim.gaze(labels)
    return circle(len(labels)) if path == "circle" else read_gaze_path(Path(path), len(labels))
