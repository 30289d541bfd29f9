"""Frames of eyes that turn by given angles from wherever they look: DeepWarp needs to know the difference alone."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from redirection.deepwarp.warp_redirector import WarpRedirector
from redirection.eye_patches import EyeSquare
from redirection.lid_points import NoLids, load_lids


def turned_by(frames: int, furthest_deg: float) -> torch.Tensor:
    """P, V, H in degrees [frames, 3]: V from -furthest to furthest."""
    by = torch.zeros(frames, 3)
    by[:, 1] = torch.linspace(-furthest_deg, furthest_deg, frames)
    return by


def patch_frames(
    redirector: WarpRedirector, patch: np.ndarray, by: torch.Tensor
) -> tuple[np.ndarray, list[np.ndarray]]:
    """(the patch at the network's size, a frame for each row of `by` [frames, 3]), uint8 [S, S, 3]."""
    if patch.shape[0] != patch.shape[1]:
        raise ValueError(f"the patch is {patch.shape[1]}x{patch.shape[0]}, patches are square; cut it by crop_eyes.py")
    before = np.asarray(Image.fromarray(patch).resize((redirector.size, redirector.size), Image.Resampling.BICUBIC))
    patches = torch.from_numpy(before.copy()).permute(2, 0, 1).expand(len(by), -1, -1, -1)
    drawn = redirector.redirect(patches, torch.zeros(len(by), 3), by)
    return before, list(drawn.permute(0, 2, 3, 1).numpy())


def face_frames(
    redirector: WarpRedirector, picture: np.ndarray, source: Path, by: torch.Tensor, landmarks: str, device
) -> list[np.ndarray]:
    """The whole picture for each row of `by`, with both eyes turned. ValueError, one line, for one without a face."""
    try:
        points = load_lids(landmarks, [source.name], device)(picture, source.name)
    except NoLids as reason:
        raise ValueError(f"{source}: {reason}; give a photo of a face, or a patch named ..._L.png") from None
    frames = [picture] * len(by)
    for eye in "RL":
        square = EyeSquare.of_lids(points[eye], eye)
        before, after = patch_frames(redirector, square.cut(picture, redirector.size), by)
        frames = [square.paste(frame, before, one) for frame, one in zip(frames, after, strict=True)]
    return frames
