"""From the bytes of an image file to pixels; its size is checked before anything is decoded."""

import io
import warnings
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from eg3d.data.archive import reason

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MOST_PIXELS = 2**26  # 8192 x 8192


def is_image(name: str) -> bool:
    """By its ending."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def silence_pillow() -> None:
    """Stops the warnings of Pillow in this process.

    They warn of too many pixels, which is an error here, or of damaged metadata, which does not matter. The whole
    process goes without them, because `warnings.catch_warnings` must not be used while other threads decode.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def open_image(data: bytes, where: str) -> Image.Image:
    """Reads the header only. ValueError, beginning with `where`, if it is none or announces too many pixels."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise ValueError(f"{where} cannot be read as an image (none of {', '.join(FORMATS)}); replace it") from None
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise ValueError(f"{where} cannot be read as an image ({reason(error)}); replace the file") from None
    width, height = image.size
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"{where} claims {width}x{height} pixels, at most {MOST_PIXELS} are read; replace the file")
    return image


def load_pixels(image: Image.Image, where: str) -> None:
    """Decodes an opened image in place; ValueError, beginning with `where`, if it is damaged."""
    try:
        image.load()
    except Exception as error:  # as above
        raise ValueError(f"{where} is damaged ({reason(error)}); replace the file") from None


def read_rgb(data: bytes, where: str, side: int) -> np.ndarray:
    """uint8 [side, side, 3] of an image file that must have that size, and no colour table or transparency."""
    with open_image(data, where) as image:
        if image.size != (side, side):
            width, height = image.size
            raise ValueError(
                f"{where} is {width}x{height}, the first image is {side}x{side}; bring all images to one size "
                "(dataset_preprocessing/dataset_tool.py)"
            )
        if image.mode not in ("RGB", "L"):
            raise ValueError(f"{where} has mode {image.mode}; store it as plain RGB, without alpha")
        load_pixels(image, where)
        return np.array(image.convert("RGB"))
