"""The conversion in the graph equals the reference, and names a picture that it cannot read."""

import io
import struct
import zlib
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageDraw

from common.normalize import character as reference
from trainer.serving import conversion


def encode(picture: Image.Image, form: str = "PNG", **settings) -> bytes:
    content = io.BytesIO()
    picture.save(content, form, **settings)
    return content.getvalue()


def picture_of(seed: int) -> bytes:
    """A few strokes: of any size and shape, either polarity, on paper that is not quite clean, or on none."""
    random = np.random.default_rng(seed)
    width, height = (int(side) for side in random.integers(20, 400, 2))
    if seed % 10 == 0:
        width, height = 2000, 1500
    kind = ("dark", "light", "transparent", "colour", "jpeg")[seed % 5]
    paper, ink = {"light": (20, 240), "jpeg": (235, 40)}.get(kind, (250, 10))
    thickness = max(1, int(min(width, height) * random.uniform(0.03, 0.15)))
    points = [(float(x) * width, float(y) * height) for x, y in random.uniform(0.15, 0.85, (5, 2))]
    if kind == "transparent":
        picture = Image.new("RGBA", (width, height), (0, 0, 0, 0))
        ImageDraw.Draw(picture).line(points, (30, 30, 30, 255), thickness, "curve")
        return encode(picture.resize((width, height), Image.Resampling.BILINEAR))
    picture = Image.new("L", (width, height), paper)
    ImageDraw.Draw(picture).line(points, ink, thickness, "curve")
    if kind == "jpeg":
        data = Image.Exif()
        data[0x0112] = 1 + seed % 8  # the way that the camera was held
        return encode(picture, "JPEG", quality=85, exif=data)
    if kind == "colour":
        return encode(Image.merge("RGB", [picture, picture.point(lambda value: value * 0.8), picture]))
    return encode(picture)


convert = tf.function(partial(conversion.to_images, size=(28, 28)), input_signature=[tf.TensorSpec([None], tf.string)])


def test_every_picture_becomes_what_the_reference_makes_of_it():
    contents = [picture_of(seed) for seed in range(40)]
    expected = np.stack([reference.to_image(reference.read_picture(content)) for content in contents])
    converted = convert(tf.constant(contents)).numpy()
    assert (converted.dtype, converted.shape) == (np.uint8, (40, 28, 28, 1))
    difference = np.abs(converted[..., 0].astype(int) - expected).max(axis=(1, 2))
    assert difference.max() <= 2, dict(enumerate(difference.tolist()))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG file that claims to be so large, and holds a hundred pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


BAD = {
    "is neither a PNG nor a JPEG picture": [b"", b"GIF89a", b"hello", encode(Image.new("L", (9, 9)), "TIFF")],
    "cannot be decoded": [picture_of(1)[:-40], picture_of(4)[:200], picture_of(1)[:20], png_of_size(60, 60)],
    "holds no ink": [encode(Image.new("L", (50, 50), 255)), encode(Image.new("RGBA", (50, 50), (0, 0, 0, 0)))],
    "has more than 16000000 pixels, by its header": [png_of_size(20_000, 20_000), png_of_size(2**31 - 1, 2**31 - 1)],
}


@pytest.mark.parametrize(
    ("complaint", "content"), [(complaint, content) for complaint, bad in BAD.items() for content in bad]
)
def test_a_picture_that_cannot_be_taken_is_named_by_its_place(complaint, content):
    good = picture_of(2)
    for place in (0, 2):
        contents = [good, good]
        contents.insert(place, content)
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"picture {place} \(counted from 0\) {complaint}"):
            convert(tf.constant(contents))


def test_no_pictures_give_no_images():
    assert convert(tf.constant([], tf.string)).shape == (0, 28, 28, 1)
