"""Decodes PNG and JPEG files inside the graph, to the same pixels as `common.formats.picture`.

The duplicate is the price of a SavedModel that takes pictures and needs no code of this project. TensorFlow reads no
metadata: how a picture is held (EXIF, XMP) and which colour is transparent (PNG) is read from the file's bytes here.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import tensorflow as tf

from common.formats.picture import KINDS, LEAST, MAX_PIXELS, SCALES, SVG_IS_WITHIN, Least

_MAGIC_OF_PNG, _MAGIC_OF_JPEG = (dict(KINDS)[kind][0][1] for kind in ("PNG", "JPEG"))
_PNG_HEAD_AT, _PNG_CHUNKS_AT = 16, 33  # width, height, depth and kind of colours; the chunks after them
_GREY, _COLOUR = 0, 2  # kinds of colours
_BYTES_AROUND_CHUNK = 12  # its length, its kind and its checksum
_APP1, _PADDING, _START_OF_SCAN = b"\xe1", b"\xff", b"\xda"  # markers of JPEG
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"  # what such segments begin with
_TIFF_HEADS = (b"II*\0", b"MM\0*")
_UNCOMPRESSED_XMP = b"XML:com.adobe.xmp\0\0\0"
_MOST_PARTS = 1000  # of a file, before its pixels; the walk along them ends there
_ORIENTATION, _SHORT = 0x0112, 3
_BYTES_OF_ENTRY = 12
_WEIGHTS_OF_COLOURS = (19595, 38470, 7471)  # of red, green and blue in grey, in 65536: ITU-R 601, as in Pillow


@tf.autograph.experimental.do_not_convert  # which would triple the time to trace it
def decode(content: tf.Tensor, least: Least = LEAST) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The pixels of a PNG or JPEG file, uint8 [H, W, C], the file's orientation, int32, and its problem, a string.

    The pixels are those of `common.formats.picture.decode`, upright; the orientation is EXIF's, from 1 to 8. The
    problem is empty, or "too-large", "not-a-picture" or "unknown-format" beside a picture of one pixel. A damaged file
    raises `InvalidArgumentError`.
    """
    is_png, is_jpeg = _begins(content, _MAGIC_OF_PNG), _begins(content, _MAGIC_OF_JPEG)

    def known() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        head = tf.cond(is_png, lambda: _head_of_png(content), lambda: tf.image.extract_jpeg_shape(content))
        is_too_large = tf.reduce_prod(tf.cast(head[:2], tf.float64)) > MAX_PIXELS
        return tf.cond(is_too_large, lambda: _refused("too-large"), lambda: read(head))

    def read(head: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        pixels = tf.cond(is_png, lambda: _of_png(content, head, least), lambda: _of_jpeg(content, head, least))
        tiff, xmp = tf.cond(is_png, lambda: _metadata_of_png(content), lambda: _metadata_of_jpeg(content))
        orientation = _orientation(tiff, xmp)
        return _upright(pixels, orientation), orientation, tf.constant("")

    pixels, orientation, problem = tf.cond(is_png | is_jpeg, known, lambda: _refused(_problem_of_others(content)))
    return tf.ensure_shape(pixels, [None, None, None]), orientation, problem


@tf.autograph.experimental.do_not_convert
def decode_colours(content: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """The pixels of a JPEG file that `decode` gave in grey, uint8 [H, W, 3]."""
    return _upright(_of_jpeg(content, tf.image.extract_jpeg_shape(content), LEAST, in_colour=True), orientation)


def _refused(problem: str | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    return tf.zeros([1, 1, 1], tf.uint8), tf.constant(1), tf.convert_to_tensor(problem)


def _problem_of_others(content: tf.Tensor) -> tf.Tensor:
    text = tf.strings.substr(content, 0, SVG_IS_WITHIN)
    is_svg = _begins(tf.strings.strip(text), b"<") & (tf.size(_split(text, b"<svg")) > 1)
    pairs = [((*parts, (0, b""))[:2]) for _, parts in KINDS]  # all in one operation, whose shape has to be regular
    offsets, lengths = [[at for at, _ in pair] for pair in pairs], [[len(part) for _, part in pair] for pair in pairs]
    end = np.add(offsets, lengths).max()
    head = tf.strings.join([tf.strings.substr(content, 0, end), "-" * end])
    heads = tf.fill(np.shape(offsets), head)
    is_alike = tf.strings.substr(heads, offsets, lengths) == [[part for _, part in pair] for pair in pairs]
    is_known = tf.reduce_any(tf.reduce_all(is_alike, axis=1)) | is_svg
    return tf.where(is_known, "unknown-format", "not-a-picture")


def _scale_index(height: tf.Tensor, width: tf.Tensor, least: Least) -> tf.Tensor:
    """The index in `SCALES` of `common.formats.picture.scale`, int32."""
    longer, shorter = tf.maximum(height, width), tf.minimum(height, width)
    is_enough = (longer // SCALES >= least.longer) & (shorter // SCALES >= least.shorter)
    return tf.argmax(tf.concat([is_enough[:-1], [True]], axis=0), output_type=tf.int32)


def _of_jpeg(content: tf.Tensor, head: tf.Tensor, least: Least, in_colour: bool = False) -> tf.Tensor:
    """The pixels, uint8 [H, W, 1], or [H, W, 3] if `in_colour`, as the file holds them."""
    index = _scale_index(head[0], head[1], least)
    is_cmyk = head[2] == 4

    def decoded(channels: int) -> tf.Tensor:
        def at_scale(scale: int) -> tf.Tensor:
            return tf.io.decode_jpeg(content, channels=channels, ratio=scale, dct_method="INTEGER_ACCURATE")

        return tf.switch_case(index, [partial(at_scale, scale) for scale in SCALES])

    def grey_of_cmyk() -> tf.Tensor:  # which has no grey of its own
        weighted = tf.cast(decoded(3), tf.int32) * _WEIGHTS_OF_COLOURS
        return tf.cast((tf.reduce_sum(weighted, axis=2, keepdims=True) + 0x8000) // 0x10000, tf.uint8)

    return decoded(3) if in_colour else tf.cond(is_cmyk, grey_of_cmyk, lambda: decoded(1))


def _head_of_png(content: tf.Tensor) -> tf.Tensor:
    """Height, width, depth in bits, and kind of colours, int32."""
    sides = _numbers(content, _PNG_HEAD_AT, 8, tf.int32)
    return tf.concat([sides[::-1], _numbers(content, _PNG_HEAD_AT + 8, 2, tf.uint8)], axis=0)


def _of_png(content: tf.Tensor, head: tf.Tensor, least: Least) -> tf.Tensor:
    """The pixels, uint8 [H, W, C], as the file holds them."""
    depth, colours = head[2], head[3]
    by = tf.gather(SCALES, _scale_index(head[0], head[1], least))
    no_colour = tf.fill([3], -1)
    transparent = tf.cond(
        (colours == _GREY) | (colours == _COLOUR), lambda: _transparent_colour(content, no_colour), lambda: no_colour
    )

    def opacity(pixels: tf.Tensor, transparent: tf.Tensor) -> tf.Tensor:
        colour = tf.cast(transparent[: tf.shape(pixels)[2]], pixels.dtype)
        is_opaque = tf.reduce_any(pixels != colour, axis=2, keepdims=True)
        return tf.cast(is_opaque, tf.uint8) * 255

    def of_bytes() -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.io.decode_png(content, channels=0)
        # Shallow values are spread over a byte; of deep ones it has the high half.
        in_bytes = tf.where(depth == 16, transparent // 256, transparent * 255 // (2 ** tf.minimum(depth, 8) - 1))
        return _means(pixels, by), opacity_if_any(pixels, in_bytes)

    def of_deep_grey() -> tuple[tf.Tensor, tf.Tensor]:
        values = tf.io.decode_png(content, channels=1, dtype=tf.uint16)
        return _stretched(values, by), opacity_if_any(values, transparent)

    def opacity_if_any(pixels: tf.Tensor, transparent: tf.Tensor) -> tf.Tensor:
        nothing = tf.zeros([0, 0, 1], tf.uint8)
        return tf.cond(transparent[0] >= 0, lambda: opacity(pixels, transparent), lambda: nothing)

    pixels, opacities = tf.cond((colours == _GREY) & (depth == 16), of_deep_grey, of_bytes)

    def with_opacity() -> tf.Tensor:
        return tf.concat([tf.tile(pixels, [1, 1, 3 // tf.shape(pixels)[2]]), _means(opacities, by)], axis=2)

    def of_four() -> tf.Tensor:
        return tf.gather(pixels, [0, 0, 0, 1], axis=2)

    is_two = tf.shape(pixels)[2] == 2
    return tf.cond(transparent[0] >= 0, with_opacity, lambda: tf.cond(is_two, of_four, lambda: pixels))


def _means(pixels: tf.Tensor, by: tf.Tensor) -> tf.Tensor:
    """The means of blocks of uint8 [H, W, C], halves rounded up."""

    def reduced() -> tf.Tensor:
        return tf.cast(tf.floor(_exact_means(pixels, by) + 0.5), tf.uint8)

    return tf.cond(by > 1, reduced, lambda: pixels)


def _exact_means(pixels: tf.Tensor, by: tf.Tensor) -> tf.Tensor:
    """The means of blocks of [H, W, C], float32: exact, since `by` is a power of two and the sums are small."""
    size = tf.shape(pixels)[:2] // by
    whole = pixels[: size[0] * by, : size[1] * by]
    return tf.raw_ops.ResizeArea(images=whole[None], size=size)[0]


def _stretched(values: tf.Tensor, by: tf.Tensor) -> tf.Tensor:
    """Grey values of 16 bits, [H, W, 1], as means of blocks so that the largest is 255: uint8."""
    means = tf.cast(_exact_means(values, by), tf.float64)
    return tf.cast(tf.floor(means * 255 / tf.maximum(tf.reduce_max(means), 1e-30) + 0.5), tf.uint8)


def _transparent_colour(content: tf.Tensor, otherwise: tf.Tensor) -> tf.Tensor:
    """The colour in a PNG file's chunk tRNS, int32 [N], of which grey has the first number; `otherwise` without one."""

    def is_another(at: tf.Tensor) -> tf.Tensor:
        return tf.reduce_all(_part(content, at + 4, 4) != [b"tRNS", b"IDAT"])

    def next_chunk(at: tf.Tensor) -> tuple[tf.Tensor]:
        length = tf.clip_by_value(_numbers(content, at, 4, tf.int32)[0], 0, tf.strings.length(content))
        return (at + length + _BYTES_AROUND_CHUNK,)

    (at,) = tf.while_loop(is_another, next_chunk, (_PNG_CHUNKS_AT,), maximum_iterations=_MOST_PARTS)
    is_there = _part(content, at + 4, 4) == b"tRNS"
    return tf.cond(is_there, lambda: _numbers(content, at + 8, 6, tf.uint16), lambda: otherwise)


def _metadata_of_png(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """EXIF and XMP, empty if there are none."""
    # Searched for, not walked to: a large file has thousands of chunks.
    return _chunk(content, b"eXIf", _TIFF_HEADS), _chunk(content, b"iTXt", (_UNCOMPRESSED_XMP,))


def _chunk(content: tf.Tensor, kind: bytes, heads: Sequence[bytes]) -> tf.Tensor:
    """The data of the first chunk of a kind, in a PNG file, that begins with one of `heads`; empty if there is none."""
    parts = _split(content, kind)
    is_chunk = tf.reduce_any([tf.strings.substr(parts[1:], 0, len(head)) == head for head in heads], axis=0)

    def data() -> tf.Tensor:
        number = tf.argmax(is_chunk)
        length = _numbers(parts[number], tf.maximum(tf.strings.length(parts[number]) - 4, 0), 4, tf.int32)[0]
        return tf.strings.substr(parts[number + 1], 0, tf.maximum(length, 0))

    return tf.cond(tf.reduce_any(is_chunk), data, lambda: tf.constant(""))


def _metadata_of_jpeg(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """EXIF and XMP, empty if there are none."""
    size = tf.strings.length(content)
    heads = (_EXIF, _XMP)

    def is_left(at: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        return at + 4 <= size

    def next_segment(at: tf.Tensor, places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        segment = tf.strings.substr(content, at, 4 + max(map(len, heads)))
        marker = tf.strings.substr(segment, 1, 1) == [_APP1, _PADDING, _START_OF_SCAN]
        is_one = tf.strings.substr(segment, [4, 4], [len(head) for head in heads]) == heads
        places = tf.where(marker[0] & is_one & (places == size), at, places)
        length = tf.where(marker[1], 1, 2 + _numbers(segment, 2, 2, tf.uint16)[0])
        return tf.where(marker[2], size, at + length), places

    _, places = tf.while_loop(is_left, next_segment, (2, tf.fill([2], size)), maximum_iterations=_MOST_PARTS)

    def data(at: tf.Tensor, head: bytes) -> tf.Tensor:
        length = _numbers(content, at + 2, 2, tf.uint16)[0] - 2 - len(head)
        return tf.strings.substr(content, at + 4 + len(head), tf.maximum(length, 0))

    def data_if_any(index: int) -> tf.Tensor:
        return tf.cond(places[index] < size, lambda: data(places[index], heads[index]), lambda: tf.constant(""))

    return data_if_any(0), data_if_any(1)


def _orientation(tiff: tf.Tensor, xmp: tf.Tensor) -> tf.Tensor:
    """From 1, upright, to 8, int32: by the first directory of EXIF, which is the picture's own, or else by XMP."""

    def noted() -> tf.Tensor:
        values = tf.concat([_in_exif(tiff), _in_xmp(xmp), [1]], axis=0)
        return tf.where((values[0] >= 1) & (values[0] <= 8), values[0], 1)

    return tf.cond((tiff != "") | (xmp != ""), noted, lambda: 1)


def _in_exif(tiff: tf.Tensor) -> tf.Tensor:
    """The orientations in the first directory, int32 [N]; none if the data is damaged."""
    end = tf.strings.length(tiff)
    is_big = _begins(tiff, _TIFF_HEADS[1])

    def in_order(digits: tf.Tensor) -> tf.Tensor:  # the highest first
        return tf.where(is_big, digits, tf.reverse(digits, [-1]))

    def bytes_at(at: int | tf.Tensor, count: int) -> tf.Tensor:
        return tf.cast(tf.io.decode_raw(_part(tiff, at, count), tf.uint8, fixed_length=count), tf.int32)

    start = tf.reduce_sum(tf.cast(in_order(bytes_at(4, 4)), tf.int64) * [1 << 24, 1 << 16, 1 << 8, 1])
    start = tf.cast(tf.minimum(start, tf.cast(end, tf.int64)), tf.int32)
    count = tf.linalg.tensordot(in_order(bytes_at(start, 2)), [256, 1], 1)
    count = tf.minimum(count, (end - tf.minimum(start + 2, end)) // _BYTES_OF_ENTRY)
    entries = _part(tiff, start + 2, count * _BYTES_OF_ENTRY)
    pairs = tf.reshape(tf.cast(tf.io.decode_raw(entries, tf.uint8), tf.int32), [-1, _BYTES_OF_ENTRY // 2, 2])
    numbers = tf.reduce_sum(in_order(pairs) * [256, 1], axis=2)
    is_tiff = is_big | _begins(tiff, _TIFF_HEADS[0])
    return numbers[:, 4][is_tiff & (numbers[:, 0] == _ORIENTATION) & (numbers[:, 1] == _SHORT)]


def _in_xmp(xmp: tf.Tensor) -> tf.Tensor:
    """The orientations in an element's content or an attribute's value, int32 [N]."""
    after = _split(xmp, b"tiff:Orientation")[1:]
    signs = tf.cast(tf.io.decode_raw(after, tf.uint8, fixed_length=3), tf.int32)
    is_element = signs[:, 0] == ord(">")
    is_attribute = (signs[:, 0] == ord("=")) & ((signs[:, 1] == ord('"')) | (signs[:, 1] == ord("'")))
    values = tf.where(is_element, signs[:, 1], signs[:, 2]) - ord("0")
    return values[(is_element | is_attribute) & (values >= 1) & (values <= 8)]


def _upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    return tf.cond(orientation == 1, lambda: pixels, lambda: _turned(pixels, orientation))


def _turned(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    def if_one_of(orientations: list[int], change: Callable, pixels: tf.Tensor) -> tf.Tensor:
        return tf.cond(tf.reduce_any(orientation == orientations), lambda: change(pixels), lambda: pixels)

    # Rows are turned round before the transposition, since that is faster than columns after it.
    pixels = if_one_of([3, 4, 6, 7], lambda pixels: tf.reverse(pixels, [0]), pixels)
    pixels = if_one_of([5, 6, 7, 8], lambda pixels: tf.transpose(pixels, [1, 0, 2]), pixels)
    pixels = if_one_of([7, 8], lambda pixels: tf.reverse(pixels, [0]), pixels)
    return if_one_of([2, 3], lambda pixels: tf.reverse(pixels, [1]), pixels)


def _begins(content: tf.Tensor, part: bytes) -> tf.Tensor:
    return tf.strings.substr(content, 0, len(part)) == part


def _numbers(content: tf.Tensor, at: int | tf.Tensor, count: int, form: tf.DType) -> tf.Tensor:
    """Numbers, int32 [N], which `count` bytes of a string hold as `form`, the highest byte first."""
    return tf.cast(tf.io.decode_raw(_part(content, at, count), form, little_endian=False), tf.int32)


def _part(content: tf.Tensor, at: int | tf.Tensor, count: int) -> tf.Tensor:
    """Up to `count` bytes of a string, none from its end on; where TensorFlow's error would quote the whole file."""
    return tf.strings.substr(content, tf.minimum(at, tf.strings.length(content)), count)


def _split(content: tf.Tensor, at: bytes) -> tf.Tensor:
    """The parts of a string between all occurrences of `at`, string [N]."""
    return tf.raw_ops.StringSplitV2(input=content[None], sep=at).values
