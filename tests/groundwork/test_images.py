"""The one door for pictures: each kind of file becomes the picture that a viewer shows, or one line."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from groundwork import formats, images
from groundwork.archive import Unreadable
from groundwork.images import read_picture

FAULTS = Path(__file__).resolve().parent.parent / "data" / "faults"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # as silence_pillow does
EDGES = np.array([0, 128, 129, 255, 256, 32767, 32768, 65279, 65280, 65535])  # where 16 bits might be clipped


def saved(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def read(data: bytes, background: str = "white") -> np.ndarray:
    return np.asarray(read_picture(data, "x", background)).astype(int)


def colours(height: int = 4, width: int = 6) -> Image.Image:
    return Image.fromarray(np.random.RandomState(0).randint(0, 256, (height, width, 3), np.uint8))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(values: np.ndarray, colour_type: int, *chunks: bytes) -> bytes:
    """A PNG of one row of 16-bit values [N, channels]."""
    header = struct.pack(">IIBBBBB", len(values), 1, 16, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"\0" + values.astype(">u2").tobytes())
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(values: np.ndarray, sample_format: int = 1, photometric: int = 1) -> bytes:
    """An uncompressed TIFF of one row of values [N, channels], in their own byte order."""
    end = ">" if values.dtype.str[0] == ">" else "<"
    count, samples, bits = *values.shape, 8 * values.dtype.itemsize
    long_ones = b"".join(struct.pack(f"{end}{samples}H", *[n] * samples) for n in (bits, sample_format))
    at = 8 + 2 + 10 * 12 + 4
    rows = [(256, 4, 1, count), (257, 4, 1, 1), (258, 3, samples, bits), (259, 3, 1, 1), (262, 3, 1, photometric),
            (273, 4, 1, at + len(long_ones)), (277, 3, 1, samples), (278, 4, 1, 1), (279, 4, 1, values.nbytes),
            (339, 3, samples, sample_format)]  # fmt: skip
    table = b""
    for tag, kind, many, value in rows:
        if many > 2:
            value = at + (0 if tag == 258 else 2 * samples)
        field = struct.pack(f"{end}HH", value, 0) if kind == 3 and many <= 2 else struct.pack(f"{end}I", value)
        table += struct.pack(f"{end}HHI", tag, kind, many) + field
    start = (b"MM\0*" if end == ">" else b"II*\0") + struct.pack(f"{end}IH", 8, len(rows))
    return start + table + bytes(4) + long_ones + values.tobytes()


def column(kind: str, values: np.ndarray = EDGES, channels: int = 1) -> np.ndarray:
    return np.repeat(values[:, None], channels, axis=1).astype(kind)


DEEP = {
    "grey PNG": png16(column(">u2"), 0),
    "RGB PNG": png16(column(">u2", channels=3), 2),
    "grey TIFF, little-endian": tiff(column("<u2")),
    "grey TIFF, big-endian": tiff(column(">u2")),
    "grey TIFF, packed": saved(Image.fromarray(column("u2")), "TIFF", compression="tiff_lzw"),
    "grey TIFF of 32 bits that holds 16": tiff(column("<i4"), 2),
    "RGB TIFF, little-endian": tiff(column("<u2", channels=3), 1, 2),
    "RGB TIFF, big-endian": tiff(column(">u2", channels=3), 1, 2),
    "TIFF whose white is zero": tiff(65535 - column("<u2"), 1, 0),
    "float TIFF": tiff(column("<f4", EDGES / 65535), 3),
    "float TIFF, big-endian": tiff(column(">f4", EDGES / 65535), 3),
    "grey PGM": b"P5 10 1 65535\n" + column(">u2").tobytes(),
    "RGB PPM": b"P6 10 1 65535\n" + column(">u2", channels=3).tobytes(),
    "JPEG 2000": saved(Image.fromarray(column("u2").repeat(16, 1)), "JPEG2000"),
}


@pytest.mark.parametrize("name", DEEP)
def test_16_bits_are_scaled_not_clipped(name):
    got = read(DEEP[name]).reshape(-1, 3)
    got = got[::16] if name == "JPEG 2000" else got
    assert np.abs(got - EDGES[:, None] / 257).max() <= 1


def test_12_bits_are_scaled_too():
    bits = [struct.pack("<HHII", 258, 3, 1, n) for n in (16, 12)]
    whole = tiff(np.zeros((6, 1), "<u2")).replace(*bits)
    packed = bytes.fromhex("0000010ff100800fff")  # 0, 1, 255, 256, 2048, 4095
    assert np.abs(read(whole[:-12] + packed)[0, :, 0] - np.array([0, 1, 255, 256, 2048, 4095]) / 16.06).max() <= 1


@pytest.mark.parametrize(
    "data",
    [
        tiff(column("<i4", EDGES * 30000), 2),  # nobody knows what is white
        tiff(column("<i4", EDGES // 257), 2),
        tiff(column("<i2", EDGES - 32768), 2),
        tiff(column("<f4", EDGES / 257), 3),
        tiff(column("<f4", EDGES * np.nan), 3),
    ],
)
def test_values_of_unknown_scale_are_one_line_never_clipped(data):
    with pytest.raises(Unreadable, match="^x cannot be read as RGB .* store it as plain RGB$"):
        read(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright_by_their_exif_tag(kind, orientation):
    picture = Image.new("RGB", (32, 48), "black")  # a red bar on top, a green one on the left
    picture.paste("red", (0, 0, 32, 16))
    picture.paste("lime", (0, 16, 16, 48))
    turns = {n: images.TURNS[n] for n in range(2, 9)}
    undo = {6: images.TURNS[8], 8: images.TURNS[6]}
    stored = picture.transpose(undo.get(orientation, turns[orientation])) if orientation > 1 else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = read(saved(stored, kind, exif=exif))
    assert got.shape == (48, 32, 3)
    for y, x, colour in ((8, 16, (255, 0, 0)), (32, 8, (0, 255, 0)), (32, 24, (0, 0, 0))):
        assert np.abs(got[y, x] - colour).max() < 25


@pytest.mark.parametrize("file", sorted((FAULTS / "b03_exif_sideways" / "all").iterdir()), ids=lambda file: file.name)
def test_b03_the_red_bar_is_on_top(file):
    got = read(file.read_bytes())
    assert got[2].mean(axis=0) == pytest.approx([220, 25, 25], abs=60) and got[-3].mean(axis=0)[0] < 160


def test_an_exif_tag_behind_the_pixels_of_a_png_counts_and_a_damaged_one_does_not():
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = saved(colours(), "PNG")
    late = plain[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + plain[-12:]
    assert (read(late) == np.rot90(np.asarray(colours()), -1)).all()
    for bad in (b"garbage!", b"II*\0\xff\xff\xff\xff", b"", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\xff"):
        assert (read(plain[:-12] + chunk(b"eXIf", bad) + plain[-12:]) == np.asarray(colours())).all()


def with_alpha(mode: str) -> Image.Image:
    """Blue above; below hidden red, or hidden black in a grey picture."""
    picture = Image.new("RGBA", (4, 4), (200, 10, 10, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 4, 2))
    return picture.convert(mode)


def palette_with(transparency) -> bytes:
    picture = with_alpha("RGBA").convert("RGB").quantize(4)
    return saved(picture, "PNG", transparency=transparency(picture))


CLEAR = {
    "RGBA": saved(with_alpha("RGBA"), "PNG"),
    "webp": saved(with_alpha("RGBA"), "WEBP", lossless=True),
    "tiff": saved(with_alpha("RGBA"), "TIFF"),
    "palette": palette_with(lambda picture: picture.getpixel((0, 3))),
    "gif": saved(with_alpha("RGBA"), "GIF"),
    "colour key": saved(with_alpha("RGB"), "PNG", transparency=(200, 10, 10)),
    "16 bits": png16(np.repeat([(0, 0, 65535, 65535), (9, 9, 9, 0)], (8, 8), axis=0), 6),
    "16 bits, colour key": png16(
        np.repeat([(0, 0, 65535), (51234, 2580, 2570)], (8, 8), axis=0), 2,
        chunk(b"tRNS", struct.pack(">HHH", 51234, 2580, 2570)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLEAR)
def test_transparent_pixels_show_the_background_whatever_the_file_holds(name):
    for background, value in (("white", 255), ("black", 0)):
        got = read(CLEAR[name], background).reshape(16, 3)
        assert (got[:8] == (0, 0, 255)).all() and (got[8:] == value).all()


def test_transparent_grey_shows_the_background():
    for data in (
        saved(with_alpha("LA"), "PNG"),
        png16(np.repeat([(7424, 65535), (9, 0)], (8, 8), axis=0), 4),
        png16(np.repeat([(7424,), (32768,)], (8, 8), axis=0), 0, chunk(b"tRNS", struct.pack(">H", 32768))),
    ):
        got = read(data).reshape(16, 3)
        assert np.abs(got[:8] - 29).max() <= 1 and (got[8:] == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "RGBX"])
def test_other_modes_look_as_pillow_shows_them(mode):
    stored = colours().convert(mode)
    got = read(saved(stored, "TIFF"))
    assert np.abs(got - np.asarray(stored.convert("RGB"))).max() <= 1


def test_inks_are_inverted_only_if_adobe_wrote_them():
    inks = Image.new("CMYK", (16, 16), (0, 0, 0, 0))  # no ink: white
    adobe = saved(inks, "JPEG")
    at = adobe.index(b"\xff\xee")
    length = 2 + struct.unpack(">H", adobe[at + 2 : at + 4])[0]
    plain = adobe[:at] + adobe[at + length :]
    assert (read(adobe) == 255).all()
    assert (read(plain) == 0).all()  # without the marker the stored 255 are all ink


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """A colour profile whose red is sRGB's blue."""
    table = SRGB.replace(b"rXYZ", b"tmp_", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tmp_", b"bXYZ", 1)
    assert table != SRGB
    return table


def by_hand(space: bytes, colours: dict[bytes, tuple[float, ...]], gamma: float) -> bytes:
    """A colour profile of these primaries (ICC.1:2010, section 7); its curves are powers."""
    white = (0.9642, 1.0, 0.8249)
    fixed = lambda numbers: struct.pack(f">{len(numbers)}i", *(round(65536 * x) for x in numbers))  # noqa: E731
    tags = {name: b"XYZ " + bytes(4) + fixed(xyz) for name, xyz in (colours | {b"wtpt": white}).items()}
    curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, round(256 * gamma), 0)
    tags |= {name: curve for name in ((b"kTRC",) if space == b"GRAY" else (b"rTRC", b"gTRC", b"bTRC"))}
    at, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value
    header = struct.pack(">I", at + len(data)) + b"lcms" + struct.pack(">I", 0x02400000) + b"mntr" + space + b"XYZ "
    header += bytes(12) + b"acsp" + bytes(28) + fixed(white)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


PRIMARIES = {b"rXYZ": (0.4361, 0.2225, 0.0139), b"gXYZ": (0.3851, 0.7169, 0.0971), b"bXYZ": (0.1431, 0.0606, 0.7139)}
LINEAR, LINEAR_GREY = by_hand(b"RGB ", PRIMARIES, 1), by_hand(b"GRAY", {}, 1)


def test_a_colour_profile_is_converted_to_srgb():
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        assert np.abs(read(saved(red, kind, icc_profile=swapped_profile())) - (0, 0, 255)).max() < 8, kind
    clear = read(saved(with_alpha("RGBA"), "PNG", icc_profile=swapped_profile()))
    assert np.abs(clear[:2] - (255, 0, 0)).max() < 4 and (clear[2:] == 255).all()
    palette = read(saved(red.quantize(2), "PNG", icc_profile=swapped_profile()))
    assert np.abs(palette - (0, 0, 255)).max() < 4


def test_a_grey_profile_is_converted_too():
    got = read(saved(Image.new("L", (4, 4), 55), "PNG", icc_profile=LINEAR_GREY))
    assert np.abs(got - 128).max() <= 2  # sRGB's curve (IEC 61966-2-1): 1.055 (55 / 255) ** (1 / 2.4) - 0.055
    of_colours = read(saved(Image.new("L", (4, 4), 55), "PNG", icc_profile=LINEAR))  # programs give grey pictures these
    assert np.abs(of_colours - 128).max() <= 2
    deep = png16(np.full((4, 1), 55 * 257), 0, chunk(b"iCCP", b"x\0\0" + zlib.compress(LINEAR_GREY)))
    assert np.abs(read(deep) - 128).max() <= 2


def test_srgb_changes_nothing_and_neither_does_a_profile_that_cannot_be_used():
    picture = colours(64, 64)
    expected = np.asarray(picture)
    nearly = SRGB.replace(b"\0\0o\xa0\0\x008\xf5", b"\0\0o\xb4\0\x008\xf5", 1)  # red's X, 0.0003 more
    assert nearly != SRGB
    for profile in (SRGB, nearly, b"", b"x", SRGB[:200], swapped_profile()[:128] + bytes(400), LINEAR_GREY):
        assert (read(saved(picture, "PNG", icc_profile=profile)) == expected).all()
    grey = picture.convert("L")
    assert (read(saved(grey, "PNG", icc_profile=SRGB)) == np.asarray(grey)[..., None]).all()


def test_the_first_picture_of_several_is_taken():
    first, second = Image.new("RGB", (4, 4), (10, 200, 30)), Image.new("RGB", (4, 4), (250, 0, 0))
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {}), ("AVIF", {})):
        got = read(saved(first, kind, save_all=True, append_images=[second], **options))
        assert np.abs(got - (10, 200, 30)).max() < 8, kind


DAMAGED = {
    "empty": (b"", "cannot be read as an image (none of PNG"),
    "text": (b"<html>not found</html>", "cannot be read as an image (none of PNG"),
    "cut head": (saved(colours(), "PNG")[:20], "cannot be read as an image"),
    "cut PNG": (saved(colours(40, 40), "PNG")[:500], "is damaged"),
    "JPEG without its last two bytes": (saved(colours(40, 40), "JPEG")[:-2], "is damaged (image file is truncated"),
    "b18": ((FAULTS / "b18_cut_jpeg_ends_the_conversion/photos/b.jpg").read_bytes(), "is damaged (image file is trunc"),
    "TIFF that Pillow cannot read": (tiff(column("<f8"), 3), "a damaged or unusual TIFF"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_names_itself(name):
    data, expected = DAMAGED[name]
    with pytest.raises(Unreadable, match="^x ") as error:
        read(data)
    assert expected in str(error.value) and str(error.value).isprintable()


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(images, "MOST_PIXELS", 23)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("was decoded"))
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "BMP", "PPM", "JPEG2000"):
        with pytest.raises(Unreadable, match="x claims 6x4 pixels"):
            read(saved(colours(), kind))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF"])
def test_the_first_bytes_tell_the_format(kind):
    assert formats.kind_of(saved(colours(16, 16), kind)[: formats.HEAD_BYTES]) == kind


def test_heic_without_a_decoder_says_what_helps(monkeypatch):
    monkeypatch.setattr(images, "has_decoder", lambda kind: kind != "HEIF")
    for brands in (b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0mif1heic"):
        with pytest.raises(Unreadable, match="x is HEIF, .* install pillow-heif, or convert it"):
            read(b"\0\0\0\x1cftyp" + brands + bytes(50))
    assert formats.kind_of(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == "AVIF"


def test_heic_stands_upright_where_a_decoder_is_installed():
    pytest.importorskip("pillow_heif").register_heif_opener()
    picture = Image.new("RGB", (64, 96), "black")
    picture.paste("red", (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    got = read(saved(picture.transpose(images.TURNS[8]), "HEIF", exif=exif.tobytes()))
    assert got.shape == (96, 64, 3) and got[10, 32, 0] > 240 and got[80].max() < 20
