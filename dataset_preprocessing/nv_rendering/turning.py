"""Novel views of a reconstructed head: it is turned to new poses, and head pose and gaze turn with it.

(Qin, Shimoyama & Sugano 2022.) A view is two rotations about the centre of the face: Q takes the head, or
its gaze, to a target; R2 then takes out the roll, as data normalisation would of a photo of the turned head. Vertices,
landmarks, gaze and head pose all turn by R2 Q, so the labels are those of what is drawn.

`legacy=True` does what the published program does, for files that must equal its files:

* the head's distance is that of eye corners and nose wings, and its centre is not moved onto the optical axis. R2 then
  also turns the head by as much as it is beside the axis (0.5 to 1.6 degrees in our cases);
* roll is that of the landmarks of the eyes, not that of the head pose;
* the rotation in the file is Q, which does not take the gaze of the source to that of the view;
* head pose and face centre are found by six landmarks, also if they are annotated;
* the mesh is scaled in depth by a second face model, not so that it keeps its shape (`projective_matching.matching`);
* the head's angles come from a second head pose, of 68 landmarks and another face model, in a frame of its own.
"""

from dataclasses import dataclass

import numpy as np

from dataset_preprocessing.nv_rendering.head_pose import (
    LANDMARKS_6,
    MPII_MODEL,
    HeadPose,
    face_centre,
    head_pose,
    six_of,
)
from dataset_preprocessing.nv_rendering.projective_matching import metric
from dataset_preprocessing.nv_rendering.target_patterns import GAZE, Pattern, generator
from l2cs.normalization import (
    DISTANCE,
    Normalization,
    gaze_angles,
    head_angles,
    looking_at,
    normalization,
    roll_of,
    rotation_of,
)

MOST_DEG = 80.0  # of a new head's (pitch, yaw), as a norm: beyond it the face is hardly seen
ATTEMPTS = 1000  # for one view, before its pattern counts as one that does not fit
NOSE_AND_EYES = (36, 39, 42, 45, 31, 35)  # whose distance the published program sets


# ------------------------------------------------------------------ the source


@dataclass(frozen=True)
class SourceHead:
    """A head in the normalised frame, in front of the virtual camera, with its labels.

    Attributes:
        points: [V, 3] vertices, mm. landmarks: [68, 3], mm.
        rotation: [3, 3] of the head, without roll. gaze: [3], unit vector, from the face to what it looks at.
        normalization: of the photo; its `rotation` is what HDF5 files call face_mat_norm.
        legacy: as in the module's docstring.
    """

    points: np.ndarray
    landmarks: np.ndarray
    rotation: np.ndarray
    gaze: np.ndarray
    normalization: Normalization
    legacy: bool = False

    @property
    def centre(self) -> np.ndarray:
        """The point [3] about which the head turns: the mean of the six landmarks."""
        return six_of(self.landmarks).mean(axis=0)


def source_head(
    points, landmarks, crop, camera, landmarks6, gaze_target, model68=None, landmarks68=None, distance=DISTANCE,
    legacy=False, pose: HeadPose | None = None, centre=None,
) -> SourceHead:  # fmt: skip
    """A reconstruction and the facts of its photo -> the head in the normalised frame.

    Args:
        points, landmarks: [V, 3] and [68, 3] pixels of the crop, z larger = further.
        crop: A [3, 3], pixels of the photo to pixels of the crop. camera: C [3, 3] of the photo.
        landmarks6: [6, 2], pixels of the undistorted photo, annotated or detected.
        gaze_target: [3], camera frame, mm: what the person looks at.
        model68, landmarks68: for `legacy` alone: OpenFace's model [68, 3], and 68 landmarks [68, 2] of the photo.
        pose, centre: the annotated head pose, and face centre [3] mm, from which the gaze leads to the target. Without
            them, and in `legacy`, both are found by the landmarks, as in the published program.
    Errors: ValueError of one line, from the head pose, the normalisation or the matching.
    """
    if pose is None or legacy:
        pose, centre = head_pose(landmarks6, MPII_MODEL, camera), None
    second = pose
    if legacy:
        if model68 is None or landmarks68 is None:
            raise ValueError("legacy needs OpenFace's face model and 68 landmarks of the photo; give both")
        second = head_pose(landmarks68, model68, camera)
    return placed_head(points, landmarks, crop, camera, pose, gaze_target, second, model68, distance, legacy, centre)


def placed_head(
    points, landmarks, crop, camera, pose: HeadPose, gaze_target, second: HeadPose | None = None, model68=None,
    distance=DISTANCE, legacy=False, centre=None,
) -> SourceHead:  # fmt: skip
    """As `source_head`, if the head pose is known. second: the pose of 68 points, for `legacy` alone.

    centre: of the face; without it that of MPIIFaceGaze's model in this pose.
    """
    centre = face_centre(pose) if centre is None else np.asarray(centre, dtype=np.float64)
    target = np.asarray(gaze_target, dtype=np.float64).reshape(-1)
    if target.shape != (3,) or not np.isfinite(target).all() or np.array_equal(target, centre):
        raise ValueError("the gaze target must be three finite numbers, away from the face; check the annotation")
    view = normalization(camera, pose.rotation, centre, distance=distance)
    rotation, size = view.head(pose.rotation), None
    if legacy:
        own = normalization(camera, second.rotation, centre, distance=distance)
        rotation, size = rotation_of(head_angles(own.head(second.rotation))), six_of(model68)
    six = (MPII_MODEL - MPII_MODEL.mean(axis=0)) @ pose.rotation.T + centre
    placed = [metric(part, landmarks, crop, camera, six, size) for part in (points, landmarks)]
    gaze = view.direction(target - centre)
    return SourceHead(
        *to_normalized_frame(*placed, view.rotation, distance, legacy),
        rotation, gaze / np.linalg.norm(gaze), view, legacy,
    )  # fmt: skip


def to_normalized_frame(points, landmarks, rotation, distance=DISTANCE, legacy=False) -> tuple[np.ndarray, np.ndarray]:
    """Points [V, 3] and landmarks [68, 3] of the camera frame -> the normalised frame, mm.

    They are turned by R, and moved so that the centre of the six landmarks is at (0, 0, distance).
    legacy: so that eye corners and nose wings are at the distance, along the ray on which they are.
    """
    points, landmarks = np.asarray(points) @ rotation.T, np.asarray(landmarks) @ rotation.T
    if legacy:
        middle = landmarks[list(NOSE_AND_EYES)].mean(axis=0)
        move = middle * (distance / np.linalg.norm(middle) - 1)
    else:
        move = np.array([0.0, 0.0, distance]) - six_of(landmarks).mean(axis=0)
    return points + move, landmarks + move


# ------------------------------------------------------------------ the views


@dataclass(frozen=True)
class NewView:
    """One accepted view of a source.

    Attributes:
        turn: Q [3, 3], to the target. level: R2 [3, 3], which takes out the roll.
        centre: [3], mm, about which both turn.
        gaze: [3], unit vector; head: [3, 3]; both of the view, in its normalised frame.
        target: (pitch, yaw) rad that was asked for. Of a head it is met, if the source's centre is on the axis.
        attempts: draws that it took.
    """

    turn: np.ndarray
    level: np.ndarray
    centre: np.ndarray
    gaze: np.ndarray
    head: np.ndarray
    target: np.ndarray
    attempts: int = 1
    legacy: bool = False

    @property
    def rotation(self) -> np.ndarray:
        """R2 Q [3, 3]: takes gaze, head and vertices of the source to those of the view."""
        return self.level @ self.turn

    @property
    def stored_rotation(self) -> np.ndarray:
        """What the files call rotation_matrix: `rotation`; Q alone in `legacy`."""
        return self.turn if self.legacy else self.rotation

    @property
    def gaze_angles(self) -> np.ndarray:
        """(pitch, yaw) rad of the negated gaze: positive up and toward the image's left."""
        return gaze_angles(self.gaze)

    @property
    def head_angles(self) -> np.ndarray:
        """(pitch, yaw) rad of the head's forward axis."""
        return head_angles(self.head)

    @property
    def roll(self) -> float:
        """Roll of the head, rad; 0 but in `legacy`."""
        return float(roll_of(self.head))


def apply(view: NewView, points) -> np.ndarray:
    """Points [V, 3] of the source head -> the view, mm."""
    return (np.asarray(points) - view.centre) @ view.rotation.T + view.centre


def new_views(head: SourceHead, pattern: Pattern, seed: int, person: str, row: int, count: int) -> list[NewView]:
    """Views 0 to count - 1 of a source; see `new_view`."""
    return [new_view(head, pattern, seed, person, row, view) for view in range(count)]


def new_view(
    head: SourceHead, pattern: Pattern, seed: int, person: str, row: int, view: int, attempts: int = ATTEMPTS
) -> NewView:
    """One view of the source `row` of `person`; it depends on no other view.

    ValueError, naming row and pattern, if no target among so many gives a head within MOST_DEG.
    """
    rng, least = generator(seed, person, row, view), np.inf
    for attempt in range(1, (attempts if pattern.count is None else 1) + 1):
        target = pattern.draw(rng, view)
        made = turned(head, target, pattern.of == GAZE, attempt)
        beyond = np.degrees(np.linalg.norm(made.head_angles))
        if beyond <= MOST_DEG:
            return made
        least = min(least, beyond)
    tries = f"each of {attempts} targets"
    if pattern.count is not None:
        tries = f"its target {np.round(np.degrees(target), 1).tolist()} degrees"
    raise ValueError(
        f"{person}, row {row}, view {view}: {pattern}: {tries} turns the head by {least:.0f} degrees or more, at most "
        f"{MOST_DEG:g} are drawn; narrow the pattern, or leave this row out"
    )


def turned(head: SourceHead, target, gaze: bool = False, attempt: int = 1) -> NewView:
    """The view in which the head, or the gaze, has the angles `target` (pitch, yaw) rad, then without roll."""
    source = gaze_angles(head.gaze) if gaze else head_angles(head.rotation)
    turn, centre = rotation_of(target) @ rotation_of(source).T, head.centre
    rotation = turn @ head.rotation
    x_axis = _eye_line((head.landmarks - centre) @ turn.T) if head.legacy else rotation[:, 0]
    try:
        level = looking_at(centre, x_axis)
    except ValueError:  # seen from the side exactly: there is no roll to take out
        level = np.eye(3)
    target = np.asarray(target, dtype=np.float64)
    return NewView(turn, level, centre, level @ turn @ head.gaze, level @ rotation, target, attempt, head.legacy)


def _eye_line(landmarks: np.ndarray) -> np.ndarray:
    """From the middle of the right eye's corners to that of the left eye's."""
    six = landmarks[list(LANDMARKS_6)]
    return six[2:4].mean(axis=0) - six[:2].mean(axis=0)
