"""Gaze networks in ONNX files: they score, by onnxruntime on the CPU, and no gradient passes through them.

Files do not say what they want and give, so this is what is assumed, and what is found out on the bundled faces:

* One input [N, 3, S, S] or [N, S, S, 3], RGB. The picture is resized and normalised as for L2CS-Net
  (l2cs/preprocess.py). If the first nodes of the graph normalise, it gets bytes, 0 to 255, or [0, 1], and BGR if their
  numbers say so. If they do not tell, and the network reads the same in every face, it gets bytes. A warning says so.
* Two heads [N, 90] or [N, 28] are L2CS-Net's bins; one output [N, 2] is two angles in radians.
* Mirroring a face turns yaw's sign and keeps pitch: that tells the two apart, whatever they are called. If it does not,
  the first is taken for yaw, as in L2CS-Net, with a warning.
* Signs as drawn in `l2cs.estimator.GazeEstimator`. They cannot be found out here: look at one picture.
"""

import hashlib
import math
import warnings
from pathlib import Path

import torch

from groundwork.onnx_file import OnnxNetwork, scaled
from l2cs.decode import BINNINGS, decode
from l2cs.estimator import GazeAngles, mirror_faces, mirror_self_test
from l2cs.model import PUBLISHED_INPUT
from l2cs.preprocess import IMAGENET_MEAN, IMAGENET_STD, preprocess
from l2cs.weights import read_network_file

SAME = math.radians(1.0)  # readings of different faces that differ less are of a network that sees nothing


class OnnxGazeNetwork:
    """A `GazeNetwork` that only scores. `facts` say how the file was understood: `input` and `first`, see above."""

    differentiable = False

    def __init__(self, network: OnnxNetwork, path: Path, sha256: str):
        self.sha256, self.facts = sha256, {"input": "ImageNet", "first": "yaw"}
        self._network, self._path, self._side = network, path, network.side or PUBLISHED_INPUT

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> GazeAngles:
        """Images [N, 3, H, W] in [-1, 1] -> angles [N]."""
        x = preprocess(images.float(), self._side)
        if self.facts["input"] != "ImageNet":
            mean, std = (x.new_tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
            x = scaled((x * std + mean) * 2 - 1, self.facts["input"])
        first, second = self._angles(self._network(x))
        return GazeAngles(first, second) if self.facts["first"] == "yaw" else GazeAngles(second, first)

    def _angles(self, outputs: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The file's outputs as two angles [N], radians, in its order; ValueError for outputs of another form."""
        widths = [output.shape[1] if output.ndim == 2 else None for output in outputs]
        if widths == [2]:
            first, second = outputs[0].float().unbind(dim=1)
            return first, second
        if len(widths) == 2 and widths[0] == widths[1] and widths[0] in BINNINGS:
            first, second = (decode(output.float(), BINNINGS[widths[0]]) for output in outputs)
            return first, second
        shapes = " and ".join(str(list(output.shape)) for output in outputs)
        raise ValueError(
            f"{self._path}: gives {shapes}; a gaze network gives two heads of 90 or 28 bins each, or [N, 2] angles"
        )

    def find_input(self, faces: torch.Tensor) -> None:
        """Which scale it wants, if the graph does not tell; ValueError if it reads the same in all `faces` on all."""
        scales = (self._network.scale,) if self._network.scale else ("ImageNet", "bytes")
        for self.facts["input"] in scales:
            angles = torch.stack(self(faces))
            if angles.std(dim=1).amax() > SAME:
                break
        else:
            raise ValueError(
                f"{self._path}: reads the same gaze in every face, whether the picture is normalised as for L2CS-Net "
                "or given as bytes; export the file for one of these"
            )
        if self.facts["input"] != "ImageNet":
            order = ", blue first" if self._network.order == "bgr" else ""
            wants = f"takes {self.facts['input']}{order}, for it seems to normalise pictures inside"
            warnings.warn(f"{self._path}: {wants}", stacklevel=4)
        if (largest := angles.abs().max().item()) > math.pi:
            raise ValueError(f"{self._path}: gives angles up to {largest:.1f}; export the file with radians")

    def find_order(self, faces: torch.Tensor) -> None:
        """Which output is yaw, by mirrored `faces`; a warning if they do not tell."""
        for self.facts["first"] in ("yaw", "pitch"):
            if mirror_self_test(self, faces).passed:
                return
        self.facts["first"] = "yaw"
        warnings.warn(
            f"{self._path}: mirrored faces should turn the sign of yaw and keep pitch, but on the bundled rendered "
            "faces neither output does; the first is taken for yaw: try real faces before you trust this file",
            stacklevel=4,
        )


def load_onnx_network(name, device="cpu") -> OnnxGazeNetwork:
    """Reads the file and tries it on the bundled faces; ValueError, one line that names the file, if it will not do."""
    del device  # onnxruntime computes on the CPU; what is read is put where the images are
    path = Path(name)
    data = read_network_file(path)
    onnx, faces = OnnxNetwork(data, path, "a gaze network"), mirror_faces()
    network = OnnxGazeNetwork(onnx, path, hashlib.sha256(data).hexdigest())
    network.find_input(faces)
    network.find_order(faces)
    return network
