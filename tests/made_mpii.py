"""A small set in MPIIFaceGaze's layout with reconstructions, of made-up faces with known pose and gaze.

The face is the front of an ellipsoid, in colours that tell where they are. Its six landmarks are those of the published
face model, so that the head pose is exact.
"""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from dataset_preprocessing.nv_rendering import mpii_layout
from dataset_preprocessing.nv_rendering.head_pose import LANDMARKS_6, MPII_MODEL
from dataset_preprocessing.nv_rendering.mesh_files import Reconstruction, write_reconstruction
from l2cs.normalization import rotation_of

CAMERA = np.array([[1000.0, 0, 640], [0, 1000, 360], [0, 0, 1]])
RADII = np.array([72.0, 95.0, 60.0])
MIDDLE = np.array([0.0, 22.0, 58.0])  # of the ellipsoid, mm in the frame of the face model
CROP_SCALE = 1.5  # px of the photo for a pixel of the crop


def front_of_ellipsoid(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] mm, faces [F, 3]."""
    across = np.linspace(-1.45, 1.45, steps)
    yaw, pitch = (grid.ravel() for grid in np.meshgrid(across, across))
    points = np.stack([np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)], axis=1)
    at = np.arange(steps * steps).reshape(steps, steps)
    a, b, c, d = (part.ravel() for part in (at[:-1, :-1], at[:-1, 1:], at[1:, :-1], at[1:, 1:]))
    return points * RADII + MIDDLE, np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]).astype(np.int32)


def landmarks_mm() -> np.ndarray:
    """68 points [68, 3]: jaw and brows round the face, the six of the face model, the rest at its centre."""
    points = np.tile(MPII_MODEL.mean(axis=0), (68, 1))
    angles = np.linspace(np.pi, 0, 17)  # from the subject's right, image left, over the chin
    points[:17] = np.stack([-62 * np.cos(np.pi - angles), 30 + 75 * np.sin(angles), np.full(17, 30.0)], axis=1)
    points[17:27] = np.stack([np.linspace(-50, 50, 10), np.full(10, -25.0), np.full(10, 5.0)], axis=1)
    points[list(LANDMARKS_6)] = MPII_MODEL
    return points


def made_pose(draws: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Head to camera: rotation [3, 3] within 15 degrees, translation [3] mm."""
    return rotation_of(draws.uniform(-0.25, 0.25, 2)), draws.uniform((-40, -30, 520), (40, 30, 620))


def in_crop_space(points: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """Camera frame [V, 3] mm -> pixels of the crop, z larger = further."""
    places = points @ (crop @ CAMERA).T
    depth = (np.linalg.norm(points, axis=1) - 560) * CAMERA[0, 0] / (560 * CROP_SCALE)
    return np.column_stack([places[:, :2] / places[:, 2:], depth])


def write_made_set(folder: Path, people: int = 2, rows: int = 3, steps: int = 20, seed: int = 0) -> Path:
    """Writes raw/, obj/ and config_path.yaml, and gives the last one's place."""
    vertices, faces = front_of_ellipsoid(steps)
    colours = np.clip(np.rint((vertices - MIDDLE) / RADII * 110 + 128), 0, 255).astype(np.uint8)
    for number in range(people):
        person, lines = f"p{number:02}", []
        for row in range(rows):
            draws = np.random.default_rng([seed, number, row])
            rotation, translation = made_pose(draws)
            place = [points @ rotation.T + translation for points in (vertices, landmarks_mm())]
            pixels = place[1][:, :2] / place[1][:, 2:] * 1000 + CAMERA[:2, 2]
            corner = pixels.min(axis=0) - 30
            crop = np.array([[1 / CROP_SCALE, 0, -corner[0] / CROP_SCALE],
                             [0, 1 / CROP_SCALE, -corner[1] / CROP_SCALE], [0, 0, 1]])  # fmt: skip
            name = f"{person}/day{row % 2 + 1:02}/{row:04}.jpg"
            centre = (MPII_MODEL @ rotation.T + translation).mean(axis=0)
            lines.append(
                mpii_layout.PhotoRow(
                    name, person, pixels[list(LANDMARKS_6)], centre + draws.normal(0, 40, 3) - (0, 0, 400),
                    Rotation.from_matrix(rotation).as_rotvec(), translation, centre, "left",
                )
            )  # fmt: skip
            mesh = Reconstruction(in_crop_space(place[0], crop), colours, faces, in_crop_space(place[1], crop), crop)
            write_reconstruction(folder / "obj" / name.removesuffix(".jpg"), mesh)
        mpii_layout.write_person(folder / "raw", person, lines, mpii_layout.Camera(CAMERA))
    settings = folder / "config_path.yaml"
    settings.write_text(
        "data:\n  mpii:\n    raw: raw\n    obj: obj\n"
        "model:\n  target_pose:\n    number_new_views: 2\n    mode: range\n    pitch: [-20, 20]\n    yaw: [-50, 50]\n"
        "  variants: {picture: 0, picture_dark: 0}\n  light: {directional: [0, 0.5]}\noutput: {side: 32, drawn: 64}\n"
    )
    return settings


def write_supplement(folder: Path) -> list[str]:
    """Adds what `legacy` needs to a made set: 68 landmarks of each photo, and a face model. Gives overrides."""
    for person in mpii_layout.people(folder / "raw"):
        rows = []
        for line in mpii_layout.read_person(folder / "raw", person):
            turn = Rotation.from_rotvec(line.rotation).as_matrix()
            points = landmarks_mm() @ turn.T + line.translation
            pixels = points[:, :2] / points[:, 2:] * 1000 + CAMERA[:2, 2]
            camera = mpii_layout.Camera(CAMERA)
            rows.append(mpii_layout.SourceRow(line.name, line.gaze_target, camera, np.zeros(6), pixels))
        mpii_layout.write_sources(folder / "source_supply", person, rows)
    np.savetxt(folder / "OpenFace.txt", landmarks_mm())
    return [f"misc.openface_path={folder / 'OpenFace.txt'}", f"supplementary.mpii.source={folder / 'source_supply'}"]
