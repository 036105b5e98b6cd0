"""Text on pictures: every character is drawn, or stands as its code point; none is a box."""

import subprocess
import sys

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw

from common import fonts

NOWHERE = "\U0010fffd"
"""A character of private use, which only a last resort has: a box."""


def drawn(text: str, place: tuple[int, int] = (200, 30), anchor: str = "la", size: int = 20) -> np.ndarray:
    picture = Image.new("L", (400, 60))
    fonts.write(ImageDraw.Draw(picture), place, text, size, 255, anchor)
    return np.asarray(picture)


@pytest.mark.parametrize("text", ["a b", "éЖΩ", "あア漢字", "한글", "שלום", "مرحبا", "😀", "∑ℬ", "◌̈"])
def test_a_script_that_a_font_has_is_drawn_as_it_is(text):
    assert fonts.legible(text) == text
    parts = [drawn(one) for one in dict.fromkeys(text.replace(" ", "").removeprefix("◌"))]
    box = drawn("\uffff\ufffe")  # neither is a character
    assert not any((part == other).all() for number, part in enumerate(parts) for other in [*parts[:number], box])


def test_what_no_font_has_stands_as_its_code_point():
    assert fonts.legible(NOWHERE) == "U+10FFFD"
    assert fonts.legible(f"a{NOWHERE}b") == "a U+10FFFD b"
    np.testing.assert_array_equal(drawn(NOWHERE), drawn(" U+10FFFD "))


def test_a_font_of_this_machine_serves_where_no_other_has_a_character(tmp_path):
    pen = TTGlyphPen(None)
    for step in ("moveTo", "lineTo", "lineTo"):
        getattr(pen, step)({"moveTo": (0, 0)}.get(step, (500, 700)))
    pen.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "only"])
    builder.setupCharacterMap({ord(NOWHERE): "only"})
    builder.setupGlyf({".notdef": pen.glyph(), "only": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (600, 0), "only": (600, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Mine", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "mine.ttf")
    program = (
        "import sys; from matplotlib.font_manager import fontManager; fontManager.addfont(sys.argv[1])\n"
        f"from common import fonts; text = {'a' + NOWHERE!a}\n"
        "print(fonts.legible(text) == text, *fonts.families(text), sep=', ')"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "mine.ttf"], capture_output=True, text=True)
    assert done.stdout == "True, DejaVu Sans, Mine\n", done.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("e\u0301", "é"),
        ("\u0301", "◌\u0301"),
        ("1: \u0301", "1: ◌\u0301"),
        (f"{NOWHERE}\u0301", "U+10FFFD U+0301"),
        (f"👩\u200d{NOWHERE}", "U+1F469 U+10FFFD"),
        ("a\U000e0061b", "ab"),
    ],
    ids=ascii,
)
def test_marks_stay_with_their_letters_and_what_is_invisible_is_no_box(text, shown):
    assert fonts.legible(text) == shown


def test_a_number_stands_before_a_name_that_is_written_from_right_to_left():
    number, title = drawn("7:"), drawn("7: שלום")
    width = int(fonts.length("7:", 20))
    np.testing.assert_array_equal(title[:, : 200 + width], number[:, : 200 + width])


@pytest.mark.parametrize("text", ["abc", "aあ", f"a{NOWHERE}b"])
def test_the_place_of_a_text_is_its_left_middle_or_right_and_its_top_or_middle(text):
    width = fonts.length(text, 20)
    for anchor, share in {"la": 0, "ma": 0.5, "ra": 1}.items():
        columns = np.flatnonzero(drawn(text, anchor=anchor).any(axis=0))
        assert columns[0] == pytest.approx(200 - share * width, abs=7)
        assert columns[-1] == pytest.approx(200 + (1 - share) * width, abs=7)
    rows = np.flatnonzero(drawn(text, anchor="la").any(axis=1))
    assert 30 <= rows[0] <= rows[-1] < 30 + 26
    rows = np.flatnonzero(drawn(text, anchor="lm").any(axis=1))
    assert abs((rows[0] + rows[-1]) / 2 - 30) < 5


def test_a_text_is_wrapped_between_words_and_within_those_that_are_too_wide():
    words = "there are three classes: あいうえおかきくけこさしすせそ " + "e\u0301" * 50 + " and no other"
    lines = fonts.wrap(words, 12, 120)
    assert all(line and fonts.length(line, 12) <= 120 for line in lines)
    assert "".join(lines).replace(" ", "").replace("é", "e\u0301") == words.replace(" ", "")
    assert lines[0] == "there are three"
    assert fonts.wrap("all of it", 12, 120) == ["all of it"]
