"""A photograph is read the way up that its camera noted."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from trainer.serving import exif

upright = tf.function(exif.upright, input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([], tf.string)])
PIXELS = np.arange(2 * 3, dtype=np.float32).reshape(2, 3)


def jpeg(orientation: int | None, order: str = "II", size: tuple[int, int] = (3, 2), **others: bytes) -> bytes:
    content = io.BytesIO()
    data = Image.Exif()
    data.endian = {"II": "<", "MM": ">"}[order]
    data[0x010F] = "Maker"
    if orientation is not None:
        data[0x0112] = orientation
    Image.new("L", size).save(content, "JPEG", exif=data, **others)
    return content.getvalue()


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_put_right_as_pillow_does(orientation, order):
    content = jpeg(orientation, order)
    assert b"Exif\0\0" + order.encode() in content
    picture = Image.fromarray(PIXELS)
    picture.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(upright(PIXELS, content), expected)


@pytest.mark.parametrize(
    "content",
    [
        jpeg(None),
        jpeg(0),
        jpeg(9),
        jpeg(6)[:20],
        b"",
        b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00",  # before any EXIF data
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\x12\x01\x03\x00\x01\x00\x00\x00",
        b"Exif\0\0II*\0\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06",  # in the other order of bytes
    ],
)
def test_where_nothing_valid_is_said_the_picture_stays(content):
    np.testing.assert_array_equal(upright(PIXELS, content), PIXELS)
