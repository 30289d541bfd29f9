import pytest
import torch
from torch import nn

from eg3d.config.presets import FFHQ
from eg3d.training import schedules
from eg3d.training.ema import update_ema


def test_blur_fades_linearly_and_a_fade_of_zero_means_sharp_at_once():
    assert schedules.blur_sigma(0, 10, 200) == 10
    assert schedules.blur_sigma(50_000, 10, 200) == pytest.approx(7.5)
    assert schedules.blur_sigma(300_000, 10, 200) == 0
    assert schedules.blur_sigma(0, 10, 0) == 0


def test_swap_probability_falls_from_always_to_its_value():
    assert schedules.swap_probability(0, 0.5, 1000) == 1
    assert schedules.swap_probability(500_000, 0.5, 1000) == pytest.approx(0.75)
    assert schedules.swap_probability(2_000_000, 0.5, 1000) == 0.5
    assert schedules.swap_probability(0, 0.8, 0) == pytest.approx(0.8)
    assert schedules.swap_probability(0, None, 1000) is None


def test_rays_grow_through_every_integer_and_a_fade_of_zero_means_final_at_once():
    rays = schedules.neural_rendering_resolution
    assert rays(0, 64, 128, 1000) == 64
    assert rays(500_000, 64, 128, 1000) == 96
    assert rays(510_000, 64, 128, 1000) == 97  # 96.64
    assert rays(1_000_000, 64, 128, 1000) == 128
    assert rays(10**9, 64, None, 1000) == 64
    assert rays(0, 64, 128, 0) == 128  # published: a division by zero


def test_a_tick_is_passed_by_the_step_that_crosses_it_and_by_the_first():
    seen = range(4, 28, 4)
    assert [schedules.at_tick(n, 4, 0.01) for n in seen] == [True, False, True, False, True, False]  # 4, 12, 20
    assert [schedules.ticks_passed(n, 0.01) for n in seen] == [0, 0, 1, 1, 2, 2]


def test_average_keeps_half_after_its_half_life():
    assert schedules.ema_beta(10**6, 32, 10, 0.05) == pytest.approx(0.5 ** (32 / 10_000))
    assert schedules.ema_beta(1000, 32, 10, 0.05) == pytest.approx(0.5 ** (32 / 50))  # ramp-up: 5 % of 1000 images
    assert schedules.ema_beta(1000, 32, 10, None) == pytest.approx(0.5 ** (32 / 10_000))
    assert schedules.ema_beta(0, 32, 10, 0.05) == 0


def test_average_is_the_lerp_of_parameters_and_copies_buffers():
    average, model = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    nn.init.constant_(average.weight, 4.0)
    nn.init.constant_(model.weight, 8.0)
    model.running_mean.fill_(3.0)
    update_ema(average, model, beta=0.75)
    assert average.weight.tolist() == [5, 5]  # 0.75 * 4 + 0.25 * 8
    assert average.running_mean.tolist() == [3, 3]


def test_adam_is_corrected_for_lazy_regularisation_as_published():
    optim = FFHQ.optim
    lr, betas = schedules.lazy_adam(optim.generator_lr, optim.betas, 4)
    assert (lr, betas[0], betas[1]) == pytest.approx((0.002, 0, 0.991992), abs=1e-6)
    lr, betas = schedules.lazy_adam(optim.discriminator_lr, optim.betas, 16)
    assert (lr, betas[1]) == pytest.approx((0.00188235, 0.990585), abs=1e-6)
    assert schedules.lazy_adam(optim.generator_lr, optim.betas, None) == (0.0025, (0.0, 0.99))


def test_torch_adam_gets_those_numbers():
    from eg3d.training.setup import adam

    group = adam(nn.Linear(1, 1), 0.0025, FFHQ.optim, 4).param_groups[0]
    assert (group["lr"], group["betas"][1], group["eps"]) == pytest.approx((0.002, 0.991992, 1e-8), abs=1e-6)
    assert torch.tensor(group["betas"][0]) == 0


def test_a_rate_that_fades_falls_from_all_to_nothing_as_a_cosine():
    assert schedules.rate_left(5e9, None) == 1
    assert [schedules.rate_left(n, 4) for n in (0, 2000, 4000, 9000)] == pytest.approx([1, 0.5, 0, 0])
    assert schedules.rate_left(1000, 4) == pytest.approx((2 + 2**0.5) / 4)
