"""The shipped redirectors: made by the recipes of `make embedded`, and small; a judge says how they do."""

import pytest
import torch

from eg3d.metrics.network_file import load_network
from groundwork.files import WORLD_WEIGHTS
from redirection.embedded_redirectors import RECIPES
from redirection.interpgaze.gallery import EMBEDDED_REFERENCES, load_gallery
from redirection.methods import METHODS, open_redirector
from redirection.patch_judge import Judge
from redirection.redirection_scores import redirected

KINDS = {"interpgaze": "gaze redirection", "he2019": "gaze redirection by He et al.",
         "deepwarp": "gaze redirection by DeepWarp"}  # fmt: skip
OF = {file.stem.removeprefix("people_"): file for file in RECIPES}
LARGEST = 6 << 20  # bytes of all together


@pytest.mark.parametrize("method", KINDS)
def test_the_file_says_that_it_was_made_by_the_recipe(method):
    command = load_network(OF[method], KINDS[method]).facts["command"].split()
    script, _, _, flags = RECIPES[OF[method]]
    assert command[0].endswith(f"redirection/{script}")
    assert not set(flags.split()) - set(command)


def test_all_methods_have_weights_and_together_they_are_small():
    assert METHODS.keys() == KINDS.keys()
    files = [*RECIPES, EMBEDDED_REFERENCES, WORLD_WEIGHTS / "people_eye_reader.safetensors"]
    assert sum(file.stat().st_size for file in files) < LARGEST


@pytest.mark.parametrize("method", METHODS)
def test_a_shipped_method_moves_eyes_to_both_sides_up_and_down(method):
    """Whoever is in the gallery was trained on; docs/redirection.md has the numbers of strangers."""
    gallery, judge = load_gallery(), Judge.load("embedded")
    rows = (gallery.angles == 0).all(dim=1).nonzero()[:, 0]
    patches, shown = gallery.images[rows], gallery.angles[rows]
    redirector = open_redirector(method, torch.device("cpu"), 64)

    def read(v: float, h: float) -> torch.Tensor:
        wanted = shown + torch.tensor([0.0, v, h])
        return judge.read(redirected(redirector, patches, shown, wanted)).angles.mean(0)

    assert read(0, 12)[2] - read(0, -12)[2] > 12  # 24 are asked
    assert read(8, 0)[1] - read(-8, 0)[1] > 7  # 16 are asked; exchanged branches would give none
