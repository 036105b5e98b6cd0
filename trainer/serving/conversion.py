"""Converts encoded pictures to images of a model's size, inside the graph.

This is `common.normalize.character` again, in TensorFlow; a test holds it within 2/255 of that reference. The duplicate
is the price of a SavedModel that takes pictures and needs no code of this project. An error names the picture's index
in the request.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from common.dataset.schema import ImageSize
from common.normalize.character import BLUR_SIGMA, FAINT, LEAST_CONTRAST, border, canvas_side
from trainer.serving import exif

MAX_PIXELS = 16_000_000
"""The largest picture that is decoded: it needs about a gigabyte of memory during conversion."""

_AT_ONCE = 4  # fixed, because tf.data does not tune a dataset that is read as one element
_PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_PNG_SIZE_AT = 16
_WEIGHTS_OF_COLOURS = (0.299, 0.587, 0.114)  # of red, green and blue in grey: ITU-R 601, as in Pillow
_BLUR_RADIUS = 4

_READ, _OTHER_FORMAT, _TOO_LARGE, _NO_INK = range(4)
_UNDECODABLE = 4
_COMPLAINTS = (
    "",
    "is neither a PNG nor a JPEG picture",
    f"has more than {MAX_PIXELS} pixels, by its header",
    "holds no ink",
    "cannot be decoded",
)


def to_images(encoded: tf.Tensor, size: ImageSize) -> tf.Tensor:
    """The images, uint8 [N, H, W, 1], light on dark, of PNG or JPEG files, string [N].

    Raises `InvalidArgumentError`, naming the first bad file, if any cannot be decoded, is too large or holds no ink.
    """
    images, complaints = convert(encoded, size)
    bad = tf.where(complaints != "")[:, 0]
    first_bad = tf.reduce_min(tf.concat([bad, [tf.size(complaints, tf.int64)]], axis=0))
    complaint = tf.concat([complaints, [""]], axis=0)[first_bad]
    message = tf.strings.join(["picture ", tf.strings.as_string(first_bad), " (counted from 0) ", complaint])
    with tf.control_dependencies([tf.debugging.Assert(tf.size(bad) == 0, [message])]):
        return tf.identity(images)


def convert(encoded: tf.Tensor, size: ImageSize) -> tuple[tf.Tensor, tf.Tensor]:
    """Like `to_images`, but returns a complaint for each file, string [N], empty if it is good, instead of raising."""
    count = tf.shape(encoded)[0]
    places = tf.data.Dataset.from_tensor_slices((tf.range(count), encoded))
    # Undecodable files are dropped and known by their missing index, since the error itself does not name it. The end
    # mark ensures that at least one element is left.
    pictures = places.map(lambda place, content: (place, *_convert(content, size)), num_parallel_calls=_AT_ONCE)
    end_mark = (count, tf.constant(_READ), tf.zeros(size, tf.uint8))
    pictures = pictures.ignore_errors().concatenate(tf.data.Dataset.from_tensors(end_mark))
    found_places, states, images = pictures.batch(tf.cast(count, tf.int64) + 1).get_single_element()
    state_of = tf.tensor_scatter_nd_update(tf.fill([count + 1], _UNDECODABLE), found_places[:, None], states)
    image_of = tf.scatter_nd(found_places[:, None], images, [count + 1, *size])
    return image_of[:-1, ..., None], tf.gather(tf.constant(_COMPLAINTS), state_of[:-1])


def _convert(content: tf.Tensor, size: ImageSize) -> tuple[tf.Tensor, tf.Tensor]:
    """The state, int32, and the image, uint8 [H, W], of one file."""
    empty = tf.zeros(size, tf.uint8)
    is_png = tf.strings.substr(content, 0, len(_PNG_HEAD)) == _PNG_HEAD
    is_jpeg = tf.strings.substr(content, 0, 3) == b"\xff\xd8\xff"

    def png_pixels() -> tf.Tensor:
        size = tf.io.decode_raw(tf.strings.substr(content, _PNG_SIZE_AT, 8), tf.uint8, fixed_length=8)
        height_and_width = tf.reduce_sum(tf.cast(tf.reshape(size, [2, 4]), tf.int64) * [1 << 24, 1 << 16, 1 << 8, 1], 1)
        return tf.reduce_prod(tf.cast(height_and_width, tf.float64))

    def jpeg_pixels() -> tf.Tensor:
        return tf.reduce_prod(tf.cast(tf.image.extract_jpeg_shape(content)[:2], tf.float64))

    def grey() -> tf.Tensor:
        return tf.cond(is_png, lambda: _grey_of_png(content), lambda: _grey_of_jpeg(content))

    def known() -> tuple[tf.Tensor, tf.Tensor]:
        is_too_large = tf.cond(is_png, png_pixels, jpeg_pixels) > MAX_PIXELS
        return tf.cond(is_too_large, lambda: (_TOO_LARGE, empty), lambda: _from_grey(grey(), size))

    return tf.cond(is_png | is_jpeg, known, lambda: (_OTHER_FORMAT, empty))


def _grey_of_png(content: tf.Tensor) -> tf.Tensor:
    """float32 [H, W] in 0…255; transparent pixels become white."""
    pixels = tf.cast(tf.io.decode_png(content, channels=4), tf.float32)
    opacity = pixels[..., 3] / 255
    return tf.round(255 + opacity * (tf.linalg.matvec(pixels, [*_WEIGHTS_OF_COLOURS, 0.0]) - 255))


def _grey_of_jpeg(content: tf.Tensor) -> tf.Tensor:
    pixels = tf.cast(tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"), tf.float32)
    return exif.upright(tf.round(tf.linalg.matvec(pixels, _WEIGHTS_OF_COLOURS)), content)


def _from_grey(grey: tf.Tensor, size: ImageSize) -> tuple[tf.Tensor, tf.Tensor]:
    edge = tf.sort(tf.concat([grey[0], grey[-1], grey[:, 0], grey[:, -1]], axis=0))
    count = tf.size(edge)
    ink = tf.abs(grey - (edge[(count - 1) // 2] + edge[count // 2]) / 2)
    strongest = tf.reduce_max(ink)

    def convert() -> tuple[tf.Tensor, tf.Tensor]:
        canvas = tf.maximum(ink / strongest - FAINT, 0) * (255 / (1 - FAINT))
        canvas = tf.round(tf.clip_by_value(_resize(_to_box(canvas, 0, (1, 1)), [canvas_side(size)] * 2), 0, 255))
        blurred = tf.round(_blur(canvas))
        rows = tf.where(tf.reduce_any(blurred > 0, axis=1))[:, 0]
        columns = tf.where(tf.reduce_any(blurred > 0, axis=0))[:, 0]
        character = blurred[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        small = tf.maximum(_resize(_to_box(character, border(size), size), size), 0)
        image = tf.cast(tf.round(small * (255 / tf.reduce_max(small))), tf.uint8)
        return tf.constant(_READ), tf.ensure_shape(image, size)

    def refuse() -> tuple[tf.Tensor, tf.Tensor]:
        return tf.constant(_NO_INK), tf.zeros(size, tf.uint8)

    return tf.cond(strongest < LEAST_CONTRAST, refuse, convert)


def _to_box(pixels: tf.Tensor, margin: int, shape: ImageSize) -> tf.Tensor:
    """Pads [H, W] by at least `margin` background pixels a side, to the smallest box of `shape`'s aspect ratio."""
    height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
    least_height, least_width = height + 2 * margin, width + 2 * margin
    box_height = tf.maximum(least_height, -(-least_width * shape[0] // shape[1]))
    box_width = tf.maximum(least_width, -(-least_height * shape[1] // shape[0]))
    top, left = (box_height - height) // 2, (box_width - width) // 2
    return tf.pad(pixels, [[top, box_height - height - top], [left, box_width - width - left]])


def _resize(pixels: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    return tf.image.resize(pixels[..., None], size, tf.image.ResizeMethod.BICUBIC, antialias=True)[..., 0]


def _blur(pixels: tf.Tensor) -> tf.Tensor:
    """A Gaussian blur like SciPy's `gaussian_filter`: four standard deviations wide, edges mirrored."""
    weights = np.exp(-0.5 * (np.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1) / BLUR_SIGMA) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    padded = tf.pad(pixels, [[_BLUR_RADIUS, _BLUR_RADIUS]] * 2, "SYMMETRIC")[None, ..., None]
    down = tf.nn.conv2d(padded, weights.reshape(-1, 1, 1, 1), 1, "VALID")
    return tf.nn.conv2d(down, weights.reshape(1, -1, 1, 1), 1, "VALID")[0, ..., 0]
