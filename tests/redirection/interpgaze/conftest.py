"""A small set of drawn eye patches in the layout of crop_eyes.py."""

import numpy as np
import pytest
import torch
from PIL import Image

from redirection.patch_names import PatchName

ATTR = "0P@15P,0V@10V,0H@15H"
ANGLES = [(0, 0, 0), (0, 0, 15), (15, 0, 0), (15, 10, 15), (0, 10, 0), (7.5, 5, 7.5), (0, 0, 10)]


def draw(name: PatchName, size: int = 24) -> np.ndarray:
    """An iris on white, where the gaze says; the colour says who it is."""
    p, v, h = name.shown
    y, x = np.mgrid[:size, :size] / size - 0.5
    patch = np.full((size, size, 3), 230.0)
    patch[(x + h / 60 + p / 90) ** 2 + (y + v / 60) ** 2 < 0.04] = [40 * name.person, 90, 60]
    return patch.astype(np.uint8)


@pytest.fixture
def patches(tmp_path):
    folder = tmp_path / "set"
    (folder / "all").mkdir(parents=True)
    (folder / "info").mkdir()
    names = {"train": [], "test": []}
    for person in (1, 2, 3):
        for p, v, h in ANGLES:
            for eye in "LR":
                name = PatchName(person, p, v, h, eye)
                Image.fromarray(draw(name)).save(folder / "all" / f"{name}.png")
                names["test" if person == 3 else "train"].append(f"{name}.png\n")
    for part, lines in names.items():
        (folder / "info" / f"gaze-{part}.txt").write_text("".join(lines))
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory, run_script_in):
    """A network that knows nothing, in a file; it still moves patches."""
    from redirection.interpgaze.redirector import InterpGaze, InterpGazeConfig
    from redirection.interpgaze.redirector_file import save_redirector

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "w.safetensors"
    network = InterpGaze(InterpGazeConfig(size=32, divisor=16, attributes="0P@15P,0V@10V,0H@15H"))
    for module in network.modules():  # at the usual random start nothing would move by a whole grey level
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    save_redirector(path, network, {"step": 0})
    return path
