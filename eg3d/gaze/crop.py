"""The face crop: where an FFHQ face lies in a picture, from the picture's camera alone.

`CROPS` is the table behind `--gaze-crop` and `--crop`: a new crop is a function and a row here. A gaze network's file
may ask for one, as those do that were trained on normalised faces (`l2cs/train.py --dataset=views`).
"""

import torch
import torch.nn.functional as F

from eg3d.geometry.cameras import split_label
from l2cs.estimator import CROP

# A canonical face in world units, from the mean landmarks of the 512 px FFHQ crop (eyes (188, 192) and (324, 192),
# mouth corners at row 340) put at the depth of the pivot, z = 0.2: pixel offset / 512 * 2.5 / 4.2647.
FACE_CENTRE = (0.0, -0.0114, 0.2)
FACE_WIDTH = 2.1 * 0.1557  # 2.1 x the distance of the eyes


def whole(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The images as they are."""
    del labels
    return images


def crop_face(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Square crops [N, 3, S, S] of the face, S fixed by the image size; differentiable in the images.

    The box lies round the projection of a canonical FFHQ face into each label's camera, 2.1 eye distances wide, at
    about the image's own resolution. Outside the image the edge repeats.
    """
    cam2world, intrinsics = split_label(labels.to(images.device, torch.float32))
    centre = torch.tensor(FACE_CENTRE, device=images.device) - cam2world[:, :3, 3]
    x, y, depth = (cam2world[:, :3, :3] * centre[:, :, None]).sum(dim=1).unbind(dim=1)  # camera frame
    homogeneous = torch.stack([x / depth, y / depth, torch.ones_like(depth)], dim=1)
    uv = (intrinsics @ homogeneous[:, :, None])[:, :2, 0]  # 0..1 across the image
    width = FACE_WIDTH * intrinsics[:, [0, 1], [0, 1]] / depth[:, None]  # [N, 2], fraction of the image
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0], theta[:, 1, 1] = width[:, 0], width[:, 1]
    theta[:, :, 2] = 2 * uv - 1
    side = max(8, round(0.56 * images.shape[-1]))  # the box of a frontal camera at radius 2.7
    grid = F.affine_grid(theta, [len(images), images.shape[1], side, side], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


CROPS = {"none": whole, "face": crop_face}


def crop_for(network, crop: str) -> str:
    """Which row of CROPS makes what `network` looks at: the one of this name, or, for none, the network's own.

    The network's own is the fact "crop"; a name that is no row of CROPS is of another program and is passed over.
    ValueError for a crop before a network that has a window, which is a part of the whole picture.
    """
    window = getattr(getattr(network, "architecture", None), "window", "all")
    if crop != "none" and window != "all":
        raise ValueError(f"crop {crop}: this gaze network looks at the {window} of whole pictures; use crop none")
    own = getattr(network, "facts", {}).get(CROP, "none")
    return own if crop == "none" and isinstance(own, str) and own in CROPS else crop
