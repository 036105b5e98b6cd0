"""Augmentation of lines: each has its own random numbers, and becomes wider or narrower with its content.

`augmentation_steps` lists the steps by name and strength. Those that move ink are composed into one map, so that each
image is resampled only once; their order does not count.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from common.dataset.schema import IMAGE, TEXT, TEXT_LENGTH, WIDTH
from common.normalize.line import COLUMNS_PER_STEP, WIDTH_STEP
from trainer.distributed.randomness import StepRng

_BLANKED_TOGETHER, _MOST_SPANS = 16, 256  # columns, and how many of such spans differ in a line
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
        thick, thin = tf.nn.max_pool2d(images, 2, 1, "SAME"), -tf.nn.max_pool2d(-images, 2, 1, "SAME")
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
    zeros = tf.zeros_like(stretch)
    # From the positions of the result to those of the original.
    rows = [
        [1 / stretch, slant, -slant * middle],
        [tilt, 1 / grow, middle - (middle + lift) / grow - tilt * new / 2],
        [zeros, zeros],
    ]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([part for row in rows for part in row], axis=1),
        output_shape=tf.stack([height, canvas]),
        fill_value=0.0,
        interpolation="BILINEAR",
    )
    return tf.ensure_shape(moved, [None, height, None, 1]), tf.cast(new, tf.int64)


def columns_needed(batch: Tensors) -> tf.Tensor:
    """The least width with which each line's text can be read, int64 [N]: see `line.steps_needed`."""
    text, length = batch[TEXT], batch[TEXT_LENGTH]
    is_repeated = (text[:, 1:] == text[:, :-1]) & tf.sequence_mask(length - 1, text.shape[1] - 1)
    return COLUMNS_PER_STEP * (length + tf.math.count_nonzero(is_repeated, axis=1))
