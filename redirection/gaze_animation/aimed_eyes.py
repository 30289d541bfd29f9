"""The map from degrees to gaze codes, bent for each face until painted eyes show what is asked for.

One map for all errs by some degrees: how far an iris is painted from the middle of the eye depends on face and head
pose. So a face is painted with five gazes, the eye reader (which is no judge) reads them, and a line is fitted to that.
What eyes show on the mean of all faces stays as `calibrating` has made it, so an offset of the reader does no harm.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from groundwork.archive import read_file
from groundwork.images import read_picture
from redirection.eye_reader import eye_reader
from redirection.face_reading import PatchReader, read_gaze
from redirection.gaze_animation.eye_paths import Aim, Calibration
from redirection.gaze_animation.level_faces import Placed
from redirection.gaze_animation.moving_eyes import MovedGaze, moved_frames
from redirection.gaze_animation.portrait_lists import Portraits
from redirection.gaze_animation.whole_faces import FaceEyes, Fates, Paint
from redirection.lid_points import LidSource

PROBES = np.array([(0.0, 0.0), (10.0, 0.0), (-10.0, 0.0), (0.0, 8.0), (0.0, -8.0)])  # yaw, pitch asked for, degrees
MOST_SHIFT = 10.0  # degrees; a face that would need more, or to move more than GAINS times as far, keeps the common map
GAINS = (0.4, 2.5)


def response(
    picture: np.ndarray, face: FaceEyes, animator, calibration: Calibration, reader: PatchReader, device="cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """What is read of painted eyes, in degrees, is (yaw, pitch, 1) @ the first [3, 2]; the second [2] is read of the
    picture as it is. face: lids must be known.

    ValueError, the reason, for eyes that are too small or outside the picture.
    """
    frames = [picture, *moved_frames(picture, [face], animator, PROBES, calibration, Fates(), device, closed=0)]
    place, size = Placed.of_eyes(face.eyes), animator.config.size  # level, and as fine in every picture
    lids = dict(zip("RL", place.to_portrait(face.lids, size), strict=True))
    read = read_gaze(reader, [place.cut(frame, size) for frame in frames], [lids] * len(frames)).gaze
    return np.linalg.lstsq(np.column_stack([PROBES, np.ones(len(PROBES))]), read[1:], rcond=None)[0], read[0]


def aimed(calibration: Calibration, own: np.ndarray, there: np.ndarray) -> Aim:
    """What a face with this response needs; the common map alone if the mean face is far from it."""
    mean, common = np.reshape(calibration.painted_reads, (3, 2)), Aim(calibration)
    if abs(np.linalg.det(own[:2])) < 1e-6 or calibration.code_at_camera is None:
        return common
    back = np.linalg.inv(own[:2])
    gains, shift = mean[:2] @ back, (mean[2] - own[2]) @ back  # degrees asked for @ gains + shift: what to ask instead
    if np.linalg.norm(shift) > MOST_SHIFT or not all(GAINS[0] < gain < GAINS[1] for gain in np.diag(gains)):
        return common
    matrix = np.reshape(calibration.code_per_degree, (2, 2))
    bent = replace(
        calibration,
        code_per_degree=tuple((matrix @ gains.T).ravel().tolist()),
        code_at_camera=tuple((calibration.code_at_camera + matrix @ shift).tolist()),
    )
    return Aim(bent, tuple(((there - mean[2]) @ np.linalg.inv(mean[:2])).tolist()))


def mean_response(
    animator, calibration: Calibration, portraits: Portraits, lids: LidSource, count: int, seed: int, device="cpu"
) -> Calibration:
    """The map with what is read of eyes that it paints: the mean over up to `count` of the portraits, by the seed.

    Eyes that are too small to read do not count; if there are no others, the map stays as it is. Errors: OSError.
    """
    rows, found = np.random.default_rng([seed, 19]).permutation(len(portraits))[:count], []
    for row in rows:
        file = portraits.files[row]
        picture = np.asarray(read_picture(read_file(file), str(file)))
        face = FaceEyes.of_lids(lids(picture, f"{portraits.domain}/{file.name}"))
        with contextlib.suppress(ValueError):
            found.append(response(picture, face, animator, calibration, eye_reader(), device)[0])
    if not found:
        return calibration
    return replace(calibration, painted_reads=tuple(np.mean(found, axis=0).ravel().tolist()))


def aims(
    picture: np.ndarray, faces: Sequence[FaceEyes], animator, calibration: Calibration | None, device="cpu"
) -> list[Aim] | None:
    """What each face of a picture needs; None if the weights do not say what painted eyes show on the mean."""
    if calibration is None or calibration.painted_reads is None:
        return None
    found = []
    for face in faces:
        try:
            read = None if face.lids is None else response(picture, face, animator, calibration, eye_reader(), device)
        except ValueError:  # too small, or outside: this face will not move
            read = None
        found.append(Aim(calibration) if read is None else aimed(calibration, *read))
    return found


def to_camera(
    picture: np.ndarray, faces: Sequence[FaceEyes], animator, calibration: Calibration | None, device="cpu"
) -> list[Paint]:
    """What paints the eyes of each face so that they look into the camera: Gy at the face's own code, or else Gx."""
    found = aims(picture, faces, animator, calibration, device)
    if found is None:
        return [animator.correct] * len(faces)
    paints = [MovedGaze(animator, calibration, own) for own in found]
    for paint in paints:
        paint.angles = (0.0, 0.0)
    return paints
