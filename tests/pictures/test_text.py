import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from dataset_preprocessing.selection import draw_histogram
from eg3d.pictures import text as module
from eg3d.pictures.text import font, readable, shortened, text_strip, text_width

DEJAVU = "DejaVuSans.ttf"


@pytest.fixture(autouse=True)
def forget():
    """What is cached belongs to the fonts of one test."""
    yield
    for function in (module.readable, module.font_files, module._note_latin):
        function.cache_clear()


@pytest.fixture
def only_dejavu(monkeypatch):
    first = module.font_files()[0]
    monkeypatch.setattr(module, "font_files", lambda: [first])
    return first


def chinese_font(path):
    """A font that has Latin letters and one Chinese one, each a filled square."""
    letters = [*range(32, 127), ord("中")]
    names = [".notdef", *(f"letter{point}" for point in letters)]
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 700), (800, 700), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    build = FontBuilder(1000, isTTF=True)
    build.setupGlyphOrder(names)
    build.setupCharacterMap({point: f"letter{point}" for point in letters})
    build.setupGlyf(dict.fromkeys(names, pen.glyph()))
    build.setupHorizontalMetrics(dict.fromkeys(names, (900, 100)))
    build.setupHorizontalHeader(ascent=800, descent=-200)
    build.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    build.setupOS2()
    build.setupPost()
    build.save(path)
    return str(path)


@pytest.mark.parametrize("name", ["café", "Jörg-Ängström", "Ελένη", "Наташа", "naïve ± 3°"])
def test_latin_greek_and_cyrillic_letters_are_drawn_by_the_font_of_matplotlib(name):
    ((shown, file),) = readable(name)
    assert shown == name and file.endswith(DEJAVU)
    boxes = text_strip(300, 30, "".join("\U0010fffd" if ord(letter) > 127 else letter for letter in name))
    assert not np.array_equal(text_strip(300, 30, name), boxes)
    bare = font(file, 16).getmask("\U0010fffd")
    for letter in filter(lambda letter: ord(letter) > 127, name):  # none of them is an empty box
        assert bytes(font(file, 16).getmask(letter)) != bytes(bare)


def test_plain_text_keeps_the_font_of_pillow_and_a_decomposed_name_is_composed():
    assert readable("before: embedded-base, 40\N{DEGREE SIGN}") == (("before: embedded-base, 40\N{DEGREE SIGN}", None),)
    assert readable("cafe\N{COMBINING ACUTE ACCENT}") == readable("café")  # as macOS writes file names


def test_a_font_of_the_system_that_has_the_letters_is_found(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.ttf").write_bytes(b"\x00\x01\x00\x00 not a font")
    fonts = [module.font_files()[0], str(tmp_path / "broken.ttf"), chinese_font(tmp_path / "squares.ttf")]
    monkeypatch.setattr(module, "font_files", lambda: fonts)
    assert readable("a中") == (("a中", fonts[2]),)
    assert (text_strip(60, 30, "中")[15, 6:12] == module.INK).all()
    assert capsys.readouterr().err == ""


def test_a_text_that_no_single_font_covers_is_drawn_by_several(tmp_path, monkeypatch, capsys):
    fonts = [module.font_files()[0], chinese_font(tmp_path / "squares.ttf")]
    monkeypatch.setattr(module, "font_files", lambda: fonts)
    assert readable("Наташа 中 é") == (("Наташа ", fonts[0]), ("中 ", fonts[1]), ("é", fonts[0]))
    assert module.for_plot("Наташа 中")[1]["fontfamily"] == ["DejaVu Sans", "DejaVu Sans", "Squares"]
    assert capsys.readouterr().err == ""
    assert text_width("Наташа中", 16) == pytest.approx(text_width("Наташа", 16) + text_width("中", 16))
    strip, before = text_strip(300, 30, "Наташа中"), 4 + int(text_width("Наташа", 16))
    assert np.array_equal(strip[:, :before], text_strip(300, 30, "Наташа")[:, :before])
    assert (strip[15, before + 6 : before + 12] == module.INK).all()  # the square
    assert readable("Наташа 器") == (("Наташа ", fonts[0]), ("Qi", None))
    assert capsys.readouterr().err.count("note: no font here has all letters of a caption") == 1


def test_letters_that_no_font_has_become_latin_ones_with_one_note(only_dejavu, capsys):
    ((shown, file),) = readable("生成器")
    assert file is None and shown.isascii() and shown.isalpha() and len(shown) > 5
    readable("頭像")
    assert capsys.readouterr().err.count("note: no font here has all letters of a caption") == 1
    assert text_strip(200, 30, "生成器").min() < 100


def test_letters_that_join_are_latin_ones_if_the_program_that_draws_cannot_join_them(only_dejavu):
    assert readable("سلام", shaping=True) == (("سلام", only_dejavu),)
    ((shown, file),) = readable("سلام", shaping=False)
    assert file is None and shown.isascii()


@pytest.mark.parametrize("strange", ["two\nlines", "bell\x07", "byte\udce9", "\u202eback", "", "🙂" * 40])
def test_no_text_is_an_error(strange, only_dejavu):
    assert text_strip(120, 30, strange, centred=True).shape == (30, 120, 3)


def test_long_names_lose_their_middle_and_nothing_leaves_the_strip():
    name = "network-snapshot-" + "x" * 200 + "-025000"
    strip = text_strip(200, 30, name)
    assert (strip[:, -3:] == 255).all() and (strip[:, :196] < 100).any()
    short = shortened(name, 9, 150)
    assert short.startswith("network") and short.endswith("025000") and "..." in short
    assert font(None, 9).getlength(short) <= 150
    assert shortened("abc", 9, 1) == "a...c"  # as short as it gets
    assert text_width("wide name", 16) > text_width("name", 16) > 0


def test_plots_draw_any_title_and_take_dollars_for_letters(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "font_files", lambda: [chinese_font(tmp_path / "squares.ttf")])
    for i, title in enumerate(["$x^{$ of 中", "$a$b$", "سلام"]):
        draw_histogram([0.1, 0.2], [0], title, tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").stat().st_size > 1000
    assert module.for_plot("中")[1]["fontfamily"] == ["DejaVu Sans", "Squares"]
