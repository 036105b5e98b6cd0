"""The contact sheet of lines shows each above its text."""

import io

import numpy as np
from PIL import Image

from common.dataset.schema import IMAGE, lines
from preprocess.describe import line_preview

SCHEMA = lines(("a", "b"), ("é",), (48, 320), 3, 1)


def blocks(count: int, width: int = 300):
    for number in range(count):
        block = SCHEMA.empty(1)
        block[IMAGE][0, 20:24, :width] = 255
        block["width"][:], block["text_length"][:] = width, 1 + number % 3
        block["text"][0] = (0, 1, 2)
        yield block


def sheet_of(some) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(line_preview.contact_sheet(some, SCHEMA))))


def test_each_line_stands_dark_on_light_above_its_text():
    sheet = sheet_of(blocks(3, 300))
    assert sheet.shape[1] == 320
    rows = np.flatnonzero((sheet == 0).sum(axis=1) == 300)
    assert np.diff(rows).tolist() == [1, 1, 1, rows[4] - rows[3], 1, 1, 1, rows[8] - rows[7], 1, 1, 1]
    of_text = [int((sheet[row + 28 : row + 54] < 200).sum()) for row in rows[::4]]
    assert 0 < of_text[0] < of_text[1] < of_text[2]  # each text is a character longer


def test_no_more_lines_are_read_than_are_shown():
    def endless():
        yield from blocks(24)
        raise AssertionError("read on although all lines were there")

    assert len(np.flatnonzero((sheet_of(endless()) == 0).sum(axis=1) == 300)) == 24 * 4


def test_the_sheet_of_a_dataset_lies_in_its_folder(small_lines):
    sheet = np.asarray(Image.open(small_lines / "preview.png"))
    assert sheet.shape[1] == 300 + 20
    assert (sheet < 128).sum() > 1000
