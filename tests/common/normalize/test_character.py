"""The EMNIST conversion, checked against the paper and the published images."""

import gzip

import numpy as np
import pytest

from common.errors import InputError
from common.normalize.character import to_image


def bar(height: int, width: int, top: int = 20, left: int = 30) -> np.ndarray:
    ink = np.zeros((128, 128), np.uint8)
    ink[top : top + height, left : left + width] = 255
    return ink


def extent(image: np.ndarray) -> tuple[int, int]:
    return int((image.max(axis=1) > 100).sum()), int((image.max(axis=0) > 100).sum())


def test_ink_is_stretched_to_the_whole_range_of_grey():
    image = to_image(bar(60, 20) // 3)
    assert image.shape == (28, 28)
    assert image.dtype == np.uint8
    assert (image.min(), image.max()) == (0, 255)


def test_the_place_of_the_character_does_not_matter():
    np.testing.assert_array_equal(to_image(bar(50, 20, 10, 10)), to_image(bar(50, 20, 60, 90)))


def test_the_aspect_ratio_is_kept_and_the_character_is_centred():
    tall, wide = to_image(bar(80, 20)), to_image(bar(20, 80))
    assert extent(tall)[0] > 3 * extent(tall)[1]
    assert extent(wide)[1] > 3 * extent(wide)[0]
    np.testing.assert_array_equal(tall, wide.T)
    np.testing.assert_array_equal(tall, tall[::-1, ::-1])


def test_margins_are_those_of_the_published_images(real_data):
    path = real_data / "emnist-byclass" / "emnist-byclass-test-images-idx3-ubyte.gz"
    published = np.frombuffer(gzip.decompress(path.read_bytes())[16:], np.uint8).reshape(-1, 28, 28)

    def margin(image: np.ndarray) -> int:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        return min(rows[0], columns[0], 27 - rows[-1], 27 - columns[-1])

    usual = np.unique([margin(image) for image in published[:2000]], return_counts=True)
    frequent = set(usual[0][usual[1] > 100])
    ours = {margin(to_image(bar(height, 30))) for height in (30, 50, 70, 90)}
    assert ours <= frequent


def test_an_empty_picture_is_refused():
    with pytest.raises(InputError, match="no ink"):
        to_image(np.zeros((128, 128), np.uint8))
