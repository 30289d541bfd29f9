"""Pictures -> camera labels, by Deep3DFaceRecon's regressor or by the network of an embedded world."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from dataset_preprocessing.ffhq import pos
from dataset_preprocessing.ffhq.cutting import SIDE
from dataset_preprocessing.ffhq.fitted_cameras import MODES, fitted_labels, lookat_labels
from dataset_preprocessing.ffhq.recon_net import load_recon
from eg3d.faces.face_mesh import PRESENT
from eg3d.faces.mesh_pose import MeshPose
from eg3d.geometry.cameras import mirror_label, split_label
from eg3d.metrics.align import usable
from eg3d.metrics.face_reader import read_twice
from eg3d.metrics.landmark_sources import MOST_DISAGREEMENT, READERS, load_reader, load_source
from eg3d.metrics.network_file import VERSION
from eg3d.metrics.pose import rotation_error


class Reading(NamedTuple):
    """A camera, label [25], and by how many degrees that of the mirrored picture differs."""

    label: torch.Tensor
    mirror_deg: float


class NoFace(Exception):
    """This picture gets no label; the text says why."""


class WorldPose:
    """The pose network of an embedded world; looks at the whole picture and needs no points."""

    def __init__(self, device="cpu", world: str = "embedded"):
        self.device, self.world, (self._reader, self.sha256) = device, world, load_reader(READERS[world], device)
        self.name, self.landmarks = f"{world} pose network v{VERSION}", "none"

    def prepare(self, picture: Image.Image, name: str) -> torch.Tensor:
        """A square picture -> what `labels` stacks; NoFace where there is none."""
        size = self._reader.architecture.input_size
        return F.interpolate(_tensor(picture)[None], (size, size), mode="bilinear", antialias=True)[0]

    @torch.no_grad()
    def labels(self, batch: torch.Tensor) -> list[torch.Tensor | str]:
        """Per row a label [25], or the reason why there is none."""
        reading, off = read_twice(self._reader, batch.to(self.device))
        labels = lookat_labels(reading.angles.cpu())
        reason = f"the {self.world} network reads its mirror image otherwise"
        return [reason if d > MOST_DISAGREEMENT else label for d, label in zip(off.tolist(), labels, strict=True)]


class ReconPose:
    """Deep3DFaceRecon's regressor on its own crop, which five points place."""

    def __init__(self, weights: Path, source, mode: str, device="cpu"):
        """source: `metrics.landmark_sources`; None: where EG3D's crops have the mean face."""
        self.device, self._source, self._mode = device, source, mode
        self._network, self.sha256 = load_recon(weights, device)
        self.name = f"Deep3DFaceRecon ({mode})"
        self.landmarks = "template (place of the face in EG3D's crops)" if source is None else source.name

    def prepare(self, picture: Image.Image, name: str) -> torch.Tensor:
        """A square picture -> the regressor's crop [3, 224, 224] in [0, 1]; NoFace where there is none."""
        points = pos.frontal_points(picture.width) if self._source is None else self._found(picture, name)
        try:
            crop = pos.crop(picture, pos.place(points, picture.height))
        except ValueError as error:
            raise NoFace(str(error)) from None
        return (_tensor(crop) + 1) / 2

    def _found(self, picture: Image.Image, name: str) -> np.ndarray:
        no_camera = torch.zeros(1, 25)  # sources that need one are not offered here
        points = self._source(_tensor(picture)[None].to(self.device), no_camera, [name]).cpu()
        if not usable(points, picture.height, picture.width)[0]:
            raise NoFace(f"no usable five points ({self.landmarks})")
        return points[0].double().numpy() - 0.5

    @torch.no_grad()
    def labels(self, batch: torch.Tensor) -> list[torch.Tensor | str]:
        """Per row a label [25], or the reason why there is none."""
        fit = self._network.fit(batch.to(self.device))
        labels = fitted_labels(fit.angles.cpu(), fit.translation.cpu(), self._mode)
        return [row if row.isfinite().all() else "the regressor gives numbers that are not finite" for row in labels]


class MeshCameras(MeshPose):
    """FaceMesh and a mean face; looks at a crop and its mirror image anyway."""

    def prepare(self, picture: Image.Image, name: str) -> torch.Tensor:
        """A square picture of any size -> what `labels` stacks."""
        small = picture if picture.width == SIDE else picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        return super().prepare(small, name)

    def readings(self, pictures: Sequence[Image.Image]) -> list[Reading | str]:
        read = self.read(torch.stack([self.prepare(picture, "") for picture in pictures]).to(self.device))
        return [
            Reading(label, degrees) if presence >= PRESENT else f"FaceMesh sees no face (presence {presence:.2f})"
            for label, degrees, presence in zip(
                read.labels.cpu(), read.disagreement_deg.tolist(), read.presence.tolist(), strict=True
            )
        ]


def load_pose_estimator(
    recon_weights: str | None, device, landmarks: str = "template", mode: str = "orig", mesh: bool = False
):
    """The estimator that flags of preprocess_in_the_wild.py ask for; None and `embedded` are the embedded network.

    ValueError if it has no cameras of this mode.
    """
    if mesh:
        return MeshCameras(device, mode)
    if (world := recon_weights or "embedded") in READERS:
        if mode != MODES[0]:
            raise ValueError(f"--mode={mode}: the {world} network's cameras are {MODES[0]}; leave it out, or give "
                             "--pose=mesh, or a file to --recon-weights")  # fmt: skip
        return WorldPose(device, world)
    source = None if landmarks == "template" else load_source(landmarks, device=device)
    return ReconPose(Path(recon_weights), source, mode, device)


def with_mirror_images(estimator, pictures: Sequence[Image.Image], names: Sequence[str]) -> list[Reading | str]:
    """A reading of each picture, or the reason why there is none."""
    if isinstance(estimator, MeshCameras):
        return estimator.readings(pictures)
    found: list[Reading | str] = [""] * len(pictures)
    inputs = {}
    for row, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        try:
            mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            inputs[row] = estimator.prepare(picture, name), estimator.prepare(mirrored, name)
        except NoFace as reason:
            found[row] = str(reason)
    if not inputs:
        return found
    plain, mirrored = (estimator.labels(torch.stack(batch)) for batch in zip(*inputs.values(), strict=True))
    for row, one, other in zip(inputs, plain, mirrored, strict=True):
        found[row] = next((said for said in (one, other) if isinstance(said, str)), None) or _compared(one, other)
    return found


def _compared(label: torch.Tensor, mirrored: torch.Tensor) -> Reading:
    """Both [25]; the second is that of the mirrored picture."""
    rotations = [split_label(rows)[0][:, :3, :3] for rows in (label[None], mirror_label(mirrored[None]))]
    return Reading(label, float(rotation_error(*rotations).rad2deg()))


def _tensor(picture: Image.Image) -> torch.Tensor:
    """RGB picture -> [3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1
