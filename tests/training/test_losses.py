import math

import pytest
import torch

from eg3d.training import losses


def test_adversarial_terms_are_softplus_of_the_right_sign():
    logits = torch.tensor([[0.0], [2.0]])
    expected = [math.log(2), math.log(1 + math.exp(-2))]
    assert losses.generator_adversarial(logits).tolist() == pytest.approx(expected)
    assert losses.discriminator_real(logits).tolist() == pytest.approx(expected)
    assert losses.discriminator_fake(logits).tolist() == pytest.approx([math.log(2), 2 + math.log(1 + math.exp(-2))])


def test_r1_of_a_linear_discriminator_is_half_gamma_times_its_squared_weights():
    # D = <a, image> + <b, image_raw>: the gradient is (a, b) everywhere, whatever the image.
    a, b = torch.full((3, 2, 2), 0.5, requires_grad=True), torch.full((3, 1, 1), 2.0, requires_grad=True)
    pair = [torch.randn(2, 3, 2, 2, requires_grad=True), torch.randn(2, 3, 1, 1, requires_grad=True)]
    logits = ((pair[0] * a).sum((1, 2, 3)) + (pair[1] * b).sum((1, 2, 3)))[:, None]
    term, squared = losses.r1_penalty(logits, pair, gamma=4.0)
    assert squared.tolist() == [15, 15]  # 12 * 0.25 + 3 * 4
    assert term.tolist() == [30, 30]  # 4 / 2 * 15
    term.mean().backward()
    assert torch.equal(a.grad, torch.full_like(a, 2.0))  # d/da of gamma / 2 * a^2 = gamma * a
    assert torch.equal(b.grad, torch.full_like(b, 8.0))


def test_blur_keeps_a_constant_inside_and_spreads_a_point_by_the_published_taps():
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1
    taps = [2 ** -((i / 1.0) ** 2) for i in range(-3, 4)]
    expected = [t / sum(taps) for t in taps]
    row = losses.blur(point, 1.0)[0, 0].sum(dim=0)[1:8]
    assert row.tolist() == pytest.approx(expected, abs=1e-6)
    assert losses.blur(point, 0.3) is point  # fewer than one tap each way: nothing to do


def test_real_images_are_shrunk_and_both_are_blurred():
    real = torch.rand(1, 3, 16, 16)
    pair = losses.real_pair(real, 8, "antialiased", 1.0)
    assert pair["image_raw"].shape == (1, 3, 8, 8)
    assert torch.allclose(pair["image"], losses.blur(real, 1.0))
    assert pair["image_raw"].std() < losses.real_pair(real, 8, "antialiased", 0.0)["image_raw"].std()


def test_generated_raw_images_stay_sharp_as_published_unless_asked():
    fake = {"image": torch.rand(1, 3, 16, 16), "image_raw": torch.rand(1, 3, 8, 8)}
    assert losses.fake_pair(fake, 1.0, blur_raw=False)["image_raw"] is fake["image_raw"]
    blurred = losses.fake_pair(fake, 1.0, blur_raw=True)
    assert torch.allclose(blurred["image_raw"], losses.blur(fake["image_raw"], 1.0))
    assert torch.allclose(blurred["image"], losses.blur(fake["image"], 1.0))


class LinearField:
    """sigma(x, y, z) = 2 z, the same for every latent."""

    def sample_mixed(self, coords, dirs, ws, draws=None):
        return {"sigma": 2 * coords[..., 2:]}


def test_density_smoothness_on_a_linear_field_is_its_slope_times_the_distance():
    points = torch.rand(2, 5, 3)
    term = losses.density_smoothness(LinearField(), None, points, points + torch.tensor([0.3, 0.0, 0.1]))
    assert term.tolist() == pytest.approx([0.2, 0.2], abs=1e-5)


def test_density_may_grow_behind_a_surface_but_not_fall():
    points = torch.rand(2, 5, 3)
    # Behind means smaller z; this field falls there by 2 * step, and ten times that is the term.
    assert losses.density_monotony(LinearField(), None, points, 0.1, False).tolist() == pytest.approx([2, 2], abs=1e-4)
    grows = LinearField()
    grows.sample_mixed = lambda coords, dirs, ws, draws=None: {"sigma": -coords[..., 2:]}
    assert losses.density_monotony(grows, None, points, 0.1, False).tolist() == [0, 0]


def test_style_mixing_swaps_the_rows_from_the_cutoff_on():
    ws, other = torch.zeros(3, 4, 1), torch.ones(3, 4, 1)
    u = torch.tensor([[0.9, 0.5], [0.1, 0.0], [0.1, 0.99]])
    mixed = losses.style_mix(ws, other, u, prob=0.5)[..., 0]
    assert mixed.tolist() == [[0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]]
