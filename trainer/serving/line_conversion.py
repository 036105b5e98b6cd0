"""Converts encoded pictures of lines to images of a model's height, inside the graph: `common.normalize.line` there."""

import tensorflow as tf

from common.normalize import line
from trainer.serving import decoding, tensors

_WIDEST = 4096
"""Of images; longer lines are scaled down in both directions."""
_AT_ONCE = 4  # fixed, because tf.data does not tune a dataset that is read as one element
_DAMAGED = "cannot-decode"


def convert(encoded: tf.Tensor, line_height: int) -> dict[str, tf.Tensor]:
    """The images of PNG or JPEG files, string [N].

    `image`, uint8 [N, line_height, W, 1], light on dark, as wide as the widest; `width`, int64 [N]; `columns`, float32
    [N]: the columns of the picture for one of the image; `problem`, string [N], a code, empty where all is well.
    """
    count = tf.shape(encoded)[0]
    places = tf.data.Dataset.from_tensor_slices((tf.range(count), encoded))
    # Undecodable files are dropped and known by their missing index, since the error itself does not name it. The end
    # mark ensures that at least one element is left.
    lines = places.map(lambda place, content: (place, *_convert(content, line_height)), num_parallel_calls=_AT_ONCE)
    nothing = tf.zeros([line_height, line.WIDTH_STEP], tf.uint8)
    end_mark = (count, nothing, tf.constant(1, tf.int64), tf.constant(1.0), tf.constant(""))
    lines = lines.ignore_errors().concatenate(tf.data.Dataset.from_tensors(end_mark))
    read_places, images, widths, columns, codes = lines.padded_batch(
        tf.cast(count, tf.int64) + 1, ([], [line_height, None], [], [], [])
    ).get_single_element()
    at = read_places[:, None]
    codes = tf.tensor_scatter_nd_update(tf.fill([count + 1], _DAMAGED), at, codes)
    images = tf.scatter_nd(at, images, [count + 1, line_height, tf.shape(images)[2]])
    widths = tf.tensor_scatter_nd_update(tf.ones([count + 1], tf.int64), at, widths)
    columns = tf.tensor_scatter_nd_update(tf.ones([count + 1]), at, columns)
    return {"image": images[:-1, ..., None], "width": widths[:-1], "columns": columns[:-1], "problem": codes[:-1]}


def convert_pixels(pixels: tf.Tensor, line_height: int) -> dict[str, tf.Tensor]:
    """The same of one decoded picture, uint8 [H, W, C], without the dimension N."""
    image, width, columns, problem = _of_pixels(pixels, line_height)
    return {"image": image[..., None], "width": width, "columns": columns, "problem": problem}


@tf.autograph.experimental.do_not_convert
def _convert(content: tf.Tensor, line_height: int) -> tuple[tf.Tensor, ...]:
    pixels, _, code = decoding.decode(content, line.LEAST)

    def converted() -> tuple[tf.Tensor, ...]:
        return _of_pixels(pixels, line_height)

    def refused() -> tuple[tf.Tensor, ...]:
        return tf.zeros([line_height, line.WIDTH_STEP], tf.uint8), tf.constant(1, tf.int64), tf.constant(1.0), code

    image, width, columns, problem = tf.cond(code == "", converted, refused)
    return tf.ensure_shape(image, [line_height, None]), width, columns, problem


def _of_pixels(pixels: tf.Tensor, line_height: int) -> tuple[tf.Tensor, ...]:
    """The image, padded to a multiple of `WIDTH_STEP` columns, its width, columns of the picture a column, problem."""
    height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
    rows, columns = _size_of(height, width, line_height)
    image, has_ink = line.image_of(tensors, pixels, (rows, columns))
    above = (line_height - rows) // 2
    image = tf.pad(image, ((above, line_height - rows - above), (0, -columns % line.WIDTH_STEP)))
    image = tf.ensure_shape(tf.cast(image, tf.uint8), [line_height, None])
    problem = tf.where(has_ink, "", line.NO_INK)
    return image, tf.cast(columns, tf.int64), tf.cast(width / columns, tf.float32), problem


def _size_of(height: tf.Tensor, width: tf.Tensor, line_height: int) -> tuple[tf.Tensor, tf.Tensor]:
    """`line.size_of`, for tensors."""
    scaled = tf.maximum(1, (2 * width * line_height + height) // (2 * height))
    rows = tf.maximum(1, (2 * height * _WIDEST + width) // (2 * width))
    return tf.where(scaled <= _WIDEST, line_height, rows), tf.minimum(scaled, _WIDEST)
