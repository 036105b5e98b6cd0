"""Pictures of one character on any paper are read like the character itself, or have a problem that says why not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from common.normalize import picture, problems
from common.photographs import KINDS, photograph
from preprocess.catalogue import find
from preprocess.sources.synthetic import draw_split
from tests.support.photographs import REFUSED

COUNT = 8
ALIKE = 0.85
"""The least correlation of two images of the same character."""


@pytest.fixture(scope="module")
def characters() -> np.ndarray:
    return draw_split(find("emnist/byclass"), "test", 1, seed=3, workers=1)[0][:COUNT]


def likeness(image: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(image.ravel(), other.ravel())[0, 1])


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_a_character_looks_the_same_on_any_paper(kind, characters):
    alike = []
    for number, character in enumerate(characters):
        expected, _ = picture.read(photograph(character, "clean", np.random.default_rng(number), 400))
        image, problem = picture.read(photograph(character, kind, np.random.default_rng(number)))
        alike.append(problem == "" and likeness(image, expected) > ALIKE)
    assert sum(alike) >= COUNT - 2, alike


@pytest.mark.parametrize("kind", ["several_characters", "printed_line", "texture", "cut_off"])
def test_what_cannot_be_told_has_a_problem(kind, characters):
    codes = [picture.read(REFUSED[kind](characters, np.random.default_rng(number)))[1] for number in range(COUNT)]
    assert sum(code != "" for code in codes) >= COUNT - 1, codes
    assert set(codes) <= {"", *problems.MESSAGES}


@pytest.mark.parametrize("kind", ["nothing", "all_transparent"])
def test_where_nothing_is_written_nothing_is_read(kind, characters):
    for number in range(COUNT):
        image, problem = picture.read(REFUSED[kind](characters, np.random.default_rng(number)))
        assert problem in ("no-ink", "low-contrast", "several"), number
        assert problem != "no-ink" or not image.any()


@pytest.mark.parametrize("size", [(28, 28), (64, 48), (20, 40)])
def test_the_character_is_centred_and_as_large_as_in_emnist(size, characters):
    image, _ = picture.read(photograph(characters[0], "clean", np.random.default_rng(0), 600), size)
    assert (image.shape, image.max()) == (size, 255)
    rows, columns = (np.flatnonzero((image > 40).any(axis=axis)) for axis in (1, 0))
    filled = max((rows[-1] - rows[0] + 1) / size[0], (columns[-1] - columns[0] + 1) / size[1])
    assert 0.7 < filled < 0.95
    for numbers, side in ((rows, size[0]), (columns, size[1])):
        assert abs(numbers[0] + numbers[-1] - (side - 1)) <= 2


def test_a_small_letter_reads_as_its_crop_does(characters):
    sheet = np.full((1500, 2000), 235, np.uint8)
    ink = np.asarray(Image.fromarray(characters[0]).resize((60, 60), Image.Resampling.BICUBIC)).astype(int)
    sheet[700:760, 1200:1260] = 235 - ink * 200 // 255
    whole, problem = picture.read(png(sheet))
    crop, _ = picture.read(png(sheet[680:780, 1180:1280]))
    assert problem == ""
    assert likeness(whole, crop) > 0.98


THIN = {
    "T": [((0, 0), (1, 0)), ((0.5, 0), (0.5, 1))],
    "L": [((0, 0), (0, 1)), ((0, 1), (0.8, 1))],
    "I": [((0, 0), (0, 1))],
}
"""Ends of strokes, in heights of the letter."""


@pytest.mark.parametrize("letter", THIN)
@pytest.mark.parametrize("margin", [0.03, 0.06, 0.5])
def test_a_thin_pens_straight_strokes_are_no_rules_however_close_the_crop(letter, margin):
    def drawn(margin: float) -> np.ndarray:
        high, thick = 400, 20
        lines = [[(margin * high + thick / 2 + high * part) for part in (*start, *end)] for start, end in THIN[letter]]
        right = max(max(line[0], line[2]) for line in lines)
        sheet = Image.new("L", (round(right + margin * high + thick / 2), round(high * (1 + 2 * margin) + thick)), 240)
        for line in lines:
            ImageDraw.Draw(sheet).line(line, fill=40, width=thick)
        return picture.read(png(np.asarray(sheet)))[0]

    assert likeness(drawn(margin), drawn(1.0)) > ALIKE


def test_an_image_of_a_dataset_may_fill_its_frame_and_a_larger_picture_is_cut_off():
    seven = np.zeros((28, 28), np.uint8)
    seven[8:10, 6:20] = 255
    seven[8:28, 18:20] = 255
    assert picture.read(png(seven))[1] == ""
    large = np.asarray(Image.fromarray(seven).resize((280, 280), Image.Resampling.NEAREST))
    assert picture.read(png(large))[1] == "cut-off"


def sheet_with(*parts: tuple[np.ndarray, int, tuple[int, int], int]) -> np.ndarray:
    """Characters, each with its side in pixels, its place from the top and the left, and its grey, on white."""
    sheet = np.full((500, 700), 240.0)
    for character, side, (top, left), grey in parts:
        ink = np.asarray(Image.fromarray(character).resize((side, side), Image.Resampling.BICUBIC)) / 255
        sheet[top : top + side, left : left + side] += ink * (grey - 240)
    return sheet.astype(np.uint8)


def test_a_second_character_is_seen_though_it_is_smaller_or_paler(characters):
    first = (characters[0], 240, (100, 60), 30)
    for side, grey in ((240, 30), (240, 100), (90, 30), (110, 80)):
        _, problem = picture.read(png(sheet_with(first, (characters[1], side, (150, 400), grey))))
        assert problem == "several", (side, grey)


@pytest.mark.parametrize("blur", [1, 3, 10, 25])
def test_a_shadows_strip_across_a_character_is_no_ink(characters, blur):
    sheet = sheet_with((characters[0], 300, (80, 200), 30))
    shadow = np.ones(sheet.shape)
    shadow[:, 300:400] = 0.5
    image, _ = picture.read(png((sheet * gaussian_filter(shadow, blur)).astype(np.uint8)))
    assert likeness(image, picture.read(png(sheet))[0]) > ALIKE


def test_a_small_sheet_of_paper_on_a_dark_table_is_not_taken_for_the_ink(characters):
    table = np.full((600, 600), 90, np.uint8)
    table[170:430, 150:420] = sheet_with((characters[0], 200, (20, 30), 30))[:260, :270]
    assert picture.read(png(table))[1] == "polarity"


def test_ink_that_differs_by_its_hue_only_is_found(characters):
    ink = np.asarray(Image.fromarray(characters[1]).resize((300, 300), Image.Resampling.BICUBIC))[..., None] / 255
    paper, pen = np.array([120, 160, 120]), np.array([208, 118, 110])  # equally bright
    pixels = np.pad(np.rint(paper + ink * (pen - paper)).astype(np.uint8), ((60, 60), (60, 60), (0, 0)), "edge")
    expected, _ = picture.read(photograph(characters[1], "clean", np.random.default_rng(1), 400))
    image, problem = picture.read(png(pixels))
    assert problem == ""
    assert likeness(image, expected) > ALIKE


def test_very_long_and_tiny_pictures_are_read_or_refused():
    for shape in ((1, 1), (1, 500), (3000, 2), (28, 28), (2, 9)):
        image, problem = picture.read(png(np.full(shape, 200, np.uint8)))
        assert (image.shape, problem) == ((28, 28), "no-ink"), shape
