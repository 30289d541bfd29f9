"""Which pictures the discriminator is shown."""

import pytest
import torch

from eg3d.training import pairs


def test_blur_keeps_a_constant_inside_and_spreads_a_point_by_the_published_taps():
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1
    taps = [2 ** -((i / 1.0) ** 2) for i in range(-3, 4)]
    expected = [t / sum(taps) for t in taps]
    row = pairs.blur(point, 1.0)[0, 0].sum(dim=0)[1:8]
    assert row.tolist() == pytest.approx(expected, abs=1e-6)
    assert pairs.blur(point, 0.3) is point  # fewer than one tap each way: nothing to do


def test_real_images_are_shrunk_and_both_are_blurred():
    real = torch.rand(1, 3, 16, 16)
    pair = pairs.real_pair(real, 8, "antialiased", 1.0)
    assert pair["image_raw"].shape == (1, 3, 8, 8)
    assert torch.allclose(pair["image"], pairs.blur(real, 1.0))
    assert pair["image_raw"].std() < pairs.real_pair(real, 8, "antialiased", 0.0)["image_raw"].std()


def test_generated_raw_images_stay_sharp_as_published_unless_asked():
    fake = {"image": torch.rand(1, 3, 16, 16), "image_raw": torch.rand(1, 3, 8, 8)}
    assert pairs.fake_pair(fake, 1.0, blur_raw=False)["image_raw"] is fake["image_raw"]
    blurred = pairs.fake_pair(fake, 1.0, blur_raw=True)
    assert torch.allclose(blurred["image_raw"], pairs.blur(fake["image_raw"], 1.0))
    assert torch.allclose(blurred["image"], pairs.blur(fake["image"], 1.0))
