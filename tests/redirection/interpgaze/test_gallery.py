"""The shipped InterpGaze with the shipped references, read by the shipped judge, which no loss has used."""

import numpy as np
import pytest
import torch
from PIL import Image

from redirection.interpgaze import redirect
from redirection.interpgaze.gallery import EMBEDDED_REFERENCES, Gallery, GalleryConfig, load_gallery, save_gallery
from redirection.interpgaze.redirecting import open_interpgaze
from redirection.patch_judge import Judge


def test_eyes_go_where_they_are_asked_and_stay_if_they_are_not():
    gallery = load_gallery()
    assert len(gallery) == 90 and gallery.images.shape[1:] == (3, 64, 64)
    rows = (gallery.angles[:, 2].abs() < 1).nonzero()[:, 0]
    patches, shown = gallery.images[rows], gallery.angles[rows]
    redirector, judge = open_interpgaze(None, torch.device("cpu"), None), Judge.load("embedded")

    def read(horizontal: float) -> torch.Tensor:
        wanted = shown.clone()
        wanted[:, 2] = horizontal
        return judge.read(redirector.redirect(patches, shown, wanted)).angles[:, 2]

    left, right = read(10.0), read(-10.0)
    assert (left - right).mean() > 14  # 20 are asked
    assert ((left - right) > 5).float().mean() > 0.9
    still = redirector.redirect(patches, shown, shown)
    assert (still.float() - patches.float()).abs().mean() < 2


def test_a_damaged_gallery_is_one_line(tmp_path):
    save_gallery(tmp_path / "g.safetensors", Gallery(GalleryConfig(count=2, size=32)), {})
    assert len(load_gallery(tmp_path / "g.safetensors")) == 2
    (tmp_path / "d.safetensors").write_bytes(EMBEDDED_REFERENCES.read_bytes()[:1000])
    with pytest.raises(ValueError, match="holds no reference patches"):
        load_gallery(tmp_path / "d.safetensors")


def test_redirect_needs_no_set_for_the_shipped_network(tmp_path):
    from click.testing import CliRunner

    gallery = load_gallery()
    Image.fromarray(gallery.images[40].permute(1, 2, 0).numpy()).save(tmp_path / "0001_2m_0P_0V_0H_L.png")
    flags = [f"--source={tmp_path}/0001_2m_0P_0V_0H_L.png", "--target=0,0,10", f"--out={tmp_path}/x.png"]
    result = CliRunner().invoke(redirect.main, flags)
    assert result.exit_code == 0, result.output
    assert np.asarray(Image.open(tmp_path / "x.png")).shape == (64, 64, 3)
