"""Augmentation: each step changes a whole batch at once, each example by random numbers of its own.

Steps are listed by name and strength (`augmentation_steps`). Those that move ink are not carried out one by one: they
are composed into one map from the pixels of the result to those of the original, and each image is resampled once.
"""

import math
from dataclasses import dataclass, replace

import tensorflow as tf

from common.dataset.records import IMAGE_SIDE
from trainer.randomness import Draws

_CENTRE = (IMAGE_SIDE - 1) / 2
_ELASTIC_CELLS = 5  # the paper is stretched on a grid of so many points a side


@dataclass(frozen=True)
class _Batch:
    """Images float32 [N, 28, 28] and what is still to be done to them.

    A pixel of the result is taken from `matrix` · (its position + `displacement`), positions (x, y) counted from the
    centre.
    """

    images: tf.Tensor
    matrix: tf.Tensor | None = None
    """float32 [N, 3, 3], homogeneous."""
    displacement: tf.Tensor | None = None
    """float32 [N, 784, 2]."""


def augment(images: tf.Tensor, steps: tuple[tuple[str, float], ...], draws: Draws) -> tf.Tensor:
    """float32 [N, 28, 28, 1] in 0…255 from `images` of that shape, any number type; `steps` as `parse` gives them."""
    num_rows = tf.shape(images)[0]
    batch = _Batch(tf.cast(tf.reshape(images, [num_rows, IMAGE_SIDE, IMAGE_SIDE]), tf.float32))
    for number, (name, strength) in enumerate(steps):
        batch = _STEPS[name](batch, _Source(draws, f"{number} {name}", num_rows), strength)
    return tf.reshape(_resample(batch).images, [num_rows, IMAGE_SIDE, IMAGE_SIDE, 1])


@dataclass(frozen=True)
class _Source:
    """Where one step has its random numbers from."""

    draws: Draws
    purpose: str
    num_rows: tf.Tensor

    def between(self, low: float | tf.Tensor, high: float | tf.Tensor, purpose: str, *shape: int) -> tf.Tensor:
        """float32 [N, *shape], uniform in low ≤ x < high."""
        return low + (high - low) * self.draws.uniform(f"{self.purpose} {purpose}", self.num_rows, shape)


def rotate(batch: _Batch, source: _Source, degrees: float) -> _Batch:
    angle = source.between(-math.radians(degrees), math.radians(degrees), "angle")
    cos, sin, zero = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle)
    return _move(batch, [[cos, -sin, zero], [sin, cos, zero]])


def scale(batch: _Batch, source: _Source, share: float) -> _Batch:
    """Height and width by factors of their own."""
    factors = tf.exp(source.between(-math.log1p(share), math.log1p(share), "factors", 2))
    zero = tf.zeros_like(factors[:, 0])
    return _move(batch, [[factors[:, 0], zero, zero], [zero, factors[:, 1], zero]])


def shear(batch: _Batch, source: _Source, degrees: float) -> _Batch:
    slant = tf.tan(source.between(-math.radians(degrees), math.radians(degrees), "slant"))
    one, zero = tf.ones_like(slant), tf.zeros_like(slant)
    return _move(batch, [[one, slant, zero], [zero, one, zero]])


def shift(batch: _Batch, source: _Source, pixels: float) -> _Batch:
    offsets = source.between(-pixels, pixels, "offsets", 2)
    return _translate(batch, offsets[:, 0], offsets[:, 1])


def elastic(batch: _Batch, source: _Source, pixels: float) -> _Batch:
    """Stretches the paper smoothly, after Simard et al., "Best practices for convolutional neural networks", 2003.

    Where they smooth random displacements of every pixel, these are drawn on a coarse grid and interpolated.
    """
    batch = batch if batch.displacement is None else _resample(batch)
    coarse = source.between(-pixels, pixels, "displacement", _ELASTIC_CELLS, _ELASTIC_CELLS, 2)
    to_pixels = tf.image.resize(tf.eye(_ELASTIC_CELLS)[..., None], [IMAGE_SIDE, _ELASTIC_CELLS], "bicubic")[..., 0]
    fine = tf.einsum("yi,xj,nijc->nyxc", to_pixels, to_pixels, coarse)
    return replace(batch, displacement=tf.reshape(fine, [-1, IMAGE_SIDE * IMAGE_SIDE, 2]))


def erase(batch: _Batch, source: _Source, pixels: float) -> _Batch:
    """Makes paper of a square, of one pixel up to `pixels` a side; after Zhong et al., "Random erasing", 2017."""
    batch = _resample(batch)
    side = tf.floor(source.between(1, pixels + 1, "side"))
    left, top = _corner(source, side, "corner")
    return replace(batch, images=tf.where(_square(left, top, side), 0.0, batch.images))


def random_patch(batch: _Batch, source: _Source, smallest_pixels: float) -> _Batch:
    """Cuts a square patch out of the image and puts it anywhere on empty paper, as the source article does."""
    batch = _resample(batch)
    side = tf.floor(source.between(smallest_pixels, IMAGE_SIDE + 1, "side"))
    left, top = _corner(source, side, "from")
    new_left, new_top = _corner(source, side, "to")
    patch = tf.where(_square(left, top, side), batch.images, 0.0)
    return _translate(replace(batch, images=patch), new_left - left, new_top - top)


_STEPS = {step.__name__: step for step in (rotate, scale, shear, shift, elastic, erase, random_patch)}


def _corner(source: _Source, side: tf.Tensor, purpose: str) -> tuple[tf.Tensor, tf.Tensor]:
    """The left and top pixel of a square anywhere in the image, each float32 [N]."""
    corner = tf.floor(source.between(0, (IMAGE_SIDE + 1 - side)[:, None], purpose, 2))
    return corner[:, 0], corner[:, 1]


def _square(left: tf.Tensor, top: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Which pixels are within, bool [N, 28, 28]."""
    places = tf.range(IMAGE_SIDE, dtype=tf.float32)[None]
    columns = (places >= left[:, None]) & (places < (left + side)[:, None])
    rows = (places >= top[:, None]) & (places < (top + side)[:, None])
    return rows[:, :, None] & columns[:, None, :]


def _translate(batch: _Batch, right: tf.Tensor, down: tf.Tensor) -> _Batch:
    one, zero = tf.ones_like(right), tf.zeros_like(right)
    return _move(batch, [[one, zero, -right], [zero, one, -down]])


def _move(batch: _Batch, rows: list[list[tf.Tensor]]) -> _Batch:
    """Adds a map from positions after this step to positions before it, its two rows given as tensors [N]."""
    batch = batch if batch.displacement is None else _resample(batch)
    zero, one = tf.zeros_like(rows[0][0]), tf.ones_like(rows[0][0])
    matrix = tf.stack([tf.stack(row, axis=1) for row in [*rows, [zero, zero, one]]], axis=1)
    return replace(batch, matrix=matrix if batch.matrix is None else batch.matrix @ matrix)


def _resample(batch: _Batch) -> _Batch:
    """Carries out what is still to be done; bilinear, with empty paper all around."""
    if batch.displacement is not None:
        return _Batch(_sample(batch.images, *_positions(batch.matrix, batch.displacement)))
    if batch.matrix is None:
        return batch
    # TensorFlow's own operation counts positions from the corner.
    to_corner = tf.constant([[1, 0, _CENTRE], [0, 1, _CENTRE], [0, 0, 1]])
    from_corner = tf.constant([[1, 0, -_CENTRE], [0, 1, -_CENTRE], [0, 0, 1]])
    images = tf.raw_ops.ImageProjectiveTransformV3(
        images=batch.images[..., None],
        transforms=tf.reshape(to_corner @ batch.matrix @ from_corner, [-1, 9])[:, :8],
        output_shape=[IMAGE_SIDE, IMAGE_SIDE],
        fill_value=0.0,
        interpolation="BILINEAR",
    )
    return _Batch(images[..., 0])


def _positions(matrix: tf.Tensor | None, displacement: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where each pixel of the result is taken from: x and y, counted from the centre, each float32 [N, 784]."""
    places = tf.range(IMAGE_SIDE, dtype=tf.float32) - _CENTRE
    x, y = (tf.reshape(plane, [1, -1]) for plane in tf.meshgrid(places, places))
    x, y = x + displacement[..., 0], y + displacement[..., 1]
    if matrix is None:
        return x, y
    x_row, y_row = ([matrix[:, row, column, None] for column in range(3)] for row in range(2))
    return x_row[0] * x + x_row[1] * y + x_row[2], y_row[0] * x + y_row[1] * y + y_row[2]


def _sample(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    num_rows = tf.shape(images)[0]
    # A border of one pixel stands for all the paper around.
    side = IMAGE_SIDE + 2
    x, y = (tf.clip_by_value(position + _CENTRE + 1, 0.0, side - 1.001) for position in (x, y))
    left, top = tf.floor(x), tf.floor(y)
    paper = tf.pad(images, [[0, 0], [1, 2], [1, 2]])
    # The four pixels that each result lies between stand side by side, so that they are fetched as one.
    cuts = slice(0, side), slice(1, side + 1)
    four = tf.stack([paper[:, rows, columns] for rows in cuts for columns in cuts], axis=-1)
    index = (tf.range(num_rows)[:, None] * side + tf.cast(top, tf.int32)) * side + tf.cast(left, tf.int32)
    four = tf.gather(tf.reshape(four, [-1, 4]), index)
    upper = four[..., 0] + (four[..., 1] - four[..., 0]) * (x - left)
    lower = four[..., 2] + (four[..., 3] - four[..., 2]) * (x - left)
    return tf.reshape(upper + (lower - upper) * (y - top), [num_rows, IMAGE_SIDE, IMAGE_SIDE])
