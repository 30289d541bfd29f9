"""The file of references, and redirect.py with the shipped one."""

import numpy as np
import pytest
from PIL import Image

from redirection.interpgaze import redirect
from redirection.interpgaze.gallery import EMBEDDED_REFERENCES, Gallery, GalleryConfig, load_gallery, save_gallery


def test_a_damaged_gallery_is_one_line(tmp_path):
    save_gallery(tmp_path / "g.safetensors", Gallery(GalleryConfig(count=2, size=32)), {})
    assert len(load_gallery(tmp_path / "g.safetensors")) == 2
    shipped = load_gallery()
    assert len(shipped) == 90 and shipped.images.shape[1:] == (3, 64, 64)
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
