"""The one door for pictures: from the bytes of a file to RGB pixels, upright, 8 bits, in sRGB.

The size is checked before anything is decoded. What decides is the content of a file, never its ending.
"""

import functools
import io
import logging
import warnings

import numpy as np
from PIL import Image, ImageChops

from groundwork.archive import Unreadable, reason
from groundwork.formats import HEAD_BYTES, MAGIC, has_decoder, kind_of

MOST_PIXELS = 2**26  # 8192 x 8192
BACKGROUND = "white"  # where a picture is transparent
SAME_COLOUR = 2  # of 255: a profile that moves no colour further is sRGB, written with other rounding

TURNS = {  # EXIF's orientation -> what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def silence_pillow() -> None:
    """Stops the warnings and the log of Pillow in this process.

    They tell of too many pixels, which is an error here, or of damaged metadata, which does not matter. The whole
    process goes without them, because `warnings.catch_warnings` must not be used while other threads decode.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)


def open_image(data: bytes, where: str) -> Image.Image:
    """Reads the header only; size and mode are those of the file. `Unreadable`, beginning with `where`, if it is none
    or announces too many pixels."""
    kind = kind_of(data[:HEAD_BYTES])
    if kind is None:
        raise Unreadable(f"{where} cannot be read as an image (none of {', '.join(MAGIC)}); replace it")
    if not has_decoder(kind):
        package = "pillow-heif" if kind == "HEIF" else "a Pillow that reads it"
        raise Unreadable(f"{where} is {kind}, which nothing here decodes; install {package}, or convert it")
    try:
        image = Image.open(io.BytesIO(data), formats=(kind,))
    except Image.UnidentifiedImageError:
        raise Unreadable(f"{where} cannot be read as an image (a damaged or unusual {kind}); replace it") from None
    except Exception as error:  # Pillow's decoders raise whatever they stumble over
        raise Unreadable(f"{where} cannot be read as an image ({reason(error)}); replace the file") from None
    width, height = image.size
    if not 0 < width * height <= MOST_PIXELS:
        raise Unreadable(f"{where} claims {width}x{height} pixels, at most {MOST_PIXELS} are read; replace the file")
    return image


def read_picture(data: bytes, where: str, background: str = BACKGROUND, enough: int | None = None) -> Image.Image:
    """The RGB picture of a file, as a viewer shows it; the first one of several.

    enough: px of the shorter side that will do. A JPEG is then read at a half, a quarter or an eighth of its size if
    that leaves so many: of a photo of 40 million pixels in a tenth of the time.
    """
    with open_image(data, where) as image:
        if enough is not None:
            image.draft(None, (enough, enough))
        return decoded(image, where, background)


def decoded(image: Image.Image, where: str, background: str = BACKGROUND) -> Image.Image:
    """An opened image as RGB: turned upright, 8 bits, in sRGB, on the background where it is transparent."""
    try:
        profile, deep = image.info.get("icc_profile"), _is_deep(image)
        image.load()
        orientation = _orientation(image)
    except Exception as error:  # as above
        raise Unreadable(f"{where} is damaged ({reason(error)}); replace the file") from None
    try:
        picture = _opaque(_in_srgb(_eight_bits(image, deep), profile), background)
    except Exception as error:
        raise Unreadable(f"{where} cannot be read as RGB ({reason(error)}); store it as plain RGB") from None
    return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture


def read_rgb(data: bytes, where: str, side: int) -> np.ndarray:
    """uint8 [side, side, 3] of an image file that must have that size."""
    with open_image(data, where) as image:
        if image.size != (side, side):
            width, height = image.size
            raise ValueError(
                f"{where} is {width}x{height}, the first image is {side}x{side}; bring all images to one size "
                "(dataset_preprocessing/dataset_tool.py)"
            )
        return np.array(decoded(image, where))


def is_transparent(image: Image.Image) -> bool:
    """Whether an opened image may show a background."""
    if image.mode == "P" and image.palette.mode == "RGBA":
        return True
    return "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info


def _orientation(image: Image.Image) -> int:
    """EXIF's, 1 to 8; damaged metadata leave a picture as it is."""
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:
        return 1


def _is_deep(image: Image.Image) -> bool:
    """Whether the file has 16 bits per colour, of which Pillow keeps the upper 8."""
    return bool(image.tile) and ";16" in str(image.tile[0][3])


def _eight_bits(image: Image.Image, deep: bool) -> Image.Image:
    """Grey values of 16 bits and floats, scaled to 8 bits; other images as they are. ValueError if the range of the
    values is unknown: clipped pixels would look like a picture."""
    transparent = image.info.get("transparency")
    if image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):  # also NaN
            raise ValueError(f"floats from {values.min():g} to {values.max():g}, only 0 to 1 are a picture")
        return Image.fromarray(np.rint(values * 255).astype(np.uint8))
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if image.mode == "I" and image.format == "TIFF" and not 0 <= values.min() <= 255 < values.max() <= 65535:
            raise ValueError(f"whole numbers from {values.min()} to {values.max()}, whose scale is unknown")
        white = 65535
        if image.format == "TIFF" and image.mode != "I":
            white = 2 ** image.tag_v2.get(258, (16,))[0] - 1  # of 12 bits Pillow leaves the values as they are
        grey = (values.astype(np.uint32) * 255 + white // 2) // white
        if image.format == "TIFF" and image.tag_v2.get(262) == 0:  # white is zero
            grey = 255 - grey
        picture = Image.fromarray(grey.astype(np.uint8))
        if transparent is not None:
            picture.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
        return picture
    if deep and isinstance(transparent, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        return ImageChops.invert(image)  # Pillow takes all for Adobe's, which are stored inverted
    return image


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB, or RGBA if it is transparent; converted from its colour profile if it has one that can be read."""
    grey, transparent = image.mode in ("1", "L", "LA", "La"), is_transparent(image)
    transform = None
    if profile and image.mode != "LAB":
        transform = to_srgb(profile, "CMYK" if image.mode == "CMYK" else "L" if grey else "RGB")
    full = image.convert("RGBA") if transparent else image
    if transform is None:
        return full if transparent else full.convert("RGB")
    picture = transform.apply(full.convert(transform.input_mode))
    if transparent:
        picture.putalpha(full.getchannel("A"))
    return picture


def _opaque(image: Image.Image, background: str) -> Image.Image:
    """RGB of an RGB or RGBA image."""
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")


@functools.lru_cache(maxsize=16)
def to_srgb(profile: bytes, mode: str):
    """ImageCms' transform of a colour profile to sRGB for images of a mode (L, RGB or CMYK); None if there is nothing
    to do: it is sRGB, is damaged, or is about other colours than the image has."""
    from PIL import ImageCms  # here: few pictures need it

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if mode == "L" and space == "RGB":  # a grey picture that a program gave its usual profile
            mode = "RGB"
        if {"L": "GRAY"}.get(mode, mode) != space:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        steps = np.linspace(0, 255, 18).astype(np.uint8)
        grid = np.stack(np.meshgrid(*[steps] * 3), axis=-1).reshape(1, -1, 3)
        colours = Image.fromarray(grid if mode == "RGB" else np.arange(256, dtype=np.uint8)[None])
        if mode != "CMYK":
            moved = np.asarray(transform.apply(colours)).astype(int) - np.asarray(colours.convert("RGB"))
            if np.abs(moved).max() <= SAME_COLOUR:
                return None
        return transform
    except Exception:  # of many kinds; a picture is read without a profile that cannot be
        return None
