"""What disturbs the pictures that a gaze network sees: the zoom; the rest is tested with the term."""

import pytest
import torch

from eg3d.gaze.jitter import Jitter, disturb
from groundwork.draws import KeyedDraws, Midpoints, Recorded

ZOOM_ALONE = Jitter(shift=0.0, blur=0.0, noise=0.0, zoom=0.2)


def slopes(images: torch.Tensor) -> torch.Tensor:
    """Of rows in the middle of pictures [N, 3, 32, 32], for each pixel."""
    middle = images[:, :, 12:20, 12:20]
    return (middle[..., 1:] - middle[..., :-1]).mean(dim=(1, 2, 3))


def test_zoom_stretches_each_picture_about_its_middle_by_at_most_its_bound():
    ramp = torch.linspace(-1, 1, 32).expand(200, 3, 32, 32)
    zoomed = disturb(ramp, KeyedDraws(range(200)), ZOOM_ALONE)
    stretched = slopes(zoomed) / slopes(ramp)
    assert 0.8 <= stretched.min() < 0.83 and 1.17 < stretched.max() <= 1.2 + 1e-4
    assert torch.allclose(zoomed, zoomed[:, :, :1].expand_as(zoomed), atol=1e-6)  # no shear
    assert zoomed[..., 15:17].mean(dim=(1, 2, 3)).abs().max() < 1e-5
    along = disturb(ramp.mT, KeyedDraws(range(200)), ZOOM_ALONE)
    assert torch.allclose(along, zoomed.mT, atol=1e-6)  # both ways alike
    assert torch.allclose(disturb(ramp, Midpoints(), ZOOM_ALONE), ramp, atol=1e-6)


def test_without_zoom_nothing_more_is_drawn_than_before_there_was_one():
    images, counts = torch.zeros(2, 3, 8, 8), {}
    for zoom in (0.0, 0.1):
        draws = Recorded(KeyedDraws([0, 1]))
        disturb(images, draws, Jitter(zoom=zoom))
        counts[zoom] = len(draws.values)
    assert counts[0.1] == counts[0.0] + 1


def test_a_zoom_out_of_range_is_named():
    with pytest.raises(ValueError, match="jitter zoom is 0.5"):
        Jitter(zoom=0.5)
