"""The contact sheet shows the right images in the right place."""

import io

import numpy as np
from PIL import Image

from common.dataset.schema import IMAGE, LABEL, characters
from preprocess.describe import preview


def test_examples_are_chosen_per_class_and_no_more_blocks_are_read_than_needed():
    images = np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((1, 28, 28, 1), np.uint8)
    labels = np.arange(60) % 3

    def blocks():
        yield {IMAGE: images[:30], LABEL: labels[:30]}
        yield {IMAGE: images[30:], LABEL: labels[30:]}
        raise AssertionError("read on although all examples were there")

    chosen = preview.choose(blocks(), class_histogram=(20, 20, 20))
    assert [[image[0, 0] for image in examples] for examples in chosen] == [
        [3 * place + label for place in range(10)] for label in range(3)
    ]
    few = preview.choose(iter([{IMAGE: images[:5], LABEL: labels[:5]}]), class_histogram=(2, 2, 1, 0))
    assert [len(examples) for examples in few] == [2, 2, 1, 0]


def test_names_of_any_script_stand_beside_their_images():
    sheets = [preview.contact_sheet([[]], characters((name,))) for name in ("あ", "い", "\U0010fffd", "U+10FFFD ")]
    first, second, unknown, as_code = (np.asarray(Image.open(io.BytesIO(sheet))) for sheet in sheets)
    assert not (first == second).all()
    assert (unknown > 0).sum() == (as_code > 0).sum()


def test_each_class_has_a_row_with_its_images_upright():
    image = np.zeros((28, 28), np.uint8)
    image[2:4, :] = 200  # a line near the top
    sheet = np.asarray(Image.open(io.BytesIO(preview.contact_sheet([[image]] * 4, characters(tuple("ABcd"))))))
    # Only these lines are bright over more than a few pixels. Four classes take two rows.
    lines = np.flatnonzero((sheet > 150).sum(axis=1) >= 2 * 56)
    assert len(lines) == 8  # 2 pixels at twice the size, in each row
    assert np.diff(lines).tolist() == [1, 1, 1, lines[4] - lines[3], 1, 1, 1]
    assert lines[4] - lines[0] > 56
