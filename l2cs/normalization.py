"""Data normalisation: a photo of a head, its landmarks and its gaze, as a virtual camera sees them (Zhang et al. 2018).

The virtual camera looks straight at the centre of the face, its x axis is in one plane with that of the head (so that
the head has no roll), and it stands at a fixed distance. Photos of any camera then show heads alike.

Frames. All are right-handed with x right, y down and z forward, as OpenCV has them; lengths are mm.

    camera        that of the photo: camera matrix C; points of the photo are undistorted first
    normalised    turned by R: v -> R v. Labels, gaze and head pose, are always in this frame
    picture       what the virtual camera sees: p -> W p with W = C_n S R C^-1

S = diag(1, 1, distance / |centre|) scales the picture so that the head seems to be at that distance. S changes pictures
and landmarks, never a label: S R is no rotation. (Sugano et al. 2014 scaled labels too; Zhang et al. 2018 correct it.)

Angles are (pitch, yaw), rad. Those of a head are taken from its forward axis that points into the head (the third
column of its rotation), those of a gaze from the negated gaze. So for both: positive pitch is up in the picture,
positive yaw is toward the image's left, and a head or an eye that faces the camera has (0, 0). `l2cs.gaze_labels` has
the same signs, in the order (yaw, pitch).

Pixels count from the centre of the first one, as OpenCV's calibrations do.
"""

from dataclasses import dataclass

import numpy as np

from groundwork.opencv import opencv

FOCAL, DISTANCE, SIZE = 960.0, 300.0, 448  # px, mm, px: a face fills the picture
ROUNDS, CLOSE = 50, 1e-9  # of undoing a lens, each at least halves what is left; px
SMALLEST = 1e-9  # of a determinant or a sine, relative: below it a matrix or an angle says nothing


# ------------------------------------------------------------------ angles


def angles_of(vectors) -> np.ndarray:
    """Vectors [..., 3] of any length -> (pitch, yaw) rad [..., 2]; the inverse of `vectors_of`."""
    v = np.asarray(vectors, dtype=np.float64)
    v = v / np.linalg.norm(v, axis=-1, keepdims=True)
    return np.stack([np.arcsin(np.clip(v[..., 1], -1, 1)), np.arctan2(v[..., 0], v[..., 2])], axis=-1)


def vectors_of(angles) -> np.ndarray:
    """(pitch, yaw) rad [..., 2] -> unit vectors (cos p sin y, sin p, cos p cos y) [..., 3]."""
    pitch, yaw = np.moveaxis(np.asarray(angles, dtype=np.float64), -1, 0)
    return np.stack([np.cos(pitch) * np.sin(yaw), np.sin(pitch), np.cos(pitch) * np.cos(yaw)], axis=-1)


def gaze_angles(gaze) -> np.ndarray:
    """Directions of gaze [..., 3] of any length, from the eye to what it looks at -> (pitch, yaw) rad [..., 2]."""
    return angles_of(-np.asarray(gaze, dtype=np.float64))


def head_angles(rotation) -> np.ndarray:
    """Head rotations [..., 3, 3], head to camera -> (pitch, yaw) rad [..., 2], whatever the roll."""
    return angles_of(np.asarray(rotation)[..., :, 2])


def roll_of(rotation) -> np.ndarray:
    """Head rotations [..., 3, 3] -> roll [...], rad: rotation = rotation_of(head_angles(rotation)) Rz(roll)."""
    rotation = np.asarray(rotation, dtype=np.float64)
    rolled = np.swapaxes(rotation_of(head_angles(rotation)), -1, -2) @ rotation
    return np.arctan2(rolled[..., 1, 0], rolled[..., 0, 0])


def rotation_of(angles) -> np.ndarray:
    """(pitch, yaw) rad [..., 2] -> the rotation Ry(yaw) Rx(-pitch) [..., 3, 3] of a head without roll.

    Its third column is `vectors_of(angles)`.
    """
    angles = np.asarray(angles, dtype=np.float64)
    (sp, sy), (cp, cy) = (np.moveaxis(f(angles), -1, 0) for f in (np.sin, np.cos))
    rows = [[cy, -sy * sp, sy * cp], [np.zeros_like(cp), cp, sp], [-sy, -cy * sp, cy * cp]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def angular_error(a, b) -> np.ndarray:
    """Angle between vectors a and b, each [..., 3], in degrees [...]."""
    a, b = (np.asarray(v, dtype=np.float64) for v in (a, b))
    cosine = (a * b).sum(axis=-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def looking_at(centre, x_axis) -> np.ndarray:
    """The rotation [3, 3] to a camera that looks at `centre` [3] and sees the axis `x_axis` [3] without roll.

    Rows: right, down, forward, with forward = centre / |centre|, down along forward x x_axis, right = down x forward.
    ValueError if the centre is the camera, or the axis points at the camera.
    """
    centre, x_axis = np.asarray(centre, dtype=np.float64), np.asarray(x_axis, dtype=np.float64)
    away, length = np.linalg.norm(centre), np.linalg.norm(x_axis)
    if not (np.isfinite(away + length) and min(away, length) > 0):
        raise ValueError("the centre of the face is at the camera, or is no number; check head pose and camera")
    forward, down = centre / away, np.cross(centre / away, x_axis / length)
    if np.linalg.norm(down) < SMALLEST:
        raise ValueError(
            "the x axis of the head points at the camera, so there is no upright view; check the head pose"
        )
    down /= np.linalg.norm(down)
    return np.stack([np.cross(down, forward), down, forward])


# ------------------------------------------------------------------ the virtual camera


@dataclass(frozen=True)
class Normalization:
    """One photo's way to the normalised picture, and back. Made by `normalization`.

    Attributes:
        rotation: R [3, 3], camera frame to normalised frame.
        scale: distance / |centre|.
        warp: W [3, 3], pixels of the undistorted photo to pixels of the picture.
        focal, distance: of the virtual camera, px and mm.
        size: (width, height) of the picture, px; its principal point is (width / 2, height / 2).
    """

    rotation: np.ndarray
    scale: float
    warp: np.ndarray
    focal: float
    distance: float
    size: tuple[int, int]

    @property
    def camera(self) -> np.ndarray:
        """C_n [3, 3], the matrix of the virtual camera."""
        return camera_matrix(self.focal, self.size)

    def image(self, photo: np.ndarray, camera=None, distortion=None) -> np.ndarray:
        """A photo [H, W] or [H, W, C] -> the picture [height, width(, C)]; black beyond the photo.

        camera, distortion: of a photo as its lens took it, C and OpenCV's coefficients; it is sampled once. Without
        them the photo is undistorted.
        """
        if not _has_lens(distortion):
            return _warped(photo, self.warp, self.size)
        camera = checked_camera(camera)
        return _through_lens(photo, camera, _coefficients(distortion), self.warp @ camera, self.size)

    def image_back(self, picture: np.ndarray, photo_size: tuple[int, int], camera=None, distortion=None) -> np.ndarray:
        """A picture -> where its pixels lie in the photo of (width, height) px; black elsewhere.

        camera, distortion: as in `image`.
        """
        if not _has_lens(distortion):
            return _warped(picture, np.linalg.inv(self.warp), photo_size)
        photo = np.zeros((photo_size[1], photo_size[0], *picture.shape[2:]), picture.dtype)
        rim = distorted_points(self.points_back(_rim(self.size)), camera, distortion)
        (left, top), (right, bottom) = np.floor(rim.min(axis=0)), np.ceil(rim.max(axis=0)) + 1
        left, right = (int(np.clip(x, 0, photo_size[0])) for x in (left, right))
        top, bottom = (int(np.clip(y, 0, photo_size[1])) for y in (top, bottom))
        if left < right and top < bottom:
            pixels = _grid((right - left, bottom - top)) + (left, top)
            straight = undistorted_points(pixels, camera, distortion)
            photo[top:bottom, left:right] = _sampled(picture, self.points(straight))
        return photo

    def points(self, points) -> np.ndarray:
        """Pixels [..., 2] of the undistorted photo -> pixels of the picture."""
        return _projected(points, self.warp)

    def points_back(self, points) -> np.ndarray:
        """Pixels [..., 2] of the picture -> pixels of the undistorted photo."""
        return _projected(points, np.linalg.inv(self.warp))

    def direction(self, vectors) -> np.ndarray:
        """Directions [..., 3], as of a gaze, in the camera frame -> in the normalised frame. Turned, never scaled."""
        return np.asarray(vectors, dtype=np.float64) @ self.rotation.T

    def direction_back(self, vectors) -> np.ndarray:
        """Directions [..., 3] in the normalised frame -> in the camera frame."""
        return np.asarray(vectors, dtype=np.float64) @ self.rotation

    def head(self, rotation) -> np.ndarray:
        """The head's rotation [3, 3] in the camera frame -> in the normalised frame, where it has no roll."""
        return self.rotation @ np.asarray(rotation, dtype=np.float64)

    def head_back(self, rotation) -> np.ndarray:
        """The head's rotation [3, 3] in the normalised frame -> in the camera frame."""
        return self.rotation.T @ np.asarray(rotation, dtype=np.float64)


def normalization(
    camera, head_rotation, centre, focal: float = FOCAL, distance: float = DISTANCE, size: int | tuple[int, int] = SIZE
) -> Normalization:
    """The normalisation of one head in one photo.

    Args:
        camera: C [3, 3] of the photo, px.
        head_rotation: H [3, 3], head to camera.
        centre: [3], mm, camera frame: of the face, or of an eye for a picture of that eye.
        focal, distance: of the virtual camera, px and mm. size: of the picture, px; one number or (width, height).
    Errors: ValueError, one line, for a camera that cannot be inverted, for a centre that is not before the camera, and
        for numbers that are not finite.
    """
    camera, head_rotation, centre = checked_camera(camera), rotation_matrix(head_rotation), _three(centre)
    size = (size, size) if isinstance(size, int) else tuple(size)
    if not (focal > 0 and distance > 0 and min(size) > 0):
        raise ValueError(f"focal {focal:g} px, distance {distance:g} mm and size {size} px must be above 0")
    if centre[2] <= 0:
        raise ValueError(f"the centre of the face lies behind the camera (z = {centre[2]:.4g} mm); check the head pose")
    rotation = looking_at(centre, head_rotation[:, 0])
    return virtual_camera(camera, rotation, distance / np.linalg.norm(centre), focal, distance, size)


def virtual_camera(
    camera, rotation, scale: float, focal: float, distance: float, size: tuple[int, int]
) -> Normalization:
    """The normalisation whose R [3, 3] and scale are known, as from a file: W = C_n S R C^-1."""
    camera, rotation = checked_camera(camera), rotation_matrix(rotation)
    warp = camera_matrix(focal, size) @ np.diag([1, 1, scale]) @ rotation @ np.linalg.inv(camera)
    return Normalization(rotation, float(scale), warp, float(focal), float(distance), size)


def camera_matrix(focal: float, size: tuple[int, int]) -> np.ndarray:
    """[3, 3] of a pinhole camera whose principal point is (width / 2, height / 2), as published."""
    return np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]], dtype=np.float64)


# ------------------------------------------------------------------ lenses


def undistorted(photo: np.ndarray, camera, distortion) -> np.ndarray:
    """A photo without the distortion of its lens, by the same camera matrix. distortion: OpenCV's 4 to 14 numbers."""
    camera, lens = checked_camera(camera), _coefficients(distortion)
    if camera[0, 1]:  # which OpenCV's function leaves out
        return _through_lens(photo, camera, lens, camera, photo.shape[1::-1])
    return opencv().undistort(photo, camera, lens)


def _through_lens(photo, camera, lens, seen_by, size: tuple[int, int]) -> np.ndarray:
    """A photo as its lens took it -> the picture [height, width(, C)] of a camera [3, 3] without one.

    A pixel p of the picture is seen along seen_by^-1 p, in the frame of the photo's camera.
    """
    cv2 = opencv()
    right, down = cv2.initUndistortRectifyMap(camera, lens, np.eye(3), seen_by, size, cv2.CV_32FC1)
    if camera[0, 1]:
        right = np.float32(right + camera[0, 1] / camera[1, 1] * (down - camera[1, 2]))
    return cv2.remap(photo, right, down, cv2.INTER_LINEAR)


def undistorted_points(points, camera, distortion) -> np.ndarray:
    """Pixels [..., 2] of a photo -> where they lie in the undistorted photo."""
    camera, lens, cv2 = checked_camera(camera), _coefficients(distortion), opencv()
    points, skewed = _skewed(np.asarray(points, dtype=np.float64), camera, -1), camera
    camera = camera * ((1, 0, 1), (0, 1, 1), (0, 0, 1))
    straight = cv2.undistortPoints(points.reshape(-1, 1, 2), camera, lens, P=camera).reshape(points.shape)
    # OpenCV stops after 5 rounds, which leaves up to half a pixel at the edge of a wide lens. How more are asked for
    # depends on its version, so the rest is done here.
    for _ in range(ROUNDS):
        left = points - distorted_points(straight, camera, lens)
        straight = straight + left
        if not np.abs(left).max(initial=0) > CLOSE:
            break
    return _skewed(straight, skewed, 1)


def distorted_points(points, camera, distortion) -> np.ndarray:
    """Pixels [..., 2] of the undistorted photo -> where they lie in the photo."""
    points, camera = np.asarray(points, dtype=np.float64), checked_camera(camera)
    rays = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1) @ np.linalg.inv(camera).T
    moved, _ = opencv().projectPoints(
        rays.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), camera, _coefficients(distortion)
    )
    return _skewed(moved.reshape(points.shape), camera, 1)


def _skewed(points: np.ndarray, camera: np.ndarray, sign: int) -> np.ndarray:
    """Pixels [..., 2] with the skew of a camera added (sign 1) or taken away (-1): OpenCV's functions know none."""
    if not camera[0, 1]:
        return points
    moved = points.copy()
    moved[..., 0] += sign * camera[0, 1] / camera[1, 1] * (points[..., 1] - camera[1, 2])
    return moved


# ------------------------------------------------------------------ what is read is checked


def checked_camera(camera) -> np.ndarray:
    """A camera matrix [3, 3] as float64; ValueError if it is none."""
    camera = np.asarray(camera, dtype=np.float64)
    if camera.shape != (3, 3) or not np.isfinite(camera).all():
        raise ValueError(f"a camera matrix must be 3 x 3 finite numbers, this one is of shape {camera.shape}")
    if not np.allclose(camera[2], (0, 0, 1)) or min(camera[0, 0], camera[1, 1]) <= SMALLEST * np.abs(camera).max():
        raise ValueError(
            "a camera matrix must have focal lengths above 0 and the last row 0 0 1; check the camera file"
        )
    return camera


def rotation_vector(rotation) -> np.ndarray:
    """A rotation [3, 3] -> axis times angle [3], rad."""
    return opencv().Rodrigues(rotation_matrix(rotation))[0].reshape(3)


def rotation_matrix(value) -> np.ndarray:
    """A rotation, as a matrix [3, 3] or as a rotation vector [3] (axis times angle, rad) -> [3, 3]; ValueError."""
    value = np.asarray(value, dtype=np.float64)
    if not np.isfinite(value).all() or value.size not in (3, 9):
        raise ValueError(f"a rotation must be 3 or 9 finite numbers, this one is of shape {value.shape}")
    if value.size == 3:
        return opencv().Rodrigues(value.reshape(3))[0]
    value = value.reshape(3, 3)
    if np.abs(value @ value.T - np.eye(3)).max() > 1e-3 or np.linalg.det(value) < 0:
        raise ValueError(
            "a rotation matrix must have orthogonal rows of length 1, and no mirroring; check the head pose"
        )
    return value


def _three(value) -> np.ndarray:
    value = np.asarray(value, dtype=np.float64).reshape(-1)
    if value.shape != (3,) or not np.isfinite(value).all():
        raise ValueError(f"a point must be 3 finite numbers, this one is {value.tolist()}"[:200])
    return value


def _coefficients(distortion) -> np.ndarray:
    value = np.asarray(distortion, dtype=np.float64).reshape(-1)
    if value.size not in (4, 5, 8, 12, 14) or not np.isfinite(value).all():
        raise ValueError(f"a lens must have 4, 5, 8, 12 or 14 finite coefficients, this one has {value.size}")
    return value


def _has_lens(distortion) -> bool:
    return distortion is not None and bool(np.any(_coefficients(distortion)))


def _warped(image: np.ndarray, warp: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return opencv().warpPerspective(image, warp, tuple(size))


def _sampled(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """The image at pixels [height, width, 2], bilinear; black beyond it."""
    cv2 = opencv()
    return cv2.remap(image, *np.float32(np.moveaxis(pixels, -1, 0)), cv2.INTER_LINEAR)


def _grid(size: tuple[int, int]) -> np.ndarray:
    """x, y of every pixel [height, width, 2]."""
    return np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), axis=-1).astype(np.float64)


def _rim(size: tuple[int, int]) -> np.ndarray:
    """x, y of the outermost pixels [N, 2]."""
    grid = _grid(size)
    return np.concatenate([grid[0], grid[-1], grid[:, 0], grid[:, -1]])


def _projected(points, warp: np.ndarray) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64)
    moved = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1) @ warp.T
    return moved[..., :2] / moved[..., 2:]
