"""Degrees asked of the map, bent for each face until painted eyes show what is wanted.

One map for all errs by some degrees: how far an iris is painted from the middle of the eye depends on face and head
pose, and is no straight line. So a face is painted with thirteen gazes, the gaze reader (which is no judge) reads them,
and a thin-plate spline says what to ask for. Gazes count from what the reader reads of faces that look into the lens.
"""

import contextlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.interpolate import RBFInterpolator

from groundwork.archive import read_file
from groundwork.images import read_picture
from redirection.eye_reader import gaze_reader
from redirection.face_reading import GazeReader, read_gaze
from redirection.gaze_animation.eye_paths import Aim, Calibration
from redirection.gaze_animation.level_faces import Placed
from redirection.gaze_animation.moving_eyes import MovedGaze, moved_frames
from redirection.gaze_animation.portrait_lists import CAMERA, read_domain
from redirection.gaze_animation.portrait_making import LANDMARKS
from redirection.gaze_animation.whole_faces import FaceEyes, Fates, Paint
from redirection.lid_points import ListedLids, NoLids

PROBES = np.array([(yaw, pitch) for yaw in (-14.0, 0.0, 14.0) for pitch in (-9.0, 0.0, 9.0)]
                  + [(yaw, 0.0) for yaw in (-24.0, -6.0, 6.0, 24.0)])  # yaw, pitch asked for, degrees  # fmt: skip
MOST = np.array([30.0, 17.0])  # degrees that are asked for: a little more than of PROBES, beyond which nothing is read
SMOOTH = 10.0  # of the spline, so that it does not fold if two probes are read alike
# A face keeps the common map if it would need more degrees of shift, fewer or more degrees for each that is wanted, or
# more of the other axis than of the one that is wanted.
MOST_SHIFT, GAINS = 20.0, (0.2, 5.0)
TO_AIM = "calibrate them by redirection/gaze_animation/calibrate.py, whose --aim says what a gaze reader reads"
MAKE_AGAIN = "make the set again by prepare.py --world, or give --aim=0"


def portraits_read(frames: Iterable[np.ndarray], face: FaceEyes, size: int, reader: GazeReader) -> np.ndarray:
    """Yaw, pitch in degrees [N, 2] of one face, cut as a portrait of `size` px out of each frame: level, and as fine in
    every picture. ValueError, the reason, for eyes that are too small or outside."""
    place = Placed.of_eyes(face.eyes)
    lids = dict(zip("RL", place.to_portrait(face.lids, size), strict=True))
    points = place.to_portrait(face.points, size)
    cut = [place.cut(frame, size) for frame in frames]
    return read_gaze(reader, cut, [lids] * len(cut), [points] * len(cut))


def response(
    picture: np.ndarray, face: FaceEyes, animator, calibration: Calibration, reader: GazeReader, device="cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """What is read of the face painted with each of PROBES [13, 2], and as it is [2], degrees. Its points must be
    known. Errors: as `portraits_read`."""
    frames = moved_frames(picture, [face], animator, PROBES, calibration, Fates(), device, closed=0)
    read = portraits_read(itertools.chain(frames, [picture]), face, animator.config.size, reader)
    return read[:-1], read[-1]


def aimed(calibration: Calibration, read: np.ndarray, there: np.ndarray) -> Aim:
    """What a face with this response needs; nothing if that is far from what the common map says, or not finite."""
    if not (np.isfinite(read).all() and np.isfinite(there).all()):
        return Aim()
    shown = read - calibration.lens_reads
    line = np.linalg.lstsq(np.column_stack([PROBES, np.ones(len(PROBES))]), shown, rcond=None)[0]
    if abs(np.linalg.det(line[:2])) < 1e-6:
        return Aim()
    back = np.linalg.inv(line[:2])
    gains, across = np.diag(back), np.abs(back[[0, 1], [1, 0]]).max()
    turned = gains.min() < GAINS[0] or gains.max() > GAINS[1] or across > gains.min()
    if turned or np.linalg.norm(line[2] @ back) > MOST_SHIFT:
        return Aim()
    bend = RBFInterpolator(shown, PROBES, smoothing=SMOOTH)
    return Aim(lambda wanted: bend(wanted).clip(-MOST, MOST), tuple((there - calibration.lens_reads).tolist()))


def lens_reads(folder: Path, count: int, seed: int, size: int) -> np.ndarray:
    """Yaw, pitch in degrees [N, 2] that the gaze reader reads of up to `count` faces that look into the lens, drawn by
    the seed from a set of prepare.py --world, as portraits of `size` px. Errors: ValueError, one line, or OSError."""
    portraits = read_domain(folder, CAMERA)
    if not (folder / LANDMARKS).is_file():
        raise ValueError(f"{folder}: has no {LANDMARKS}, so the gaze reader cannot read it; {MAKE_AGAIN}")
    source = ListedLids(folder / LANDMARKS, [f"{CAMERA}/{file.name}" for file in portraits.files])
    reader, found = gaze_reader(), []
    for row in np.random.default_rng([seed, 19]).permutation(len(portraits))[:count]:
        file = portraits.files[row]
        picture = np.asarray(read_picture(read_file(file), str(file)))
        try:
            face = FaceEyes.of_points(source.points(picture, f"{CAMERA}/{file.name}"))
            found.append(portraits_read([picture], face, size, reader)[0])
        except (NoLids, ValueError) as reason:
            raise ValueError(f"{file}: the gaze reader cannot read it ({reason}); {MAKE_AGAIN}") from None
    return np.array(found)


def can_aim(calibration: Calibration | None) -> bool:
    """Whether the weights know degrees, and what the gaze reader reads of faces that look into the lens."""
    return calibration is not None and calibration.lens_reads is not None


def aims(
    picture: np.ndarray, faces: Sequence[FaceEyes], animator, calibration: Calibration | None, device="cpu"
) -> list[Aim] | None:
    """What each face of a picture needs; None if the weights cannot be aimed. ValueError for a damaged gaze reader."""
    if not can_aim(calibration):
        return None
    reader, found = gaze_reader(), []
    for face in faces:
        seen = None
        if face.points is not None:
            with contextlib.suppress(ValueError):  # too small, or outside: this face will not move
                seen = response(picture, face, animator, calibration, reader, device)
        found.append(Aim() if seen is None else aimed(calibration, *seen))
    return found


def unaimed(found: Sequence[Aim] | None) -> list[str]:
    """What the user should know of faces that keep the common map."""
    count = sum(own.bend is None for own in found or ())
    says = "not aimed, so the gaze may be some degrees off: a gaze reader does not see the painted eyes follow"
    return [f"{count} of {len(found)} faces are {says}"] if count else []


def to_camera(
    picture: np.ndarray, faces: Sequence[FaceEyes], animator, calibration: Calibration | None, device="cpu"
) -> list[Paint]:
    """What paints the eyes of each face so that they look into the camera: Gy as the face needs it, or else Gx."""
    paints: list[Paint] = []
    for own in aims(picture, faces, animator, calibration, device) or [Aim()] * len(faces):
        paint = MovedGaze(animator, calibration, own)
        paint.angles = (0.0, 0.0)
        paints.append(animator.correct if own.bend is None else paint)
    return paints
