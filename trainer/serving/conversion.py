"""Converts encoded pictures to images of a model's size, inside the graph.

Decoding is `decoding`, and the conversion is `common.normalize.picture` on tensors: a SavedModel takes pictures and
needs no code of this project.
"""

from functools import cache, partial

import tensorflow as tf

from common.dataset.schema import ImageSize
from common.normalize import picture, problems
from trainer.serving import decoding, tensors

_AT_ONCE = 4  # fixed, because tf.data does not tune a dataset that is read as one element
_DAMAGED = "cannot-decode"


def check(codes: tf.Tensor) -> tf.Tensor:
    """The codes, string [N]; raises `InvalidArgumentError`, naming the first file that is no picture, if there is one.

    What is a picture has a reading, however doubtful, or shows nothing: that is for the caller to see by its code.
    """
    refused = [code for code in problems.MESSAGES if code not in {*problems.DOUBTS, picture.CODES[picture.NO_INK]}]
    is_refused = tf.reduce_any(codes[:, None] == tf.constant(refused)[None, :], axis=1)
    number = tf.cast(tf.argmax(tf.concat([is_refused, [True]], axis=0)), tf.int32)
    code = tf.concat([codes, [""]], axis=0)[number]
    place = tf.argmax(tf.constant([*problems.MESSAGES]) == code)
    sentence = tf.gather(tf.constant([*problems.MESSAGES.values()]), place)
    message = tf.strings.join(["picture ", tf.strings.as_string(number), " (counted from 0) ", sentence])
    with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(is_refused), [message])]):
        return tf.identity(codes)


def convert(encoded: tf.Tensor, size: ImageSize) -> tuple[tf.Tensor, tf.Tensor]:
    """The images, uint8 [N, H, W, 1], light on dark, of PNG or JPEG files, string [N], and their problems' codes.

    The codes, string [N], are those of `common.normalize.problems`, empty where all is well.
    """
    count = tf.shape(encoded)[0]
    places = tf.data.Dataset.from_tensor_slices((tf.range(count), encoded))
    # Undecodable files are dropped and known by their missing index, since the error itself does not name it. The end
    # mark ensures that at least one element is left.
    pictures = places.map(lambda place, content: (place, *_convert(content, size)), num_parallel_calls=_AT_ONCE)
    end_mark = (count, tf.zeros(size, tf.uint8), tf.constant(""))
    pictures = pictures.ignore_errors().concatenate(tf.data.Dataset.from_tensors(end_mark))
    read_places, images, codes = pictures.batch(tf.cast(count, tf.int64) + 1).get_single_element()
    codes = tf.tensor_scatter_nd_update(tf.fill([count + 1], _DAMAGED), read_places[:, None], codes)
    images = tf.scatter_nd(read_places[:, None], images, [count + 1, *size])
    return images[:-1, ..., None], codes[:-1]


def convert_pixels(pixels: tf.Tensor, size: ImageSize) -> tuple[tf.Tensor, tf.Tensor]:
    """The image, uint8 [H, W, 1], and the problem's code of a decoded picture, uint8 [height, width, C]."""
    return _with_code(*_to_image_of(size)(*picture.at_a_glance(tensors, pixels, None)))


def _with_code(image: tf.Tensor, problem: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(image, tf.uint8)[..., None], tf.gather(tf.constant(picture.CODES), problem)


@tf.autograph.experimental.do_not_convert  # which would triple the time to trace it
def _convert(content: tf.Tensor, size: ImageSize) -> tuple[tf.Tensor, tf.Tensor]:
    pixels, orientation, code = decoding.decode(content)

    def converted() -> tuple[tf.Tensor, tf.Tensor]:
        is_jpeg = tf.strings.substr(content, 0, len(picture.JPEG)) == picture.JPEG

        def colours() -> tf.Tensor:
            return tf.cond(is_jpeg, lambda: decoding.decode_colours(content, orientation), lambda: pixels)

        return _with_code(*_to_image_of(size)(*picture.at_a_glance(tensors, pixels, colours)))

    image, code = tf.cond(code == "", converted, lambda: (tf.zeros([*size, 1], tf.uint8), code))
    return tf.ensure_shape(image[..., 0], size), code


@cache
def _to_image_of(size: ImageSize) -> tf.types.experimental.GenericFunction:
    """The search, which is large, as a function of its own: it is traced once, and is the same for each model."""
    return tf.function(partial(picture.to_image_of, tensors, size=size), autograph=False)
