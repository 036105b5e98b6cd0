"""The conversion in the graph is the reference's, on a corpus of hostile pictures, and names what is no picture."""

import numpy as np
import pytest
import tensorflow as tf

from common.formats.picture import PictureError
from common.normalize import arrays, picture
from common.normalize import problems as messages
from tests.support.photographs import hostile
from trainer.serving import conversion, tensors
from trainer.tasks.characters import converters

SIZE = (28, 28)
convert, convert_pixels = converters(SIZE)


def by_reference(content: bytes) -> tuple[np.ndarray, str]:
    try:
        return picture.read(content)
    except PictureError as error:
        return np.zeros(SIZE, np.uint8), error.problem


@pytest.mark.parametrize("count", [40, pytest.param(420, marks=pytest.mark.thorough)])
def test_every_picture_becomes_what_the_reference_makes_of_it(count):
    names, contents = zip(*hostile(count, seed=count), strict=True)
    images, codes = (part.numpy() for part in convert(tf.constant(contents)))
    assert (images.dtype, images.shape) == (np.uint8, (count, *SIZE, 1))
    expected = [by_reference(content) for content in contents]
    assert [code.decode() for code in codes] == [code for _, code in expected], names
    differences = [
        np.abs(image[..., 0].astype(int) - other).max() for image, (other, _) in zip(images, expected, strict=True)
    ]
    differing = {name: difference for name, difference in zip(names, differences, strict=True) if difference > 4}
    assert len(differing) <= count // 100, differing


@pytest.mark.parametrize("count", [40, pytest.param(420, marks=pytest.mark.thorough)])
def test_from_the_same_pixels_both_find_the_same_ink(count):
    for name, content in hostile(count, seed=count):
        try:
            pixels = picture.decode(content)
        except PictureError:
            continue
        image, problem = picture.to_image(arrays, pixels, SIZE)
        in_graph, code = convert_pixels(tf.constant(pixels))
        assert code.numpy().decode() == picture.CODES[problem], name
        assert np.abs(in_graph[..., 0].numpy().astype(int) - image).max() <= 2, name


def test_both_have_the_same_operations():
    def public(module):
        return {name for name in vars(module) if not name.startswith("_")}

    assert public(arrays) - public(tensors) <= {
        "np",
        "label",
        "sys",
        "Callable",
        "Array",
        "cache",
        "ThreadpoolController",
    }


@pytest.mark.parametrize("code", [code for code in messages.MESSAGES if code not in messages.DOUBTS])
def test_what_is_no_picture_is_named_by_its_place(code):
    for place in (0, 2):
        codes = ["", "several"]
        codes.insert(place, code)
        if code == "no-ink":
            assert conversion.check(tf.constant(codes)).numpy().tolist() == [code.encode() for code in codes]
            continue
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=rf"picture {place} \(counted from 0\) {messages.MESSAGES[code]}"
        ):
            conversion.check(tf.constant(codes))


def test_no_pictures_give_no_images():
    assert convert(tf.constant([], tf.string))[0].shape == (0, 28, 28, 1)
