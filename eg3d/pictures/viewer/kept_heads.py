"""Heads whose planes are kept while they are looked at: the oldest make room once they take too much memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

MOST_BYTES = 1 << 28  # 256 MiB: ten heads of a published FFHQ network


class Kept:
    """A store of tensors by key, which forgets what was asked for longest ago."""

    def __init__(self, most_bytes: int = MOST_BYTES):
        self.most_bytes, self._entries, self.bytes = most_bytes, OrderedDict(), 0

    def get(self, key: Hashable, make: Callable):
        """What is kept under the key, else what `make()` gives: a tensor or a tuple of tensors."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key][0]
        value = make()
        if key in self._entries:  # made by another in a pause of this
            return self._entries[key][0]
        self._entries[key] = value, _bytes(value)
        self.bytes += _bytes(value)
        while self.bytes > self.most_bytes and len(self._entries) > 1:
            self.bytes -= self._entries.popitem(last=False)[1][1]
        return value

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries


def _bytes(value) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(_bytes(part) for part in value)
