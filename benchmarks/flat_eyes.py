"""The true meshes of an exported world with eyes painted flat on the face, as a mesh fitted to a photo has them.

Seen from the photo's camera nothing changes. Turned, such an eye keeps the look that it had in the photo, while a ball
behind lids does not; what this costs is measured in novel_views_claim.py.
"""

from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset_preprocessing.nv_rendering.face_mask import inside
from dataset_preprocessing.nv_rendering.mesh_files import is_written, write_reconstruction
from dataset_preprocessing.nv_rendering.true_meshes import seen
from eg3d.world.painted_mesh import true_mesh
from eg3d.world.photograph import Shot, pose_of, read_shots
from eg3d.world.render import EYE_AT_LEFT
from groundwork.workers import in_processes

LIDS = (slice(36, 42), slice(42, 48))  # landmarks of the eye at the image's left, and of the other
BEYOND = 1.1  # of the lids' outline, which is stretched by it: the eye reaches below its rim


def write_flat_meshes(photos: Path, out: Path, processes: int = 2) -> None:
    """A mesh for each photo of `make_mpii.py`'s folder, where it is missing."""
    shots = read_shots(photos / "world.json")
    missing = [name for name in shots if not is_written(_stem(out, name))]
    done = in_processes(partial(_write, out=out), [(name, shots[name]) for name in missing], processes, at_once=1)
    for _ in tqdm(done, "meshes with flat eyes", len(missing), unit="photo"):
        pass


def _stem(out: Path, name: str) -> Path:
    return out / Path(name).with_suffix("")


def _write(named: tuple[str, Shot], out: Path) -> None:
    name, shot = named
    mesh, (rotation, translation) = true_mesh(shot), pose_of(shot)
    vertices, landmarks = (points @ rotation.T + translation for points in (mesh.vertices, mesh.landmarks))
    centres = mesh.eye_centres @ rotation.T + translation
    flat = flattened(vertices, mesh.part, landmarks, centres)
    write_reconstruction(
        _stem(out, name), seen(flat, landmarks, mesh.colours, mesh.faces, np.reshape(shot.matrix, (3, 3)))
    )


def flattened(vertices, part, landmarks, centres) -> np.ndarray:
    """The vertices [V, 3] with the front of each eyeball moved, along the rays from the camera, onto a plane.

    The plane is the one nearest to the eye's six landmarks of the lids; what is moved is seen between the lids.
    Args: part [V], as of `PaintedMesh`; landmarks [68, 3] and centres [2, 3], all in the camera's frame, mm.
    """
    flat = np.array(vertices, np.float64)
    for number, (lids, centre) in enumerate(zip(LIDS, centres, strict=True)):
        rim = landmarks[lids]
        middle = rim.mean(axis=0)
        normal = np.linalg.svd(rim - middle)[2][2]
        outline = rim[:, :2] / rim[:, 2:]
        outline = outline.mean(axis=0) + BEYOND * (outline - outline.mean(axis=0))
        front = ((vertices - centre) * vertices).sum(axis=1) < 0
        between = inside(vertices[:, :2] / vertices[:, 2:], outline)
        moved = (np.asarray(part) == EYE_AT_LEFT + number) & front & between
        flat[moved] *= ((normal @ middle) / (flat[moved] @ normal))[:, None]
    return flat
