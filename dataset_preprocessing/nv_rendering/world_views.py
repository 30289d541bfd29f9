"""Novel views of an embedded world from end to end, with known truth: photos, meshes, views; how true labels are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_preprocessing.nv_rendering import mesh_files, reconstructing, source_views, view_run
from dataset_preprocessing.nv_rendering.mesh_pictures import Light, shrunk
from dataset_preprocessing.nv_rendering.reconstructing import view_of
from dataset_preprocessing.nv_rendering.source_views import Source
from dataset_preprocessing.nv_rendering.view_settings import ViewSettings, read_settings
from dataset_preprocessing.nv_rendering.view_sheets import sized, with_arrows
from dataset_preprocessing.synthetic.webcam import SOURCES, Webcam, write_photos
from eg3d.pictures.layout import side_by_side, stack
from eg3d.pictures.text import text_strip
from eg3d.world.photograph import TRUTH_FILE, read_shots, truth_of
from groundwork.files import atomic_write
from l2cs.normalization import angular_error, gaze_angles, head_angles, vectors_of
from l2cs.view_files import FULL, ViewFile

PHOTOS, MESHES, VIEWS, CONFIG = "photos", "meshes", "views", "config_path.yaml"
SIDE, TITLE = 112, 22  # px of a picture of the sheet, and of the line above it
GREY = (110.0, 110.0, 110.0)


@dataclass(frozen=True)
class Steps:
    """Where the parts of a run lie, and how large it is."""

    folder: Path
    webcam: Webcam
    views: int
    workers: int

    def photos(self) -> str:
        new = write_photos(self.folder / PHOTOS, self.webcam, self.workers)
        return f"{self.webcam.people * self.webcam.photos} photos of {self.webcam.people} people ({new} new)"

    def meshes(self) -> str:
        out, settings = (
            self.folder / MESHES,
            reconstructing.Settings(reconstructing.WORLD, truth=str(self.folder / PHOTOS / TRUTH_FILE)),
        )
        found = reconstructing.photos_of(self.folder / PHOTOS, out)
        reconstructing.check_settings(out, settings)
        new, faults = reconstructing.run(found, settings, out, mesh_files.ENDINGS, "cpu", self.workers)
        if faults:
            raise ValueError(f"no mesh of {next(iter(faults))}: {next(iter(faults.values()))}")
        return f"{len(found)} true meshes ({new} new)"

    def novel_views(self) -> str:
        report = view_run.render_all(self.settings(), self.folder / VIEWS, self.webcam.seed, self.workers,
                                     tell=lambda line: None)  # fmt: skip
        return f"{report.views} views ({report.made} sources made, {report.found} found done)"

    def settings(self) -> ViewSettings:
        """Those of the YAML file, which is written if it is not there."""
        path = self.folder / CONFIG
        if not path.exists():
            atomic_write(path, yaml_of(self.views).encode())
        return read_settings(path, [f"model.target_pose.number_new_views={self.views}"])


def yaml_of(views: int) -> str:
    """Settings for an exported world. Its photos are the backgrounds too, blurred beyond knowing."""
    return f"""\
data:
  mpii:
    raw: {PHOTOS}
    obj: {MESHES}
  background_path: {PHOTOS}
supplementary:
  mpii:
    source: {PHOTOS}/{SOURCES.as_posix()}
model:
  target_pose:
    number_new_views: {views}
    mode: range        # or xgaze-train, eyediap-cs, eyediap-ft with headpose_file; gaussian; list; grid
    pitch: [-40, 40]
    yaw: [-65, 65]
  light:
    ambient: [0.25, 0.75]
    directional: [0, 0.5]
"""


def truth_of_views(folder: Path) -> dict[str, float]:
    """Angles in degrees between what files say and what is true of the world's photos, over all views.

    gaze: stored, against that of the rendered eyes, turned as the view is; head: likewise for the head's third axis.
    """
    shots, gaze, head = read_shots(folder / PHOTOS / TRUTH_FILE), [], []
    for path in sorted((folder / VIEWS / FULL).glob("*.h5")):
        with ViewFile(path) as file:
            turns = file.table("rotation_matrix") @ file.table("face_mat_norm").astype(np.float64)
            truths = [truth_of(shots[name.decode()]) for name in file.table("file_name")]
            true_gaze = np.einsum("nij,nj->ni", turns, [truth.gaze for truth in truths])
            true_head = np.einsum("nij,nj->ni", turns, [truth.rotation[:, 2] for truth in truths])
            gaze.append(angular_error(true_gaze, -vectors_of(file.gaze())))
            head.append(angular_error(true_head, vectors_of(file.head_pose())))
    errors = {"gaze": np.concatenate(gaze), "head": np.concatenate(head)}
    return {f"{name}_{what}_deg": float(of(values)) for name, values in errors.items()
            for what, of in (("mean", np.mean), ("worst", np.max))}  # fmt: skip


def overview(settings: ViewSettings, folder: Path, people: Sequence[str], columns: int = 8) -> np.ndarray:
    """A sheet uint8 RGB: for each person the first photo, normalised; its mesh, not turned; novel views with arrows of
    gaze (red) and head (blue); and the masks of the views."""
    shown = range(min(columns, settings.model.target_pose.number_new_views))
    names = ["photo", "mesh", *(f"view {number}" for number in shown)]
    rows = [side_by_side([text_strip(SIDE, TITLE, name, 13, True) for name in names])]
    for person in people:
        source = source_views.sources_of(settings, person)[0]
        ready = source_views.placed(settings, source)
        with ViewFile(folder / VIEWS / FULL / f"{person}.h5") as file:
            views = [with_arrows(sized(file.images([row])[0], SIDE), file.gaze()[row], file.head_pose()[row])
                     for row in shown]  # fmt: skip
            masks = [sized(np.repeat(file.masks([row])[0][..., None], 3, axis=2), SIDE) for row in shown]
        rows.append(side_by_side([*_source_pictures(settings, source, ready), *views]))
        blank = np.full((SIDE, 2 * SIDE, 3), 255, np.uint8)
        rows.append(side_by_side([blank, *masks]))
    return stack(rows, gap=3)


def _source_pictures(settings: ViewSettings, source: Source, ready: source_views.Placed) -> list[np.ndarray]:
    """The normalised photo, and the mesh as the same camera sees it, with arrows."""
    root, out = Path(settings.data.mpii.raw), Path(settings.data.mpii.obj)
    photo = next(photo for photo in reconstructing.photos_of(root, out) if photo.name == source.name)
    normalised = ready.head.normalization.image(view_of(photo).photo)
    seen = ready.mesh.seen(np.eye(3), ready.head.centre)
    mesh = shrunk(ready.mesh.picture(seen, Light(), np.array(GREY)), SIDE)[..., ::-1]
    angles = gaze_angles(ready.head.gaze), head_angles(ready.head.rotation)
    return [with_arrows(sized(picture, SIDE), *angles) for picture in (normalised, mesh)]
