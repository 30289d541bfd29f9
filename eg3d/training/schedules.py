"""What changes during a run, as pure functions of the images seen so far; no schedule depends on time.

A fade of 0 kimg means the final value from the first image on.
"""

import math


def fade_done(images_seen: float, fade_kimg: float) -> float:
    """How much of a fade is done: 0..1."""
    return min(images_seen / (1000 * fade_kimg), 1.0) if fade_kimg > 0 else 1.0


def blur_sigma(images_seen: float, init_sigma_px: float, fade_kimg: float) -> float:
    """Sigma in pixels of the blur in front of the discriminator: from `init_sigma_px` linearly to 0."""
    return (1 - fade_done(images_seen, fade_kimg)) * init_sigma_px


def swap_probability(images_seen: float, prob: float | None, fade_kimg: float) -> float | None:
    """How often the mapping network is told another camera than the rendered one: from always to `prob`.

    None (no pose conditioning) stays None. EG3D (Chan et al. 2022), section 4.4.
    """
    if prob is None:
        return None
    done = fade_done(images_seen, fade_kimg)
    return (1 - done) + done * prob


def neural_rendering_resolution(images_seen: float, initial: int, final: int | None, fade_kimg: float) -> int:
    """Rays per side: from `initial` to `final` through every integer; None keeps `initial`."""
    if final is None:
        return initial
    done = fade_done(images_seen, fade_kimg)
    return round(initial * (1 - done) + final * done)


def ema_beta(images_seen: float, batch: int, ema_kimg: float, rampup: float | None) -> float:
    """The part of the old average that one step of `batch` images keeps; after `ema_kimg` it is half.

    With a `rampup` the half-life is at most that fraction of the images seen, so that the start is forgotten.
    """
    half_life = 1000 * ema_kimg
    if rampup is not None:
        half_life = min(half_life, images_seen * rampup)
    return 0.5 ** (batch / max(half_life, 1e-8))


def rate_left(images_seen: float, fade_kimg: float | None) -> float:
    """What is left of a learning rate that falls from 1 to 0 as a cosine (Loshchilov & Hutter 2017, eq. 5); None: 1."""
    return 1.0 if fade_kimg is None else (1 + math.cos(math.pi * fade_done(images_seen, fade_kimg))) / 2


def lazy_adam(lr: float, betas: tuple[float, float], interval: int | None) -> tuple[float, tuple[float, float]]:
    """Learning rate and betas when a regulariser takes an extra step every `interval` main steps (StyleGAN2, app. B).

    One optimiser makes interval + 1 steps where it would make `interval`: each is shortened to match.
    """
    if interval is None:
        return lr, betas
    share = interval / (interval + 1)
    return lr * share, (betas[0] ** share, betas[1] ** share)


def ticks_passed(images_seen: int, tick_kimg: float) -> int:
    """How many ticks of `tick_kimg` are over: 0 after the first batch."""
    return int(images_seen // (tick_kimg * 1000))


def at_tick(images_seen: int, batch: int, tick_kimg: float) -> bool:
    """Whether the step that ended at `images_seen` has passed a tick; the first step always has."""
    before = images_seen - batch
    return before == 0 or ticks_passed(images_seen, tick_kimg) > ticks_passed(before, tick_kimg)
