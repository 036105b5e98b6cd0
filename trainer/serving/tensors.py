"""The array operations of `common.normalize.view`, `paper` and `parts`, in a TensorFlow graph: those of `arrays`."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

maximum, minimum, where, concat, stack = tf.maximum, tf.minimum, tf.where, tf.concat, tf.stack
reshape, transpose, matmul, absolute, exp, cond = tf.reshape, tf.transpose, tf.linalg.matmul, tf.abs, tf.exp, tf.cond
any_of, largest, smallest = tf.reduce_any, tf.reduce_max, tf.reduce_min
take, cumulated, ones_like, rounded = tf.gather, tf.cumsum, tf.ones_like, tf.round
right_shift = tf.bitwise.right_shift


def integers(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.int32)


def long_integers(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.int64)


def floats(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.float32)


def arange(count: int | tf.Tensor) -> tf.Tensor:
    return tf.constant(np.arange(count, dtype=np.int32)) if isinstance(count, int) else tf.range(count)


def shape(values: tf.Tensor) -> list[tf.Tensor]:
    return tf.unstack(tf.shape(values))


def total(values: tf.Tensor, axis: int | tuple[int, ...] | None = None) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(values, tf.int32), axis)


def sum_of_rows(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(values, axis=1, keepdims=True)


def weighted(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    return tf.linalg.matmul(weights[:, None], values)[:, 0]


def first_largest(values: tf.Tensor) -> tf.Tensor:
    return tf.argmax(values, output_type=tf.int32)


def pad(values: tf.Tensor, rows: tuple[int, int], columns: tuple[int, int], value: int) -> tf.Tensor:
    return tf.pad(values, (rows, columns), constant_values=value)


def largest_within(values: tf.Tensor, height: int, width: int) -> tf.Tensor:
    for window in (height, width):
        if window > 1:
            # The columns are channels, over which TensorFlow computes fast.
            rows = tf.nn.max_pool2d(values[None, :, None, :], (window, 1), 1, "SAME")
            values = rows[0, :, 0]
        values = tf.transpose(values)
    return values


def places(mask: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.where(mask)[:, 0], tf.int32)


def sums_by(groups: tf.Tensor, values: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    return tf.math.unsorted_segment_sum(values, groups, count)


def counts(values: tf.Tensor, mask: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    return sums_by(tf.reshape(values, [-1]), integers(tf.reshape(mask, [-1])), count)


def largest_by(groups: tf.Tensor, values: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    return tf.maximum(tf.math.unsorted_segment_max(values, groups, count), 0)


def block_sums(pixels: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    rows, columns, channels = shape(pixels)
    pixels = tf.reshape(integers(pixels), (rows // height, height, columns * channels))
    return total(tf.reshape(total(pixels, axis=1), (rows // height, columns // width, width, channels)), axis=2)


def components(mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Numbers the runs of each row, and joins runs that touch until nothing changes."""
    height, width = mask.shape
    ones = tf.cast(mask, tf.int32)
    padded = tf.pad(ones, ((0, 0), (1, 1)))
    begins = ones * (1 - padded[:, :-2])
    runs = tf.reshape(tf.cumsum(tf.reshape(begins, [-1])), [height, width]) * ones
    num_runs = tf.reduce_sum(begins)
    above, below = tf.pad(runs[:-1], ((0, 0), (1, 1))), runs[1:]
    pairs = tf.stack([tf.stack([above[:, shift : shift + width], below], -1) for shift in range(3)])
    pairs = tf.boolean_mask(pairs, tf.reduce_all(pairs > 0, -1))

    def join(_: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        joined = tf.gather(labels, pairs)
        larger = tf.reduce_max(joined, 1)
        groups = tf.concat([tf.reshape(joined, [-1]), tf.range(num_runs + 1)], 0)
        values = tf.concat([tf.repeat(larger, 2), tf.range(num_runs + 1)], 0)
        larger = tf.math.unsorted_segment_max(values, groups, num_runs + 1)
        for _ in range(3):
            larger = tf.gather(larger, larger)
        return labels, tf.gather(larger, labels)

    labels = tf.range(num_runs + 1)
    labels = tf.while_loop(lambda before, after: tf.reduce_any(before != after), join, join(labels, labels))[1]
    is_last = tf.cast(labels == tf.range(num_runs + 1), tf.int32)
    numbers = tf.cumsum(is_last) - 1
    return tf.gather(tf.gather(numbers, labels), runs), tf.reduce_sum(is_last) - 1


def loop(condition: Callable[..., tf.Tensor], body: Callable[..., tuple], state: tuple) -> tuple:
    return tf.while_loop(condition, body, state)
