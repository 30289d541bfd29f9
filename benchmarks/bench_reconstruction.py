"""How far FaceMesh's reconstruction of a face is from the true one, on photos of a world, and what it costs."""

if __name__ == "__main__":
    from groundwork.early import begin

    begin()

import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch
from options import results_option
from scipy.spatial import cKDTree
from timing import write_results
from tqdm import tqdm

from dataset_preprocessing.nv_rendering.head_pose import LANDMARKS_6, MPII_MODEL, head_pose
from dataset_preprocessing.nv_rendering.mesh_files import Reconstruction
from dataset_preprocessing.nv_rendering.projective_matching import metric
from dataset_preprocessing.nv_rendering.reconstructing import photos_of, view_of
from dataset_preprocessing.nv_rendering.regressors import FaceMeshRegressor, NoFace, View
from dataset_preprocessing.nv_rendering.true_meshes import TrueMeshes
from dataset_preprocessing.synthetic.webcam import Webcam, write_photos
from eg3d.running.cli import Command, seed_option
from eg3d.world.photograph import TRUTH_FILE, read_shots
from eg3d.world.worlds import WORLDS
from groundwork.places import INPUT_FOLDER

ROUNDS = 15  # of nearest points and the best rigid motion
JAW = 17  # the first landmarks are the jaw's, which are defined by what a picture shows


@click.command(cls=Command)
@click.option("--photos", "folder", type=INPUT_FOLDER, help="Photos of make_mpii.py.  [default: 12 are made]")
@click.option("--world", type=click.Choice(WORLDS), default="people", show_default=True, help="Without --photos.")
@seed_option
@results_option
def main(folder, world, seed, results):
    """Distances in mm, point to plane, as placed by projective matching and after the best rigid motion."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        if folder is None:
            folder = Path(name) / "photos"
            write_photos(folder, Webcam(world, people=6, photos=2, seed=seed), progress=True)
        photos = photos_of(folder, Path(name))
        regressor, true = FaceMeshRegressor(), TrueMeshes(read_shots(folder / TRUTH_FILE))
        regressor(view_of(photos[0]))  # the surface is made once
        rows = []
        for photo in tqdm(photos, "photos"):
            view = view_of(photo)
            start = time.process_time()
            try:
                mesh = regressor(view)
            except NoFace as reason:
                click.echo(f"{photo.name}: {reason}")
                continue
            rows.append({"cpu_ms": 1000 * (time.process_time() - start)} | errors(mesh, true(view), view))
    numbers = {"photos": len(photos), "meshes": len(rows)} | {
        key: float(np.mean([row[key] for row in rows])) for key in rows[0]
    }
    for key, value in numbers.items():
        click.echo(f"{key:32} {value:.4g}")
    click.echo(f"written to {write_results(results, f'reconstruction-{world}', torch.device('cpu'), numbers)}")


def errors(mesh: Reconstruction, truth: Reconstruction, view: View) -> dict[str, float]:
    """Both meshes are placed by the head pose of the annotated landmarks, as novel views place them."""
    centre_points = head_pose(view.landmarks6, MPII_MODEL, view.camera).points(MPII_MODEL)

    def placed(of: Reconstruction, points: np.ndarray) -> np.ndarray:
        return metric(points, of.landmarks, of.crop, view.camera, centre_points)

    found, points = placed(mesh, mesh.vertices), placed(truth, truth.vertices)
    off = np.linalg.norm(placed(mesh, mesh.landmarks) - placed(truth, truth.landmarks), axis=1)
    tree, normals = cKDTree(points), normals_of(points, truth.faces)
    before = to_plane(found, tree, normals)
    moved = found
    for _ in range(ROUNDS):
        near = points[tree.query(moved)[1]]
        moved = (moved - moved.mean(axis=0)) @ rotation_between(moved, near).T + near.mean(axis=0)
    after, turn = to_plane(moved, tree, normals), rotation_between(found, moved)
    return {
        "placed_median_mm": float(np.median(before)), "placed_rms_mm": float(np.sqrt((before**2).mean())),
        "aligned_median_mm": float(np.median(after)), "aligned_rms_mm": float(np.sqrt((after**2).mean())),
        "aligned_by_deg": float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))),
        "inner_landmarks_mm": float(off[JAW:].mean()), "six_landmarks_mm": float(off[list(LANDMARKS_6)].mean()),
    }  # fmt: skip


def to_plane(points: np.ndarray, tree: cKDTree, normals: np.ndarray) -> np.ndarray:
    """Distances [N] from the planes of the nearest vertices."""
    near = tree.query(points)[1]
    return np.abs(((points - tree.data[near]) * normals[near]).sum(axis=1))


def normals_of(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals [V, 3]."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    sums = np.zeros_like(points)
    for k in range(3):
        np.add.at(sums, faces[:, k], np.cross(b - a, c - a))
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def rotation_between(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The rotation [3, 3] that takes points [N, 3], from their middle, nearest to others."""
    products = (others - others.mean(axis=0)).T @ (points - points.mean(axis=0))
    u, _, vh = np.linalg.svd(products)
    return u @ np.diag([1, 1, np.linalg.det(u @ vh)]) @ vh


if __name__ == "__main__":
    main()
