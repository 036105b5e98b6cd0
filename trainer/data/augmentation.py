"""Augmentation of whole batches; each example has its own random numbers.

`augmentation_steps` lists the steps by name and strength. Consecutive geometric steps are composed into one map from
the pixels of the result to those of the original, so that each image is resampled only once.
"""

import math
from dataclasses import dataclass, replace

import tensorflow as tf

from common.normalize.picture import LONG_SIDE
from trainer.data.resampling import sample
from trainer.distributed.randomness import StepRng

_ELASTIC_CELLS = 5  # points of the displacement grid along an image's shorter side
# Of the largest value: where ink ends, by how much it grows, and the power that narrows its soft edges again.
_INK_FROM, _THICKER, _SHARPER = (0.1, 0.4), (1, 1.5), (1, 2)


@dataclass(frozen=True)
class _Batch:
    """Images float32 [N, H, W, 1] and their pending geometric transformation.

    A pixel of the result is sampled at `matrix` · (its position + `displacement`). Positions (x, y) count from the
    centre.
    """

    images: tf.Tensor
    matrix: tf.Tensor | None = None
    """float32 [N, 3, 3], homogeneous."""
    displacement: tf.Tensor | None = None
    """float32 [N, H, W, 2]."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def centre(self) -> tuple[float, float]:
        """The x and y of the image centre, counted from the middle of the first pixel."""
        height, width = self.size
        return (width - 1) / 2, (height - 1) / 2


def augment(images: tf.Tensor, steps: tuple[tuple[str, float], ...], rng: StepRng) -> tf.Tensor:
    """The augmented images, float32 [N, H, W, 1] in 0…255, from `images` of any number type; `steps` from `parse`."""
    num_rows = tf.shape(images)[0]
    batch = _Batch(tf.cast(images, tf.float32))
    for number, (name, strength) in enumerate(steps):
        batch = _STEPS[name](batch, _Source(rng, f"{number} {name}", num_rows), strength)
    return _resample(batch).images


@dataclass(frozen=True)
class _Source:
    """The random numbers of one step."""

    rng: StepRng
    purpose: str
    num_rows: tf.Tensor

    def between(self, low: float | tf.Tensor, high: float | tf.Tensor, purpose: str, *shape: int) -> tf.Tensor:
        """float32 [N, *shape], uniform in low ≤ x < high."""
        return low + (high - low) * self.rng.uniform(f"{self.purpose} {purpose}", self.num_rows, shape)


def rotate(batch: _Batch, source: _Source, degrees: float) -> _Batch:
    angle = source.between(-math.radians(degrees), math.radians(degrees), "angle")
    cos, sin, zero = tf.cos(angle), tf.sin(angle), tf.zeros_like(angle)
    return _move(batch, [[cos, -sin, zero], [sin, cos, zero]])


def scale(batch: _Batch, source: _Source, share: float) -> _Batch:
    """Scales height and width by independent factors."""
    factors = tf.exp(source.between(-math.log1p(share), math.log1p(share), "factors", 2))
    zero = tf.zeros_like(factors[:, 0])
    return _move(batch, [[factors[:, 0], zero, zero], [zero, factors[:, 1], zero]])


def shear(batch: _Batch, source: _Source, degrees: float) -> _Batch:
    slant = tf.tan(source.between(-math.radians(degrees), math.radians(degrees), "slant"))
    ones, zeros = tf.ones_like(slant), tf.zeros_like(slant)
    return _move(batch, [[ones, slant, zeros], [zeros, ones, zeros]])


def shift(batch: _Batch, source: _Source, pixels: float) -> _Batch:
    offsets = source.between(-pixels, pixels, "offsets", 2)
    return _translate(batch, offsets[:, 0], offsets[:, 1])


def elastic(batch: _Batch, source: _Source, pixels: float) -> _Batch:
    """A smooth distortion, after Simard et al., "Best practices for convolutional neural networks", 2003.

    Instead of smoothing random displacements of every pixel, this interpolates displacements on a coarse random grid.
    """
    batch = batch if batch.displacement is None else _resample(batch)
    cells = [round(_ELASTIC_CELLS * side / min(batch.size)) for side in batch.size]
    coarse = source.between(-pixels, pixels, "displacement", *cells, 2)
    to_rows, to_columns = (
        tf.image.resize(tf.eye(count)[..., None], [side, count], "bicubic")[..., 0]
        for count, side in zip(cells, batch.size, strict=True)
    )
    return replace(batch, displacement=tf.einsum("yi,xj,nijc->nyxc", to_rows, to_columns, coarse))


def redraw(batch: _Batch, source: _Source, share: float) -> _Batch:
    """Draws a share of the images as `common.normalize.picture` draws pictures: the ink fills a box, and is centred.

    Where the ink ends, how wide its soft edges are and how thick it is differ each time, as of pens and light.
    """
    images = _resample(batch).images[..., 0]
    fullest = tf.maximum(tf.reduce_max(images, axis=(1, 2)), 1)[:, None, None]
    ink = images / fullest

    def any_of(strength: tuple[float, float], purpose: str) -> tf.Tensor:
        return source.between(*strength, purpose)[:, None, None]

    mask = ink > any_of(_INK_FROM, "edge")
    is_drawn = tf.reduce_any(mask, axis=(1, 2)) & (source.between(0, 1, "choice") < share)
    drawn = fullest * tf.minimum(ink * any_of(_THICKER, "thickness"), 1) ** any_of(_SHARPER, "softness")
    images = tf.where(is_drawn[:, None, None], drawn, images)[..., None]
    (y, height), (x, width) = (_extent(tf.reduce_any(mask, axis=axis)) for axis in (2, 1))
    rows, columns = batch.size
    factor = tf.maximum(height / (rows * LONG_SIDE), width / (columns * LONG_SIDE))
    zero, factor = tf.zeros_like(factor), tf.where(is_drawn, factor, 1)
    moved = [[factor, zero, tf.where(is_drawn, x, 0)], [zero, factor, tf.where(is_drawn, y, 0)]]
    return _move(_Batch(images), moved)


def _extent(filled: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The middle of the filled places of bool [N, S], counted from the centre, and how many they span; float32 [N]."""
    filled = tf.cast(filled, tf.float32)
    before, behind = (tf.cast(tf.argmax(row, axis=1), tf.float32) for row in (filled, filled[:, ::-1]))
    return (before - behind) / 2, filled.shape[1] - before - behind


def erase(batch: _Batch, source: _Source, pixels: float) -> _Batch:
    """Blanks a square with sides of 1 to `pixels` pixels; after Zhong et al., "Random erasing", 2017."""
    batch = _resample(batch)
    side = tf.floor(source.between(1, min(pixels, *batch.size) + 1, "side"))
    left, top = _corner(source, batch, side, "corner")
    return replace(batch, images=tf.where(_square(batch, left, top, side), 0.0, batch.images))


def random_patch(batch: _Batch, source: _Source, smallest_pixels: float) -> _Batch:
    """Moves a random square patch to a random place on an empty image, as the source article does."""
    batch = _resample(batch)
    largest = min(batch.size)
    side = tf.floor(source.between(min(smallest_pixels, largest), largest + 1, "side"))
    left, top = _corner(source, batch, side, "from")
    new_left, new_top = _corner(source, batch, side, "to")
    patch = tf.where(_square(batch, left, top, side), batch.images, 0.0)
    return _translate(replace(batch, images=patch), new_left - left, new_top - top)


_STEPS = {step.__name__: step for step in (rotate, scale, shear, shift, elastic, redraw, erase, random_patch)}


def _corner(source: _Source, batch: _Batch, side: tf.Tensor, purpose: str) -> tuple[tf.Tensor, tf.Tensor]:
    """The left and top pixel of a square at a random place in the image, each float32 [N]."""
    height, width = batch.size
    corner = tf.floor(source.between(0, tf.stack([width + 1 - side, height + 1 - side], axis=1), purpose, 2))
    return corner[:, 0], corner[:, 1]


def _square(batch: _Batch, left: tf.Tensor, top: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """The mask of a square's pixels, bool [N, H, W, 1]."""
    rows, columns = (
        (places >= low[:, None]) & (places < (low + side)[:, None])
        for low, places in zip((top, left), (tf.range(count, dtype=tf.float32) for count in batch.size), strict=True)
    )
    return (rows[:, :, None] & columns[:, None, :])[..., None]


def _translate(batch: _Batch, right: tf.Tensor, down: tf.Tensor) -> _Batch:
    ones, zeros = tf.ones_like(right), tf.zeros_like(right)
    return _move(batch, [[ones, zeros, -right], [zeros, ones, -down]])


def _move(batch: _Batch, rows: list[list[tf.Tensor]]) -> _Batch:
    """Adds a step's affine map, from positions after it to positions before it; its two rows are tensors [N]."""
    batch = batch if batch.displacement is None else _resample(batch)
    zeros, ones = tf.zeros_like(rows[0][0]), tf.ones_like(rows[0][0])
    matrix = tf.stack([tf.stack(row, axis=1) for row in [*rows, [zeros, zeros, ones]]], axis=1)
    return replace(batch, matrix=matrix if batch.matrix is None else batch.matrix @ matrix)


def _resample(batch: _Batch) -> _Batch:
    """Applies the pending transformation, bilinearly, with empty background around the image."""
    if batch.displacement is not None:
        moved = sample(batch.images, *_positions(batch))
        return _Batch(tf.ensure_shape(moved, batch.images.shape))
    if batch.matrix is None:
        return batch
    # TensorFlow's own operation counts positions from the corner.
    x, y = batch.centre
    to_corner = tf.constant([[1, 0, x], [0, 1, y], [0, 0, 1]])
    from_corner = tf.constant([[1, 0, -x], [0, 1, -y], [0, 0, 1]])
    images = tf.raw_ops.ImageProjectiveTransformV3(
        images=batch.images,
        transforms=tf.reshape(to_corner @ batch.matrix @ from_corner, [-1, 9])[:, :8],
        output_shape=batch.size,
        fill_value=0.0,
        interpolation="BILINEAR",
    )
    return _Batch(tf.ensure_shape(images, batch.images.shape))


def _positions(batch: _Batch) -> tuple[tf.Tensor, tf.Tensor]:
    """Where each pixel of the result is sampled: x and y, counted from the first pixel, each float32 [N, H, W]."""
    across, down = (
        tf.range(side, dtype=tf.float32) - middle for side, middle in zip(batch.size[::-1], batch.centre, strict=True)
    )
    x, y = (plane + batch.displacement[..., axis] for axis, plane in enumerate(tf.meshgrid(across, down)))
    if batch.matrix is not None:
        x_row, y_row = ([batch.matrix[:, row, column, None, None] for column in range(3)] for row in range(2))
        x, y = x_row[0] * x + x_row[1] * y + x_row[2], y_row[0] * x + y_row[1] * y + y_row[2]
    return x + batch.centre[0], y + batch.centre[1]
