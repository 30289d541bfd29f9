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


def test_pixels_count_five_times_and_every_map_once():
    image, other = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.2)
    assert torch.allclose(PictureDistance(lambda _: [], "")(image, other), torch.tensor([5 * 0.04]))

    def signs(x):
        return torch.where(x > 0, 1.0, -1.0)

    opposite = PictureDistance(lambda x: [signs(x), 7 * signs(x)], "", pixels=0.0)
    assert torch.allclose(opposite(image, other), torch.tensor([2 * 4.0]))  # unit vectors that point apart


def test_large_pictures_are_made_smaller_without_false_patterns_and_small_ones_are_not():
    seen = []
    distance = PictureDistance(lambda x: seen.append(x) or [], "")
    chequered = torch.ones(1, 3, 512, 512)
    chequered[..., ::2, ::2] = chequered[..., 1::2, 1::2] = -1
    small = chequered[..., :256, :256]
    distance(chequered, chequered.half())
    distance(small, small)
    assert [(x.shape[-1], x.dtype) for x in seen] == [(256, torch.float32)] * 4
    assert seen[0].abs().max() < 0.3 and torch.equal(seen[2], small)  # grey: at half the size nothing is left of it


def test_the_network_that_sees_is_at_rest():
    network = load_distance()._maps.__self__
    assert not network.training and not any(weight.requires_grad for weight in network.parameters())


def test_maps_of_vgg_are_the_five_that_lpips_compares():
    with torch.device("meta"):
        maps = Vgg16().maps(torch.empty(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4)]
