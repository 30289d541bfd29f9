"""A small set of drawn eye patches with several gazes at one head pose, in the layout of crop_eyes.py."""

import numpy as np
import pytest
from PIL import Image

from redirection.patch_names import PatchName

GAZES = [(v, h) for v in (-10, 0, 10) for h in (-15, 0, 15)]


def drawn_eye(name: PatchName, size: int = 32) -> np.ndarray:
    """A dark iris on white, where the gaze says; the skin's colour says who it is."""
    _, v, h = name.shown
    y, x = np.mgrid[:size, :size] / size - 0.5
    patch = np.full((size, size, 3), (60 * name.person, 120, 90), float)
    patch[(x / 1.6) ** 2 + y**2 < 0.06] = 240
    patch[(x + h / 75) ** 2 + (y + v / 100) ** 2 < 0.015] = (40, 60, 20 * name.person)
    return patch.astype(np.uint8)


@pytest.fixture
def gaze_set(tmp_path):
    folder = tmp_path / "set"
    (folder / "all").mkdir(parents=True)
    (folder / "info").mkdir()
    names = {"train": [], "test": []}
    for person in (1, 2, 3):
        for v, h in GAZES:
            for eye in "LR":
                name = PatchName(person, 0, v, h, eye)
                Image.fromarray(drawn_eye(name)).save(folder / "all" / f"{name}.png")
                names["test" if person == 3 else "train"].append(f"{name}.png\n")
    for part, lines in names.items():
        (folder / "info" / f"gaze-{part}.txt").write_text("".join(lines))
    return folder
