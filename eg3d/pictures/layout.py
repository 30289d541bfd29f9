"""Pictures for people: generated images side by side, with labels, as PNG and GIF files."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from eg3d.pictures.text import text_strip, text_width
from groundwork.files import atomic_write


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """[N, 3, H, W] in [-1, 1] -> uint8 [N, H, W, 3], with the published rounding."""
    return (images.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def side_by_side(images: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 [H, W, 3] each -> one row [H, sum of W, 3]."""
    return np.concatenate(list(images), axis=1)


def tiles(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """uint8 [H, W, 3] each -> a grid, row by row; the last row is filled up with paper."""
    images = list(images)
    blank = np.full_like(images[0], 255)
    images += [blank] * (-len(images) % columns)
    return np.concatenate([side_by_side(images[i : i + columns]) for i in range(0, len(images), columns)], axis=0)


def enlarge(image: np.ndarray, side: int) -> np.ndarray:
    """uint8 [H, W, 3] -> [side, side, 3], smooth; smaller images only ever grow."""
    if image.shape[0] >= side:
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))


def stack(images: Sequence[np.ndarray], gap: int = 0) -> np.ndarray:
    """uint8 [H, W, 3] each -> one column, on paper as wide as the widest."""
    width = max(image.shape[1] for image in images)
    rows = [np.pad(i, ((0, gap), (0, width - i.shape[1]), (0, 0)), constant_values=255) for i in images]
    return np.concatenate(rows, axis=0)


def before_after_sheet(
    before: Sequence[torch.Tensor], after: Sequence[torch.Tensor], captions: Sequence[str], yaws_rad, side: int = 128
) -> np.ndarray:
    """One pair of rows per identity, before above after; one column per camera.

    Args:
        before, after: images [k, 3, H, W] of each identity.
        captions: of the two, as sentences; their first words label the rows.
        yaws_rad: k yaw angles of the cameras.
    """
    names = [caption.split(":")[0] for caption in captions]
    margin = max(72, min(180, 12 + round(max(text_width(name, 16) for name in names))))
    angles = [text_strip(side, 28, f"camera {math.degrees(yaw):+.0f}\N{DEGREE SIGN}", 14, True) for yaw in yaws_rad]
    header = side_by_side([text_strip(margin, 28, ""), *angles])
    title = stack([text_strip(header.shape[1], 26, caption) for caption in captions], gap=0)
    blocks = []
    for pair in zip(before, after, strict=True):
        rows = [
            side_by_side([text_strip(margin, max(side, i.shape[-1]), n), *(enlarge(x, side) for x in to_uint8(i))])
            for n, i in zip(names, pair, strict=True)
        ]
        blocks.append(stack(rows, gap=3))
    return stack([title, header, stack(blocks, gap=12)])


def turning_frames(
    films: Sequence[Sequence[torch.Tensor]], captions: Sequence[str], side: int = 128
) -> list[np.ndarray]:
    """Frames of a film that turns there and back: each of `films` is a row of identities under its caption.

    films: images [k, 3, H, W] of each identity, from one side to the other.
    """
    frames = []
    for at in range(len(films[0][0])):
        rows = []
        for caption, identities in zip(captions, films, strict=True):
            row = side_by_side([enlarge(to_uint8(images[at : at + 1])[0], side) for images in identities])
            rows += [text_strip(row.shape[1], 26, caption), row]
        frames.append(stack(rows))
    return frames + frames[-2:0:-1]


def png_bytes(image: np.ndarray) -> bytes:
    """uint8 [H, W, 3] -> the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_png(path: Path, image: np.ndarray) -> None:
    """uint8 [H, W, 3] -> PNG, written atomically."""
    atomic_write(path, png_bytes(image))


def write_gif(path: Path, frames: Sequence[np.ndarray]) -> None:
    """uint8 [H, W, 3] each -> an endless GIF with one palette for all frames, written atomically."""
    images = [Image.fromarray(frame) for frame in frames]
    # Median cut gives a face all 256 colours of its skin, and the whites of its eyes dots of blue and skin.
    palette = images[len(images) // 2].quantize(256, Image.Quantize.FASTOCTREE)
    indexed = [image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for image in images]
    buffer = io.BytesIO()
    indexed[0].save(buffer, "GIF", save_all=True, append_images=indexed[1:], duration=70, loop=0)
    atomic_write(path, buffer.getvalue())
