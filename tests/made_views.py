"""Made-up views for tests of the files that hold them."""

import numpy as np

from dataset_preprocessing.nv_rendering.view_writer import Layout
from l2cs.view_files import KEYS, row_shape


def made_views(layout: Layout, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of all keys of a layout with `count` rows; angles within one radian."""
    draws, views = np.random.default_rng(seed), {}
    for name, key in layout.keys.items():
        shape = (count, *row_shape(key, layout.side))
        if key.dtype.startswith("S"):
            views[name] = np.array([f"p00/day01/{seed:04}.jpg".encode()] * count)
        elif name in ("source_row", "view"):
            views[name] = np.arange(count, dtype=key.dtype) if name == "view" else np.full(count, seed, key.dtype)
        elif np.dtype(key.dtype).kind == "f":
            views[name] = draws.uniform(-1, 1, shape).astype(key.dtype)
        else:
            views[name] = draws.integers(0, 256, shape).astype(key.dtype)
    return views


assert set(KEYS) <= set(Layout().keys)
