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
