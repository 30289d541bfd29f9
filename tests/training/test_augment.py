"""The augmentation pipe and its strength against the definition (StyleGAN2-ADA, section 3.1 and appendix B)."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from oracles import plain_augment
from torch.autograd import gradcheck, gradgradcheck

from eg3d.config.augmentation import GEOMETRIC, PIPES, AugmentConfig, Transforms
from eg3d.ops.resize import bilinear
from eg3d.ops.warp import warp
from eg3d.training import augment_pipe as augment
from eg3d.training import losses
from eg3d.training.ada import AugmentStrength, adapted, count_signs
from eg3d.training.augment_pipe import GATES, NORMALS, UNIFORMS, AugmentPipe
from groundwork.draws import KeyedDraws

ALL = PIPES["bgcfnc"]
NEUTRAL = dict.fromkeys(UNIFORMS, 0.5) | dict.fromkeys(NORMALS, 0.0) | {"xflip": 0.0, "rotate90": 0.0, "lumaflip": 0.0}


def rolls(**values: float) -> dict[str, torch.Tensor]:
    """One sample with every gate open, doing nothing but what `values` say."""
    numbers = dict.fromkeys((f"on {name}" for name in GATES), 0.0) | NEUTRAL | values
    assert len(numbers) == len(GATES) + len(UNIFORMS) + len(NORMALS)
    return {name: torch.tensor([number], dtype=torch.float64) for name, number in numbers.items()}


class Percentile:
    """Draws whose every number is the given percentile of its distribution, as the published debugging option."""

    def __init__(self, q: float):
        self.q = q

    def uniform(self, shape, device="cpu"):
        return torch.full(tuple(shape), self.q, dtype=torch.float64)

    def normal(self, shape, device="cpu"):
        q = torch.tensor(2 * self.q - 1, dtype=torch.float64)
        return (math.sqrt(2) * torch.erfinv(q)).expand(tuple(shape))


def draws(samples, images_seen: int = 0) -> KeyedDraws:
    return KeyedDraws.at(0, "Dmain/augment", samples, images_seen)


def pictures(*shape, dtype=torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(shape, dtype=dtype, generator=generator) * 2 - 1


# ------------------------------------------------------------------ against the definition, as a whole


@pytest.mark.parametrize("q", [0.3, 0.7])
def test_bgc_at_percentiles_of_its_draws(q):
    images = pictures(1, 6, 11, 14, dtype=torch.float64)
    numbers = augment.roll(Percentile(q), 1)
    numbers["rotate_post"] = torch.tensor([0.5], dtype=torch.float64)  # no turn, as published for this check
    changed = AugmentPipe(PIPES["bgc"], p=1.0)._apply(images, numbers, None)

    r = {name: value.item() for name, value in numbers.items()}
    expected = plain_augment.moved(images[0].numpy(), r)
    for triple in (expected[:3], expected[3:]):
        triple[:] = np.apply_along_axis(plain_augment.recoloured, 0, triple, r)
    assert np.abs(expected - images[0].numpy()).max() > 0.5
    np.testing.assert_allclose(changed[0].numpy(), expected, rtol=0, atol=2e-6)


def test_every_geometric_change_at_once_against_the_plain_version():
    images = pictures(1, 3, 10, 13, dtype=torch.float64)
    values = dict(
        xflip=0.8, rotate90=0.3, xint_x=0.1, xint_y=0.95, scale=-0.9, rotate_pre=0.42, aniso=1.1, rotate_post=0.61,
        xfrac_x=0.3, xfrac_y=-0.7,
    )  # fmt: skip
    matrix = augment.geometry(PIPES["bgc"], 1.0, rolls(**values), 10, 13)
    expected = plain_augment.moved(images[0].numpy(), NEUTRAL | values)
    np.testing.assert_allclose(warp(images, matrix)[0].numpy(), expected, rtol=0, atol=2e-6)


# ------------------------------------------------------------------ each transform, by hand

GEOMETRY_BY_HAND = {
    # name: (random value, p of an image 40 wide and 80 high where output pixel (3, 5) is read)
    "xflip": (dict(xflip=0.5), (-3, 5)),
    "no xflip": (dict(xflip=0.49), (3, 5)),
    "rotate90": (dict(rotate90=0.25), (-5, 3)),
    "rotate90 three times": (dict(rotate90=0.99), (5, -3)),
    "xint": (dict(xint_x=1.0, xint_y=0.25), (3 - 5, 5 + 5)),  # 40 / 8 right; 80 / 16 up
    "xint rounds": (dict(xint_x=0.54), (3, 5)),  # 0.4 pixels
    "scale": (dict(scale=5.0), (1.5, 2.5)),  # 2^(0.2 * 5) = 2, twice as large
    "rotate before": (dict(rotate_pre=0.75), (-5, 3)),  # half of pi
    "rotate after": (dict(rotate_post=0.75), (-5, 3)),
    "aniso": (dict(aniso=5.0), (1.5, 10)),
    "xfrac": (dict(xfrac_x=0.1, xfrac_y=-0.05), (3 - 0.5, 5 + 0.5)),
    "stretched between two turns": (dict(rotate_pre=0.75, aniso=5.0, rotate_post=0.75), (-6, -2.5)),
    "turned, then shifted": (dict(rotate90=0.25, xfrac_x=0.2), (-5, 2)),
    "shifted, then turned": (dict(xint_x=1.0, rotate_pre=0.75), (-10, 3)),
}


@pytest.mark.parametrize("values, expected", GEOMETRY_BY_HAND.values(), ids=GEOMETRY_BY_HAND)
def test_geometry_reads_the_pixel_worked_out_by_hand(values, expected):
    matrix = augment.geometry(PIPES["bgc"], 1.0, rolls(**values), height=80, width=40)[0]
    x, y, one = (matrix @ torch.tensor([3.0, 5.0, 1.0], dtype=torch.float64)).tolist()
    assert (x, y, one) == pytest.approx((*expected, 1), abs=1e-9)


COLOURS_BY_HAND = {
    # name: (random value, what becomes of (0.1, 0.2, 0.6), whose mean is 0.3)
    "nothing": (dict(), (0.1, 0.2, 0.6)),
    "brightness": (dict(brightness=0.5), (0.2, 0.3, 0.7)),
    "contrast": (dict(contrast=2.0), (0.2, 0.4, 1.2)),
    "lumaflip": (dict(lumaflip=0.5), (-0.5, -0.4, 0.0)),  # minus twice the mean
    "hue by a third": (dict(hue=0.5 + 1 / 3), (0.6, 0.1, 0.2)),  # red's number goes to green
    "hue by a half": (dict(hue=0.0), (0.5, 0.4, 0.0)),  # mirrored at the mean
    "saturation": (dict(saturation=1.0), (-0.1, 0.1, 0.9)),  # twice as far from the mean
    "brightness is first": (dict(brightness=0.5, contrast=2.0), (0.4, 0.6, 1.4)),
    "saturation keeps grey": (dict(brightness=1.0, saturation=1.0), (0.1, 0.3, 1.1)),
}


@pytest.mark.parametrize("values, expected", COLOURS_BY_HAND.values(), ids=COLOURS_BY_HAND)
def test_colours_become_what_was_worked_out_by_hand(values, expected):
    image = torch.tensor([0.1, 0.2, 0.6], dtype=torch.float64)[None, :, None, None].expand(1, 3, 2, 4)
    image = torch.cat([image, torch.zeros_like(image)], dim=1)
    matrix = augment.colour(PIPES["colour"], 1.0, rolls(**values))
    changed = augment.recolour(image, matrix)
    assert changed[0, :3, 1, 2].tolist() == pytest.approx(expected)
    black = augment.recolour(torch.zeros(1, 3, 1, 1, dtype=torch.float64), matrix)[0, :, 0, 0]
    assert changed[0, 3:, 1, 2].tolist() == pytest.approx(black.tolist())  # the pair's other half by the same matrix


def test_band_gains_keep_the_power_of_a_natural_image():
    gains = augment.band_gains(ALL, 1.0, rolls(band0=1.0, band3=-1.0))[0]
    # 10/13 * 2^2 + 3/13 = 43/13, then 12/13 + 1/13 / 4 = 49/52
    low, high = math.sqrt(13 / 43), math.sqrt(52 / 49)
    assert gains.tolist() == pytest.approx([2 * low * high, low * high, low * high, low * high / 2])


def test_noise_has_a_tenth_of_the_drawn_strength():
    only = replace(Transforms(), noise=1.0)
    changed = AugmentPipe(only, 1.0)._apply(torch.zeros(1, 3, 64, 64), rolls(noise=-3.0), draws([0]))
    assert changed.std().item() == pytest.approx(0.3, rel=0.03)
    assert changed[0, 0].ne(changed[0, 1]).any()


def test_cutout_removes_a_rectangle_of_half_the_sides():
    kept = augment.kept_by_cutout(ALL, 1.0, rolls(cutout_x=0.5, cutout_y=0.0), height=8, width=4)[0, 0]
    assert kept.tolist() == [[1, 0, 0, 1]] * 2 + [[1, 1, 1, 1]] * 6
    edges = augment.kept_by_cutout(ALL, 1.0, rolls(cutout_x=0.375, cutout_y=0.3125), height=8, width=4)[0, 0]
    assert edges.eq(0).nonzero().tolist() == [[1, 1], [2, 1], [3, 1]]  # centres at just half the size are kept
    closed = rolls() | {"on cutout": torch.ones(1, dtype=torch.float64)}
    assert augment.kept_by_cutout(ALL, 1.0, closed, height=8, width=4).all()


# ------------------------------------------------------------------ strength and safety


def test_strength_zero_is_the_identity():
    images = pictures(2, 6, 24, 24)
    assert AugmentPipe(ALL, 0.0)(images, draws(range(2))) is images
    numbers = augment.roll(draws(range(2)), 2)
    changed = AugmentPipe(ALL, 0.0)._apply(images, numbers, draws(range(2)))  # and without the shortcut
    torch.testing.assert_close(changed, images, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [field.name for field in fields(Transforms)])
def test_a_gate_opens_as_often_as_strength_and_multiplier_say(name):
    n, p, multiplier = 4000, 0.5, 0.8
    numbers = augment.roll(draws(range(n)), n)
    only = replace(Transforms(), **{name: multiplier})
    neutral = augment.roll(draws(range(n)), n)
    if name in GEOMETRIC:
        changed, same = (augment.geometry(t, p, neutral, 32, 32).flatten(1) for t in (only, Transforms()))
    elif name == "imgfilter":
        changed, same = (augment.band_gains(t, p, neutral) for t in (only, Transforms()))
    elif name == "cutout":
        changed, same = (augment.kept_by_cutout(t, p, neutral, 8, 8).flatten(1) for t in (only, Transforms()))
    elif name == "noise":
        images = torch.zeros(n, 3, 1, 1)
        changed, same = AugmentPipe(only, p)._apply(images, numbers, draws(range(n))).flatten(1), images.flatten(1)
    else:
        changed, same = (augment.colour(t, p, neutral).flatten(1) for t in (only, Transforms()))
    # Half of the flips, a quarter of the quarter turns and some shifts by less than half a pixel change nothing.
    nothing = {"xflip": 1 / 2, "lumaflip": 1 / 2, "rotate90": 1 / 4, "xint": 1 / 64}.get(name, 0)
    opened = p * multiplier
    expected = 1 - (1 - opened) ** 4 if name == "imgfilter" else opened * (1 - nothing)
    assert (changed != same).any(dim=1).double().mean().item() == pytest.approx(expected, abs=0.03)


def test_a_transform_draws_the_same_whatever_else_is_on():
    numbers = augment.roll(draws(range(8)), 8)
    alone = augment.colour(replace(Transforms(), hue=1.0), 0.9, numbers)
    turned_off = replace(PIPES["colour"], brightness=0, contrast=0, lumaflip=0, saturation=0)
    assert torch.equal(alone, augment.colour(turned_off, 0.9, augment.roll(draws(range(8)), 8)))


def test_the_default_moves_no_pixel_and_bgc_is_the_published_set():
    default = AugmentConfig(mode="ada").transforms
    assert default.per_pixel and not default.move_pixels
    assert all(getattr(default, name) == 0 for name in GEOMETRIC)
    flat = pictures(4, 3, 1, 1).expand(4, 3, 16, 16).clone()
    flat[:, :, 5, 7] = 0.25
    changed = AugmentPipe(default, 1.0)(flat, draws(range(4)))
    others = changed.clone()
    others[:, :, 5, 7] = changed[:, :, 0, 0]
    assert torch.equal(others, changed[:, :, :1, :1].expand_as(others)) and changed.ne(flat).any()
    on = {f.name for f in fields(Transforms) if getattr(PIPES["bgc"], f.name) == 1}
    assert on == {f.name for f in fields(Transforms)} - {"imgfilter", "noise", "cutout"}


# ------------------------------------------------------------------ pairs


@pytest.mark.parametrize("pipe", ["colour", "bgc"])
def test_both_pictures_of_a_pair_change_alike(pipe):
    base = bilinear(pictures(4, 3, 4, 4, dtype=torch.float64), 32)
    pair = {"image": base, "image_raw": bilinear(base, 16)}
    changed = AugmentPipe(PIPES[pipe], 1.0).pair(pair, draws(range(4)))
    assert changed["image"].shape == base.shape and changed["image_raw"].shape == (4, 3, 16, 16)
    difference = (bilinear(changed["image"], 16) - changed["image_raw"]).abs().flatten(1).mean(dim=1)
    spread = changed["image"].flatten(1).std(dim=1)
    assert (difference < 0.06 * spread).all()


def test_a_moved_pair_is_augmented_as_six_channels():
    pair = {"image": pictures(2, 3, 16, 16), "image_raw": pictures(2, 3, 8, 8)}
    pipe = AugmentPipe(PIPES["bgc"], 0.7)
    six = pipe(torch.cat([pair["image"], bilinear(pair["image_raw"], 16)], dim=1), draws(range(2)))
    changed = pipe.pair(pair, draws(range(2)))
    assert torch.equal(changed["image"], six[:, :3])
    assert torch.equal(changed["image_raw"], bilinear(six[:, 3:], 8))


def test_a_recoloured_raw_picture_keeps_its_sharpness():
    pair = {"image": pictures(2, 3, 16, 16), "image_raw": pictures(2, 3, 8, 8)}
    pipe = AugmentPipe(PIPES["colour"], 1.0)
    changed = pipe.pair(pair, draws(range(2)))
    assert torch.equal(changed["image"], pipe(pair["image"], draws(range(2))))
    assert torch.equal(changed["image_raw"], pipe(pair["image_raw"], draws(range(2))))
    assert AugmentPipe(PIPES["colour"], 0.0).pair(pair, None) is pair


def test_other_channel_counts_are_refused():
    with pytest.raises(ValueError, match="3 channels or pairs of 6, not of 4"):
        AugmentPipe(ALL, 1.0)(torch.zeros(1, 4, 8, 8), draws([0]))


# ------------------------------------------------------------------ keyed randomness


@pytest.mark.parametrize("pipe", PIPES)
def test_a_sample_changes_the_same_in_any_micro_batch(pipe):
    pair = {"image": pictures(4, 3, 24, 24), "image_raw": pictures(4, 3, 12, 12)}
    pipe = AugmentPipe(PIPES[pipe], 0.8)
    whole = pipe.pair(pair, draws(range(4)))
    for part in (slice(0, 1), slice(1, 4)):
        piece = pipe.pair({name: x[part] for name, x in pair.items()}, draws(range(4)[part]))
        for name in pair:
            torch.testing.assert_close(piece[name], whole[name][part], rtol=0, atol=1e-6)


def test_samples_and_steps_change_differently():
    images = pictures(1, 3, 8, 8).expand(2, 3, 8, 8)
    pipe = AugmentPipe(PIPES["colour"], 1.0)
    now, later = pipe(images, draws(range(2))), pipe(images, draws(range(2), images_seen=16))
    assert now[0].ne(now[1]).any() and now[0].ne(later[0]).any()


# ------------------------------------------------------------------ gradients


@pytest.mark.parametrize("pipe", ["colour", "bgc"])
def test_first_and_second_gradients_of_the_pipe(pipe):
    images = pictures(2, 6, 5, 6, dtype=torch.float64).requires_grad_(True)
    augmented = AugmentPipe(PIPES[pipe], 0.9)
    assert gradcheck(lambda x: augmented(x, draws(range(2))), images, fast_mode=True)
    assert gradgradcheck(lambda x: augmented(x, draws(range(2))), images, fast_mode=True)
    assert gradgradcheck(lambda x: augmented(x, draws(range(2))).pow(3), images, fast_mode=True)


def test_second_gradients_of_everything_at_once():
    images = pictures(1, 3, 22, 22, dtype=torch.float64).requires_grad_(True)
    augmented = AugmentPipe(ALL, 1.0)
    assert gradcheck(lambda x: augmented(x, draws([3])), images, fast_mode=True)
    assert gradgradcheck(lambda x: augmented(x, draws([3])).pow(3), images, fast_mode=True)


def test_gradients_of_a_pair_reach_both_pictures():
    pair = {"image": pictures(1, 3, 6, 6, dtype=torch.float64), "image_raw": pictures(1, 3, 4, 4, dtype=torch.float64)}
    inputs = [x.requires_grad_(True) for x in pair.values()]

    def both(image, image_raw):
        return tuple(AugmentPipe(PIPES["bgc"], 1.0).pair(dict(image=image, image_raw=image_raw), draws([0])).values())

    assert gradcheck(both, inputs, fast_mode=True) and gradgradcheck(both, inputs, fast_mode=True)


def test_r1_through_the_pipe_reaches_the_weights_of_a_real_discriminator(tiny_discriminator, frontal_cameras):
    D = tiny_discriminator.double()
    pair = {"image": pictures(2, 3, 32, 32, dtype=torch.float64), "image_raw": pictures(2, 3, 16, 16).double()}
    inputs = [x.requires_grad_(True) for x in pair.values()]
    logits = D(AugmentPipe(PIPES["bgc"], 1.0).pair(pair, draws(range(2))), frontal_cameras(2).double())
    term, _ = losses.r1_penalty(logits, inputs, gamma=1.0)
    term.mean().backward()
    gradients = [p.grad for p in D.parameters() if p.grad is not None]
    assert all(g.isfinite().all() for g in gradients) and sum(g.abs().sum() for g in gradients) > 0


# ------------------------------------------------------------------ the strength of --aug=ada


def test_strength_moves_by_the_published_step():
    # batch 32, every 4 batches, 500 kimg: 32 * 4 / 500000
    assert adapted(0.1, 0.7, target=0.6, images=128, kimg=500) == pytest.approx(0.100256)
    assert adapted(0.1, 0.5, target=0.6, images=128, kimg=500) == pytest.approx(0.099744)
    assert adapted(0.1, 0.6, target=0.6, images=128, kimg=500) == 0.1
    assert adapted(0.1, 0.7, target=0.6, images=128, kimg=100) == pytest.approx(0.10128)


def test_strength_stays_a_probability():
    assert adapted(0.0001, -1.0, target=0.6, images=128, kimg=500) == 0
    assert adapted(0.9999, 1.0, target=0.6, images=128, kimg=500) == 1  # published: no limit


def test_signs_of_two_processes_add_up_to_those_of_one():
    logits = torch.tensor([[2.0], [-0.5], [0.0], [3.0], [math.nan], [math.inf]])
    assert count_signs(logits).tolist() == [2, 5]  # +1 -1 0 +1 +1; the NaN is not counted
    assert torch.equal(count_signs(logits[:2]) + count_signs(logits[2:]), count_signs(logits))


def strength(**settings) -> AugmentStrength:
    return AugmentStrength(AugmentConfig(mode="ada", kimg=1.0, **settings))  # steps of 0.04


def feed(controller: AugmentStrength, *means: float, start: int = 0) -> list[float]:
    """One batch of ten logits for each mean sign -> p after each batch."""
    history = []
    for batches, mean in enumerate(means, start=start + 1):
        controller.observe(torch.tensor([10 * mean, 10.0], dtype=torch.float64))
        controller.after_batch(batches)
        history.append(controller.p)
    return history


def test_strength_follows_the_mean_of_all_signs_since_it_last_changed():
    # The first four batches average 0.65, though three of them and the last lie below the target of 0.6.
    assert feed(strength(), 1.0, 0.55, 0.55, 0.5) == pytest.approx([0, 0, 0, 0.04])
    # What was counted before a change does not count again: 1.0 three times would outweigh 0.5.
    up_and_down = feed(strength(), 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5)
    assert up_and_down == pytest.approx([0, 0, 0, 0.04, 0.04, 0.04, 0.04, 0])


def test_strength_goes_on_from_its_state_as_if_nothing_had_happened():
    signs = (
        1.0,
        0.9,
        0.8,
        1.0,
        1.0,
        1.0,
        0.5,
        0.5,
    )  # the stop is between the last two pairs, which differ in direction
    unbroken = feed(strength(), *signs)
    first = strength()
    feed(first, *signs[:6])
    state = first.state()
    assert all(type(value) is float for value in state.values())
    second = strength()
    second.restore(state)
    assert feed(second, *signs[6:], start=6) == unbroken[6:]
    assert state["sign_count"] == 20


def test_without_signs_the_strength_stays():
    controller = strength()
    controller.after_batch(4)
    assert controller.p == 0


def test_a_fixed_strength_never_changes():
    controller = AugmentStrength(AugmentConfig(mode="fixed", p=0.3))
    assert feed(controller, 1.0, 1.0, 1.0, 1.0) == [0.3] * 4


# ------------------------------------------------------------------ settings


def test_a_pipe_is_needed_with_ada_and_with_a_fixed_strength_above_zero():
    assert AugmentConfig(mode="ada").on and AugmentConfig(mode="fixed").on
    assert not AugmentConfig().on and not AugmentConfig(mode="fixed", p=0.0).on


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(mode="adaptive"), "--aug=adaptive is unknown; use one of noaug, ada, fixed"),
        (dict(pipe="all"), "--augpipe=all is unknown; use one of colour, bgc, bgcfnc"),
        (dict(p=1.5), "--p=1.5 must be a number from 0 to 1"),
        (dict(target=math.nan), "--target=nan must be a number from 0 to 1"),
        (dict(kimg=0), "kimg=0 must be a number > 0"),
        (dict(interval=0), "interval=0 must be at least 1"),
    ],
)
def test_contradictory_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**settings)


def test_a_negative_multiplier_is_refused():
    with pytest.raises(ValueError, match="hue=-1 must be a number >= 0"):
        Transforms(hue=-1)
