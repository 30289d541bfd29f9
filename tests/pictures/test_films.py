"""Small films."""

import numpy as np
import pytest
from PIL import Image

from eg3d.pictures.layout import write_gif


def test_a_small_white_on_much_skin_keeps_its_tone_in_a_gif(tmp_path):
    rows, columns = np.indices((384, 384))
    grain = np.random.default_rng(0).normal(0, 3, (384, 384, 3))
    light = 0.75 + 0.25 * rows / 384 + 0.1 * np.sin(columns / 20)
    skin = (light[..., None] * (205, 150, 120) + grain).clip(0, 255).astype(np.uint8)
    skin[60:66, 50:62], skin[60:66, 66:70] = (228, 226, 222), (60, 90, 120)
    write_gif(tmp_path / "film.gif", [skin, skin])
    with Image.open(tmp_path / "film.gif") as film:
        shown = np.asarray(film.convert("RGB")).astype(float)
    whites = shown[61:65, 51:61]
    assert whites.mean((0, 1)) == pytest.approx([228, 226, 222], abs=5)
    assert whites.std((0, 1)).max() < 10  # no dots of other colours
