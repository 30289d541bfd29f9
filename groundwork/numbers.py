"""Numbers of options: finite, and no larger than a machine can serve. A digit too many must not run for ever."""

import math
from collections.abc import Iterable

import click

MOST = 2**32  # of any number; seeds go so far
# By the name in Python. What is not here has a bound of its own, or costs nothing.
LARGEST = {
    "batch": 2**16, "batch_gpu": 2**16, "batch_size": 2**16, "mbstd_group": 2**16,  # pictures at once
    "gpus": 2**12, "workers": 2**8,  # processes, threads
    "num_gen": 10**8, "count": 10**8, "report_seeds": 10**6, "num_epochs": 10**6,  # pictures, rounds
    "w_frames": 10**6, "num_keyframes": 10**6,  # of a film
    "shape_res": 2**11, "crop_size": 2**16, "input_size": 2**12,  # pixels and cells per side
    "width": 2**12, "trunc_cutoff": 2**10, "fold": 2**10,
    "wait_minutes": 10**6,
}  # fmt: skip


def check_numbers(options: Iterable[click.Parameter], values: dict) -> None:
    """ValueError, naming the option, for the first number that is not finite or is too large."""
    for option in options:
        value = values.get(option.name)
        if type(value) in (int, float):
            most = LARGEST.get(option.name, MOST)
            if not math.isfinite(value):
                raise ValueError(f"{option.opts[0]}={value} is not a finite number")
            if abs(value) > most:
                raise ValueError(f"{option.opts[0]}={value:.3g} is too large; the largest is {most}")
