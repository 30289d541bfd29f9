"""show_redirection.py, which `make redirect` runs, from the shipped weights."""

import pytest
from PIL import Image


@pytest.mark.usefixtures("makehuman_data")
def test_a_strip_and_a_film_are_drawn(tmp_path, run_script_in):
    flags = ["--people=1", "--steps=2", "--size=128", "--device=cpu"]
    ran = run_script_in(tmp_path, "redirection/show_redirection.py", *flags)
    assert ran.code == 0 and "1 people" in ran.stdout, ran.stderr
    assert Image.open(tmp_path / "out" / "redirect" / "strip.png").size == (3 * 128, 128)
    assert Image.open(tmp_path / "out" / "redirect" / "eyes.gif").n_frames > 2
