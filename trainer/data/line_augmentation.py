"""Augmentation of lines: each has its own random numbers, and becomes wider or narrower with its content.

`augmentation_steps` lists the steps by name and strength. Those that move ink are composed into one map, so that each
image is resampled only once; their order does not count.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from common.dataset.schema import IMAGE, TEXT, TEXT_LENGTH, WIDTH
from common.normalize.line import COLUMNS_PER_STEP, WIDTH_STEP
from trainer.data.resampling import sample
from trainer.distributed.randomness import StepRng

_BLANKED_TOGETHER, _MOST_SPANS = 16, 256  # columns, and how many of such spans differ in a line
_BETWEEN_POINTS, _MOST_POINTS = 24, 64  # columns between the points of a warp, and how many of them differ in a line
_OF_BATCH = 0.75  # the share of how far a line is stretched that all lines of its batch have

Tensors = dict[str, tf.Tensor]


def augment(batch: Tensors, steps: tuple[tuple[str, float], ...], rng: StepRng) -> Tensors:
    """The batch with its images, [N, H, W, 1], varied: float32 in 0…255 and as wide as its widest line now is."""
    images, strengths = tf.cast(batch[IMAGE], tf.float32), dict(steps)
    num_rows = tf.shape(images)[0]

    def between(low: float, high: float, purpose: str) -> tf.Tensor:
        return low + (high - low) * rng.uniform(purpose, num_rows)

    def either_way(name: str, unit: float = 1.0) -> tf.Tensor:
        return between(-unit * strengths.get(name, 0), unit * strengths.get(name, 0), name)

    images, widths = _move(batch, images, either_way, strengths, rng)
    if "thicken" in strengths:
        share = either_way("thicken")[:, None, None, None]
        thick, thin = _of_four(images, tf.maximum), _of_four(images, tf.minimum)
        images += tf.maximum(share, 0) * (thick - images) + tf.maximum(-share, 0) * (thin - images)
    if "fade" in strengths:
        brightness = tf.exp(either_way("fade"))[:, None, None, None]
        images = tf.minimum(images * brightness, 255)
    if "blank" in strengths:
        # As many numbers for each row, however wide its batch is.
        spans = rng.uniform("blank", num_rows, (_MOST_SPANS,))
        columns = tf.range(tf.shape(images)[2]) // _BLANKED_TOGETHER
        is_kept = tf.gather(spans, columns % _MOST_SPANS, axis=1) >= strengths["blank"]
        images *= tf.cast(is_kept, tf.float32)[:, None, :, None]
    inside = tf.sequence_mask(widths, tf.shape(images)[2], tf.float32)[:, None, :, None]
    return batch | {IMAGE: images * inside, WIDTH: widths}


def _of_four(images: tf.Tensor, extreme: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """The largest or smallest of each pixel, the one right of it and the two below; pooling takes ten times as long."""
    beside = extreme(images, tf.concat([images[:, :, 1:], images[:, :, -1:]], axis=2))
    return extreme(beside, tf.concat([beside[:, 1:], beside[:, -1:]], axis=1))


def _move(
    batch: Tensors, images: tf.Tensor, either_way: Callable[..., tf.Tensor], strengths: dict[str, float], rng: StepRng
) -> tuple[tf.Tensor, tf.Tensor]:
    """The images after all steps that move ink, and their widths, int64 [N]."""
    widths = tf.cast(batch[WIDTH], tf.float32)
    height = images.shape[1]
    middle = (height - 1) / 2
    # Mostly the whole batch's, whose lines are of similar width, so that little is padding.
    stretch = strengths.get("stretch", 0)
    whole, own = rng.of_batch("stretch"), rng.uniform("own stretch", tf.shape(widths)[0])
    stretch = tf.exp(stretch * (_OF_BATCH * (2 * whole - 1) + (1 - _OF_BATCH) * (2 * own - 1)))
    stretch = tf.maximum(stretch, tf.cast(columns_needed(batch), tf.float32) / widths)
    grow, lift = tf.exp(either_way("grow")), either_way("lift")
    slant, tilt = tf.tan(either_way("slant", math.pi / 180)), tf.tan(either_way("tilt", math.pi / 180))
    new = tf.math.ceil(widths * stretch)
    canvas = tf.cast(tf.math.ceil(tf.reduce_max(new) / WIDTH_STEP), tf.int32) * WIDTH_STEP
    # From the positions of the result, [N, H, canvas], to those of the original.
    x = tf.range(canvas, dtype=tf.float32)[None, None, :]
    y = tf.range(height, dtype=tf.float32)[None, :, None]
    if "warp" in strengths:
        right, down = _warp(strengths["warp"], new, canvas, height, rng)
        x, y = x + right, y + down
    stretch, grow, lift, slant, tilt, length = (
        value[:, None, None] for value in (stretch, grow, lift, slant, tilt, new)
    )
    moved = sample(
        images,
        x / stretch + slant * (y - middle),
        middle + (y - middle - lift) / grow + tilt * (x - length / 2),
    )
    return tf.ensure_shape(moved, [None, height, None, 1]), tf.cast(new, tf.int64)


def _warp(
    pixels: float, widths: tf.Tensor, canvas: tf.Tensor, height: int, rng: StepRng
) -> tuple[tf.Tensor, tf.Tensor]:
    """Displacements to the right and down, each float32 [N, H, canvas]: the writing's own unsteadiness.

    Points on the upper and the lower edge are moved, up to `pixels`, and all between goes with them; after Wigington et
    al., "Data augmentation for recognition of handwritten words and lines using a CNN-LSTM network", 2017.
    """
    # As many numbers for each row, however wide its batch is.
    points = pixels * (2 * rng.uniform("warp", tf.shape(widths)[0], (_MOST_POINTS, 2, 2)) - 1)
    columns = tf.range(canvas, dtype=tf.float32)
    place = columns / _BETWEEN_POINTS
    point = tf.cast(place, tf.int32)
    share = place - tf.floor(place)
    share = (share * share * (3 - 2 * share))[None, :, None, None]
    before, behind = (tf.gather(points, (point + next_one) % _MOST_POINTS, axis=1) for next_one in (0, 1))
    moved = before + share * (behind - before)  # [N, canvas, 2 edges, 2 directions]
    # A line keeps its ends, so that no ink leaves it.
    to_end = tf.minimum(columns, widths[:, None] - 1 - columns)
    moved *= tf.clip_by_value(to_end / _BETWEEN_POINTS, 0, 1)[:, :, None, None]
    from_top = tf.range(height, dtype=tf.float32)[None, :, None] / (height - 1)
    right, down = (
        moved[:, None, :, 0, axis] * (1 - from_top) + moved[:, None, :, 1, axis] * from_top for axis in (0, 1)
    )
    return right, down / 2


def columns_needed(batch: Tensors) -> tf.Tensor:
    """The least width with which each line's text can be read, int64 [N]: see `line.steps_needed`."""
    text, length = batch[TEXT], batch[TEXT_LENGTH]
    is_repeated = (text[:, 1:] == text[:, :-1]) & tf.sequence_mask(length - 1, text.shape[1] - 1)
    return COLUMNS_PER_STEP * (length + tf.math.count_nonzero(is_repeated, axis=1))
