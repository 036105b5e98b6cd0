"""Turns JPEG pictures upright by their EXIF orientation, inside the graph: cameras store them as the sensor was held.

TensorFlow does not read EXIF data, and Pillow cannot be part of a SavedModel. Without this, pictures from a phone held
sideways would silently get wrong answers.

Source: CIPA DC-008, "Exchangeable image file format for digital still cameras", section 4.6.5.1 (tag 0x0112).
"""

from collections.abc import Callable

import tensorflow as tf

_SEARCHED_BYTES = 1 << 16  # EXIF data is in one of a file's first segments, which are no longer than this
# For each byte order: the beginning of EXIF data; the orientation's entry before its value (tag, type, a count of 1);
# the offset within the value's bytes.
_FORMS = (
    (b"Exif\0\0II*\0", b"\x12\x01\x03\x00\x01\x00\x00\x00", 0),
    (b"Exif\0\0MM\0*", b"\x01\x12\x00\x03\x00\x00\x00\x01", 1),
)


def upright(pixels: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """The pixels [H, W] of the JPEG file `content`, turned and mirrored as its EXIF data asks."""
    orientation = _orientation(content)

    def if_one_of(orientations: list[int], change: Callable, pixels: tf.Tensor) -> tf.Tensor:
        return tf.cond(tf.reduce_any(orientation == orientations), lambda: change(pixels), lambda: pixels)

    pixels = if_one_of([5, 6, 7, 8], tf.transpose, pixels)
    pixels = if_one_of([2, 3, 6, 7], lambda pixels: pixels[:, ::-1], pixels)
    return if_one_of([3, 4, 7, 8], lambda pixels: pixels[::-1], pixels)


def _orientation(content: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation, int32, 1 to 8; 1, upright, if the file has none."""
    head = tf.io.decode_raw(tf.strings.substr(content, 0, _SEARCHED_BYTES), tf.uint8)
    orientation = tf.constant(1)
    for beginning, entry, offset in _FORMS:
        start = _first_place(head, beginning, tf.constant(0))
        place = _first_place(head, entry, start) + len(entry) + offset
        value = tf.cast(tf.concat([head, [0]], axis=0)[tf.minimum(place, tf.size(head))], tf.int32)
        orientation = tf.where((value >= 1) & (value <= 8), value, orientation)
    return orientation


def _first_place(content: tf.Tensor, pattern: bytes, start: tf.Tensor) -> tf.Tensor:
    """The first index of `pattern` in `content`, uint8 [N], from `start` on; N if it is absent."""
    size = tf.size(content)
    count = tf.maximum(size - len(pattern) + 1, 0)
    matches = tf.range(count) >= start
    for number, byte in enumerate(pattern):
        matches &= content[number : number + count] == byte
    return tf.reduce_min(tf.concat([tf.cast(tf.where(matches)[:, 0], tf.int32), [size]], axis=0))
