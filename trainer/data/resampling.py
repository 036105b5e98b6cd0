"""Bilinear sampling of images at any positions."""

import tensorflow as tf


def sample(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The values of `images`, float32 [N, H, W, 1], at positions float32 [N, h, w]: float32 [N, h, w, 1].

    Positions count from the middle of the first pixel. Around an image is nothing, 0.
    """
    shape = tf.shape(images)
    # A border of one pixel stands for all the background around the image.
    height, width = shape[1] + 2, shape[2] + 2
    x, y = (
        tf.clip_by_value(position + 1, 0.0, tf.cast(side, tf.float32) - 1.001)
        for position, side in ((x, width), (y, height))
    )
    left, top = tf.floor(x), tf.floor(y)
    paper = tf.pad(images[..., 0], [[0, 0], [1, 2], [1, 2]])
    # The four pixels around each position are stored side by side, so that one gather fetches them all.
    four = tf.stack([paper[:, row : row + height, column : column + width] for row in (0, 1) for column in (0, 1)], -1)
    index = (tf.range(shape[0])[:, None, None] * height + tf.cast(top, tf.int32)) * width + tf.cast(left, tf.int32)
    four = tf.gather(tf.reshape(four, [-1, 4]), index)
    upper = four[..., 0] + (four[..., 1] - four[..., 0]) * (x - left)
    lower = four[..., 2] + (four[..., 3] - four[..., 2]) * (x - left)
    return (upper + (lower - upper) * (y - top))[..., None]
