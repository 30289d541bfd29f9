"""What redirect.py is asked for, checked; and a patch or a whole face moved as it says."""

from pathlib import Path

import numpy as np
import torch

from groundwork.archive import read_file
from groundwork.images import read_picture
from redirection.attributes import ANGLES, NO_LABELS
from redirection.eye_patches import EyeSquare
from redirection.eye_reader import angles_shown
from redirection.interpgaze.gallery import gallery_of, load_gallery
from redirection.interpgaze.moves import looks_between, moved, way_to
from redirection.interpgaze.redirecting import PatchRedirector, check_reach
from redirection.lid_points import NoLids, load_lids
from redirection.patch_names import PatchName
from redirection.patch_sets import read_patches

LEAST_PATCH = 16  # px of a side
MIRRORED = {"P": -1, "V": 1, "H": -1}  # of the patch of a right eye


class Plan:
    """What is asked for, the same for both eyes of a face."""

    def __init__(self, redirector, device, references, reference, wanted, steps, o):
        self.redirector, self.device, self.wanted, self.steps = redirector, device, wanted, steps
        groups = redirector.config.groups
        self.order = branches_of(o["order"], "--order", groups.branches)
        if reference is None:
            gallery = load_gallery() if references is None else gallery_of(read_patches(references, "train", NO_LABELS))
            self.led = PatchRedirector(redirector, gallery, device)
        else:
            self.patches = reference_patches(reference, o["face"], redirector.config.size, o["landmarks"], device)
            chosen = branches_of(o["branch_idx"], "--branch_idx", groups.branches) or list(range(groups.branches - 1))
            self.v = torch.zeros(groups.branches)
            self.v[chosen] = torch.tensor(strengths_of(o["strength"] or "1", len(chosen)))

    def frames(self, patch: np.ndarray, eye: str, angles: dict[str, float] | None) -> tuple[np.ndarray, np.ndarray]:
        """Reconstruction and steps of one patch; angles: those of the photo. None: a network reads them."""
        if self.wanted is None:
            return moved(self.redirector, patch, self.patches[eye], way_to(self.v, self.steps, self.order), self.device)
        shown = read_angles(patch) if angles is None else _of_patch(angles, eye)
        here, there = (torch.tensor([its[a] for a in ANGLES]) for its in (shown, shown | _of_patch(self.wanted, eye)))
        check_reach(self.led.angles, self.redirector.config.groups, here, there)
        on_the_way = looks_between(here, there, self.redirector.config.groups, self.steps, self.order)
        looks = torch.cat([here[None], on_the_way])
        patches = torch.from_numpy(patch.copy()).permute(2, 0, 1).expand(len(looks), -1, -1, -1)
        drawn = self.led.redirect(patches, here.expand(len(looks), -1), looks).permute(0, 2, 3, 1).numpy()
        return drawn[0], drawn[1:]


def check_patch(picture: np.ndarray, path: Path) -> None:
    """ValueError, one line, if a picture uint8 [H, W, 3] is no patch of an eye."""
    height, width = picture.shape[:2]
    if height != width or height < LEAST_PATCH:
        raise ValueError(
            f"{path}: is {width}x{height}; a patch is square, with sides of at least {LEAST_PATCH} px "
            "(redirection/crop_eyes.py), and --face says that this is a photo"
        )


def reference_patches(path: Path, face: bool | None, size: int, landmarks: str, device) -> dict[str, np.ndarray]:
    """L and R: the patch of a file that is named as one (face: None) or is one (False); else both eyes of a photo.

    Errors: ValueError, one line, for a photo without a face.
    """
    picture, name = np.asarray(read_picture(read_file(path), str(path))), name_of(path)
    if face is False or (name is not None and name.eye):
        check_patch(picture, path)
        return dict.fromkeys("LR", picture)
    points = _lids_of(picture, path, landmarks, device, "name a patch ..._L.png or ..._R.png")
    return {eye: EyeSquare.of_lids(points[eye], eye).cut(picture, size) for eye in "LR"}


def _lids_of(picture: np.ndarray, path: Path, landmarks: str, device, otherwise: str):
    try:
        return load_lids(landmarks, [path.name], device)(picture, path.name)
    except NoLids as reason:
        raise ValueError(f"{path}: {reason}; give a photo of a face, or {otherwise}") from None


def _of_patch(angles: dict[str, float], eye: str) -> dict[str, float]:
    """Degrees that a photo shows -> those that the patch of an eye shows."""
    return {name: (MIRRORED[name] if eye == "R" else 1) * degrees for name, degrees in angles.items()}


def redirected_faces(picture, source: Path, plan: Plan, angles, landmarks: str, device) -> list[np.ndarray]:
    """The whole picture at each step, with both eyes moved."""
    points = _lids_of(picture, source, landmarks, device, "--face=False for a patch")
    frames = [picture] * plan.steps
    for eye in "RL":
        square = EyeSquare.of_lids(points[eye], eye)
        before, after = plan.frames(square.cut(picture, plan.redirector.config.size), eye, angles)
        frames = [square.paste(frame, before, one) for frame, one in zip(frames, after, strict=True)]
    return frames


def read_angles(patch: np.ndarray) -> dict[str, float]:
    """P, V, H in degrees that a patch, uint8 [s, s, 3], shows, as the eye reader sees them."""
    (angles,) = angles_shown(torch.from_numpy(patch.copy()).permute(2, 0, 1)[None]).tolist()
    return dict(zip(ANGLES, (round(value, 1) for value in angles), strict=True))


def name_of(path: Path) -> PatchName | None:
    try:
        return PatchName.parse(path.name)
    except ValueError:
        return None


def angles_of(text: str | None, flag: str, some: bool = False) -> dict[str, float]:
    """`0,10,-5` -> P, V, H; `some`: empty ones are left out. Nothing if nothing is given."""
    if text is None:
        return {}
    parts = [part.strip() for part in text.split(",")]
    try:
        found = {name: float(part) for name, part in zip(ANGLES, parts, strict=True) if part or not some}
    except ValueError:
        found = {}
    if not found or not all(abs(degrees) <= 90 for degrees in found.values()):
        raise ValueError(f"{flag}={text}: must be three numbers P,V,H of degrees, as 0,10,-5")
    return found


def branches_of(text: str | None, flag: str, branches: int) -> list[int]:
    """`2,1` -> [2, 1]."""
    if text is None:
        return []
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [-1]
    if len(set(numbers)) < len(numbers) or not all(0 <= n < branches for n in numbers):
        raise ValueError(f"{flag}={text}: must be different numbers from 0 to {branches - 1}, as 2,1")
    return numbers


def strengths_of(text: str, count: int) -> list[float]:
    """One number for all branches, or one for each."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, count) or not all(-2 < n < 2 for n in numbers):
        raise ValueError(f"--strength={text}: must be one number, or {count}, one for each branch, between -2 and 2")
    return numbers * count if len(numbers) == 1 else numbers
