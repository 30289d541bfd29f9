"""The seed of a draw, made of its place in a run. Nothing heavy is imported here: workers that draw start without
PyTorch."""

import hashlib


def draw_key(seed: int, phase: str, sample: int, images_seen: int) -> int:
    """32-bit seed of one sample's draws; `sample` is its index in the global batch, never in a process."""
    text = f"{seed}/{phase}/{sample}/{images_seen}"
    return int.from_bytes(hashlib.blake2s(text.encode(), digest_size=4).digest(), "big")
