"""The frozen gaze estimator: images in, yaw and pitch in radians out, gradients to the images only."""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from groundwork.files import WORLD_WEIGHTS, how_made
from groundwork.strict_json import JsonError, read_json
from l2cs.decode import binning_of, decode
from l2cs.model import L2CS
from l2cs.preprocess import preprocess
from l2cs.weights import load_weights

WORLD_NETWORKS = {
    "embedded": WORLD_WEIGHTS / "gaze_loss.safetensors",
    "embedded-judge": WORLD_WEIGHTS / "gaze_judge.safetensors",
    "people": WORLD_WEIGHTS / "people_gaze_loss.safetensors",
    "people-judge": WORLD_WEIGHTS / "people_gaze_judge.safetensors",
}
CROP = "crop"  # the fact that names the crop of a picture that a network was trained on; none: the whole picture
FACE = "face"  # 2.1 distances of the eyes wide, as pictures of data normalisation are (140 mm at 300 mm)
MEASURED = "measured.json"  # such names end so, beside weights: what was measured on them later, by their hash
MIRROR_FACES = {  # world -> 16 rendered faces of varied gaze and head pose; people: in steps of 8 grey levels
    "cartoons": Path(__file__).resolve().parent / "data" / "mirror_faces.npz",
    "people": Path(__file__).resolve().parent / "data" / "mirror_people.npz",
}


class GazeAngles(NamedTuple):
    """Gaze as seen from the camera, both [N] in radians; the axes are drawn in `GazeEstimator`."""

    yaw: torch.Tensor
    pitch: torch.Tensor


class MirrorReport(NamedTuple):
    """Correlation of each angle between images and their mirror images; right are about -1 for yaw and +1 for pitch."""

    yaw_correlation: float
    pitch_correlation: float
    passed: bool


class GazeEstimator(nn.Module):
    """Frozen L2CS-Net with named angles.

    Axes, in the picture as the viewer sees it:

                     + pitch (up)                   (0, 0) looks into the camera.
                          ^                         The unit direction, in OpenCV camera axes (x right, y down,
                          |                         z away from the camera), is
        + yaw  <--------- o --------->  - yaw         g = (-cos(pitch) sin(yaw), -sin(pitch), -cos(pitch) cos(yaw)).
        (image left)      |        (image right)
                          v
                     - pitch (down)

    Always in evaluation mode, always float32 (under autocast too), parameters without gradient. Attributes: `sha256` of
    the weight file, `input_size` in pixels, `architecture`, `facts` (how the weights were trained, when the file says).
    """

    differentiable = True  # gradients reach the images, so that a loss can use it

    def __init__(self, model: L2CS, sha256: str = "", facts: dict | None = None):
        super().__init__()
        self.model = model.float().eval().requires_grad_(False)
        self.architecture = model.architecture
        self.input_size = model.architecture.input_size
        self.sha256 = sha256
        self.facts = facts or {}
        self._binning = binning_of(model.architecture.bins)
        super().train(False)

    @classmethod
    def load(cls, path_or_name: str | Path, device="cpu", check: bool = True) -> "GazeEstimator":
        """A name of WORLD_NETWORKS, a published L2CS-Net `.pkl` or one of our `.safetensors`.

        Unless `check` is off, weights that fail the mirror self-test on the bundled faces of each world cause a
        one-line warning.
        Errors: OSError or ValueError, one line that names the file.
        """
        path = WORLD_NETWORKS.get(str(path_or_name), Path(path_or_name))
        if str(path_or_name) in WORLD_NETWORKS and not path.is_file():
            raise ValueError(f"{path}: the embedded gaze network is missing; {how_made(path)}")
        model, facts, sha256 = load_weights(path)
        estimator = cls(model, sha256, {**facts, **measured_facts(path.parent, sha256)}).to(device)
        if check:
            sets = (estimator.as_cropped(mirror_faces(world)) for world in MIRROR_FACES)
            reports = (mirror_self_test(estimator, faces.to(device)) for faces in sets)
            if not any((report := one).passed for one in reports):  # a network reads the faces that it was made for
                warnings.warn(
                    f"{path}: mirrored faces should turn yaw's sign and keep pitch, but correlations are yaw "
                    f"{report.yaw_correlation:+.2f} (want -1) and pitch {report.pitch_correlation:+.2f} (want +1) on "
                    "the bundled rendered faces; run l2cs/demo.py --check on real ones before trusting these weights",
                    stacklevel=2,
                )
        return estimator

    def as_cropped(self, pictures: torch.Tensor) -> torch.Tensor:
        """Whole pictures [B, C, S, S] of embedded heads -> the part of them that this network was trained on."""
        side = pictures.shape[-1]
        face = slice(side * 14 // 64, side * 50 // 64)
        return pictures[..., face, face] if self.facts.get(CROP) == FACE else pictures

    def train(self, mode: bool = True) -> "GazeEstimator":
        """Stays in evaluation mode, whatever a surrounding module asks for."""
        return super().train(False)

    def forward(self, images: torch.Tensor) -> GazeAngles:
        """Images [N, 3, H, W] in [-1, 1], one face each -> angles [N] in radians."""
        with torch.autocast(images.device.type, enabled=False):
            yaw, pitch = self.model(preprocess(images.float(), self.input_size, self.architecture.window))
            return GazeAngles(decode(yaw, self._binning), decode(pitch, self._binning))


def gaze_vector(angles: GazeAngles) -> torch.Tensor:
    """Unit directions [N, 3] in OpenCV camera axes."""
    yaw, pitch = angles
    return torch.stack([-pitch.cos() * yaw.sin(), -pitch.sin(), -pitch.cos() * yaw.cos()], dim=-1)


def angular_error(a: GazeAngles, b: GazeAngles) -> torch.Tensor:
    """Angle between two gaze directions [N], radians.

    atan2(|a x b|, a . b) instead of acos(a . b), whose gradient is infinite where the two agree; the tiny floor inside
    the root makes the error at least 1e-6 rad and its gradient zero there.
    """
    u, v = gaze_vector(a), gaze_vector(b)
    cross = torch.linalg.cross(u, v, dim=-1).square().sum(dim=-1)
    return torch.atan2((cross + 1e-12).sqrt(), (u * v).sum(dim=-1))


def mirror_faces(world: str = "cartoons") -> torch.Tensor:
    """The bundled faces of an embedded world [16, 3, S, S] in [-1, 1]: 64 px of cartoons, 128 px of people."""
    with np.load(MIRROR_FACES[world]) as file:
        return torch.from_numpy(file["images"]).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def mirror_self_test(estimator, images: torch.Tensor) -> MirrorReport:
    """Does yaw change its sign, and pitch keep it, when the images [K >= 16, 3, H, W] are mirrored?

    A network whose heads are swapped, or that looks at nothing, fails. Passed: yaw's correlation below -0.5, pitch's
    above +0.5.
    """
    if len(images) < 16:
        raise ValueError(f"the mirror self-test needs at least 16 faces, got {len(images)}")
    straight = [torch.stack(estimator(batch)) for batch in images.split(32)]
    mirrored = [torch.stack(estimator(batch.flip(3))) for batch in images.split(32)]
    straight, mirrored = torch.cat(straight, dim=1), torch.cat(mirrored, dim=1)
    seen = ~(straight + mirrored).isnan().any(dim=0)
    if seen.sum() < 16:
        raise ValueError(f"the mirror self-test needs at least 16 faces, found {seen.sum()} in {len(images)} images")
    pairs = zip(straight[:, seen], mirrored[:, seen], strict=True)
    yaw, pitch = (_correlation(a, b) for a, b in pairs)
    return MirrorReport(yaw, pitch, yaw < -0.5 and pitch > 0.5)


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    return float((a @ b) / (a.norm() * b.norm()).clamp(min=1e-12))


def measured_facts(folder: Path, sha256: str) -> dict:
    """What a file in the folder says was measured on the weights of this hash; nothing without such a file or entry."""
    for path in sorted(folder.glob(f"*{MEASURED}")):
        try:
            entries = list(read_json(path)["gaze_networks"].values())
        except (JsonError, LookupError, TypeError, AttributeError, OSError):
            continue  # a file of somebody else, by chance of that name
        for one in entries:
            if isinstance(one, dict) and one.get("sha256") == sha256:
                return one
    return {}
