"""How unlike two pictures look: by the maps of a network and by pixels."""

import torch

from eg3d.metrics.vgg import Vgg16
from eg3d.training.inversion.picture_distance import PictureDistance, load_distance


def test_the_distance_is_zero_for_one_picture_and_grows():
    torch.manual_seed(0)
    distance = load_distance()
    image, noise = torch.rand(2, 3, 32, 32) * 2 - 1, torch.randn(2, 3, 32, 32)
    assert distance(image, image).abs().max() < 1e-6
    near, far = (distance(image, image + size * noise) for size in (0.05, 0.3))
    assert near.shape == (2,) and (0 < near).all() and (2 * near < far).all()


def test_pixels_count_five_times_and_maps_once():
    image, other = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.2)
    assert torch.allclose(PictureDistance(lambda _: [], "none", "")(image, other), torch.tensor([5 * 0.04]))
    opposite = PictureDistance(lambda x: [torch.where(x > 0, 1.0, -1.0)], "signs", "", pixels=0.0)
    assert torch.allclose(opposite(image, other), torch.tensor([4.0]))  # unit vectors that point apart


def test_maps_of_vgg_are_the_five_that_lpips_compares():
    with torch.device("meta"):
        maps = Vgg16().maps(torch.empty(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4)]
