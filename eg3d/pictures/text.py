"""Text in pictures, in any script: fonts that have its letters, or else Latin letters in their place.

Names of files and networks become captions, so any text may come. Pillow's own font draws plain ASCII. DejaVu Sans,
which comes with Matplotlib, has Latin, Greek, Cyrillic, Hebrew and Arabic; the fonts of the system have the others.
A text that no single font covers is drawn in runs, each by a font of its own.
"""

import unicodedata
from functools import lru_cache
from pathlib import Path

import click
import numpy as np
from anyascii import anyascii
from PIL import Image, ImageDraw, ImageFont, features

INK, PAPER = (30, 30, 30), (255, 255, 255)
SMALLEST = 9  # pixels; text that does not fit in this size is shortened
BEYOND_ASCII = set("\N{DEGREE SIGN}\N{PLUS-MINUS SIGN}\N{HORIZONTAL ELLIPSIS}")  # what Pillow's font also has
FANCY = ("bold", "italic", "oblique", "light", "thin", "black", "mono", "condensed", "serif")


def text_strip(width: int, height: int, text: str, size: int = 16, centred: bool = False) -> np.ndarray:
    """Paper [height, width, 3] with one line of text: set smaller if it does not fit, then shortened."""
    strip = Image.new("RGB", (width, height), PAPER)
    while size > SMALLEST and text_width(text, size) > width - 8:
        size -= 1
    runs = readable(shortened(text, size, width - 8))
    draw, middle = ImageDraw.Draw(strip), height // 2
    if len(runs) <= 1:
        at, anchor = ((width // 2, middle), "mm") if centred else ((4, middle), "lm")
        for letters, file in runs:
            draw.text(at, letters, INK, font(file, size), anchor=anchor)
        return np.asarray(strip)
    x = (width - sum(font(file, size).getlength(letters) for letters, file in runs)) / 2 if centred else 4.0
    above, below = font(font_files()[0], size).getmetrics()
    for letters, file in runs:  # all on one line, wherever the middle of a font's letters is
        draw.text((x, middle + (above - below + 1) // 2), letters, INK, font(file, size), anchor="ls")
        x += font(file, size).getlength(letters)
    return np.asarray(strip)


def text_width(text: str, size: int) -> float:
    """Pixels from the first letter to the last one."""
    return sum(font(file, size).getlength(letters) for letters, file in readable(text))


def shortened(text: str, size: int, width: float) -> str:
    """Text that is too wide in a size loses letters in its middle; the ends of names tell them apart."""
    text = "".join(letters for letters, _ in readable(text))
    kept = len(text)
    while kept > 2 and text_width(text, size) > width:
        kept -= 1
        start = text[: (kept + 1) // 2].rstrip()
        candidate = f"{start}...{text[len(text) - kept // 2 :].lstrip()}"
        if text_width(candidate, size) <= width or kept == 2:
            return candidate
    return text


def for_plot(text: str) -> tuple[str, dict]:
    """(text, arguments that let Matplotlib draw it): letters it has not are in other fonts, and $ is a letter."""
    runs, families = readable(text, shaping=False), ["DejaVu Sans"]
    for file in dict.fromkeys(file for _, file in runs if file is not None):
        from matplotlib.font_manager import FontProperties, fontManager

        fontManager.addfont(file)
        families.append(FontProperties(fname=file).get_name())
    return "".join(letters for letters, _ in runs), {"fontfamily": families, "parse_math": False}


@lru_cache(1024)
def readable(text: str, shaping: bool | None = None) -> tuple[tuple[str, str | None], ...]:
    """One line of text as runs: (letters, the file of a font that has them all; None: Pillow's own font).

    Letters that no font has are written in Latin ones, and one note says so.

    Args:
        shaping: whether the program that draws joins and reorders letters, as Arabic or Hindi need it. [Pillow's]
    """
    shaping = features.check("raqm") and features.check("fribidi") if shaping is None else shaping
    text = unicodedata.normalize("NFC", " ".join(text.encode("utf-8", "replace").decode().split()))
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if text.isascii() or set(text) - BEYOND_ASCII <= set(map(chr, range(128))):
        return ((text, None),) if text else ()
    wanted = frozenset(map(ord, text))
    if shaping or not any(map(_is_shaped, text)):
        for file in font_files():
            if wanted <= letters_of(file):
                return ((text, file),)
    return _runs(text, shaping)


def _runs(text: str, shaping: bool) -> tuple[tuple[str, str | None], ...]:
    """The runs of a text that no single font has. What is no letter, such as a space, stays in the run before it."""
    found: list[tuple[str, str | None]] = []
    for letter in text:
        file = _font_with(letter, found[-1][1] if found else None) if shaping or not _is_shaped(letter) else None
        if file is None and not letter.isascii():
            _note_latin()
            letter = anyascii(letter)
        if found and found[-1][1] == file:
            found[-1] = (found[-1][0] + letter, file)
        else:
            found.append((letter, file))
    return tuple(run for run in found if run[0])


def _font_with(letter: str, before: str | None) -> str | None:
    """The file of a font for one letter, the one before if that will do; None for letters that Pillow's font has."""
    files = font_files()
    if before is not None and not letter.isalpha():
        files = [before, *files]
    elif letter.isascii():
        return None
    return next((file for file in files if ord(letter) in letters_of(file)), None)


def font(file: str | None, size: int) -> ImageFont.FreeTypeFont:
    """The font of a file, or Pillow's own, at a size in pixels."""
    return ImageFont.load_default(size) if file is None else ImageFont.truetype(file, size)


@lru_cache(1)
def font_files() -> list[str]:
    """DejaVu Sans, then the fonts of the system, plain ones first; as few as possible are opened."""
    import matplotlib  # here, as below: it is slow to import, and names are mostly ASCII
    from matplotlib.font_manager import findSystemFonts

    own = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    return [own, *sorted(findSystemFonts(), key=lambda file: (_fancy(file), Path(file).name, file))]


@lru_cache(None)
def letters_of(file: str) -> frozenset[int]:
    """The code points that a font has; none if its letters cannot be drawn in any size."""
    from matplotlib.ft2font import FT2Font

    try:
        ImageFont.truetype(file, SMALLEST)
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):  # a damaged file, or pictures of letters in one size
        return frozenset()


def _fancy(file: str) -> int:
    name = Path(file).name.lower()
    return sum(word in name for word in FANCY) - ("sans" in name)


def _is_shaped(letter: str) -> bool:
    """Whether the letter runs from right to left, or changes or moves with its neighbours."""
    return unicodedata.bidirectional(letter) in ("R", "AL") or unicodedata.category(letter) in ("Mn", "Mc")


@lru_cache(1)
def _note_latin() -> None:
    """Once in a process."""
    click.echo("note: no font here has all letters of a caption; Latin letters stand in their place", err=True)
