"""Brings a picture of a line of text to a line's image: of a given height, light ink on dark ground, even paper.

The aspect ratio stays. As for characters, one code on the operations of `arrays` serves NumPy, which is the reference,
and the graph of a model.
"""

import unicodedata
from itertools import pairwise
from types import ModuleType

import numpy as np

from common.formats import picture
from common.normalize import arrays, paper
from common.normalize.filters import LEVELS, Array, blurred, closed, histogram, quantile, quantiles
from common.normalize.paper import FULL
from common.normalize.view import grey

VERSION = 1
"""Raised by each change that alters images, so that datasets of pictures are made anew."""
COLUMNS_PER_STEP = 4
"""The columns of an image for which a reader gives one answer, so no character can be narrower."""
WIDTH_STEP = 32
"""The widths of canvases and batches are multiples of it, so strides meet the same columns in all of them."""
NO_INK = "no-ink"
LEAST = picture.Least(longer=1, shorter=96)
"""To what decoding may reduce a picture of a line, which may be long."""

_WINDOW = 25  # strokes are narrower, shadows wider
_LEAST_PAPER = 20
_LEAST_INK = 64  # of FULL; what is paler is no ink


def size_of(height: int, width: int, line_height: int, max_width: int) -> tuple[int, int]:
    """The height and width that a picture's content has in its image: `line_height`, unless that is too wide."""
    scaled = max(1, (2 * width * line_height + height) // (2 * height))
    if scaled <= max_width:
        return line_height, scaled
    return max(1, (2 * height * max_width + width) // (2 * width)), max_width


def normalized(text: str) -> str:
    """The text in Unicode's NFC, each run of white space one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def steps_needed(text: str) -> int:
    """The answers that a reader needs for a text: one for each character, and one between two equal ones."""
    return len(text) + sum(first == second for first, second in pairwise(text))


def read(content: bytes, size: tuple[int, int], line_height: int) -> tuple[np.ndarray, str]:
    """The image of a picture file, uint8 [line_height, width], and `NO_INK` or an empty string.

    `size` is its `size_of`. Raises `PictureError` for what cannot be decoded.
    """
    return to_image(picture.decode(content, least=LEAST), size, line_height)


def to_image(pixels: np.ndarray, size: tuple[int, int], line_height: int) -> tuple[np.ndarray, str]:
    """Like `read`, of a decoded picture, uint8 [H, W, C]."""
    image, has_ink = image_of(arrays, pixels, size)
    above = (line_height - size[0]) // 2
    padded = np.pad(image.astype(np.uint8), ((above, line_height - size[0] - above), (0, 0)))
    return padded, "" if has_ink else NO_INK


def image_of(xp: ModuleType, pixels: Array, size: tuple[Array, Array]) -> tuple[Array, Array]:
    """The image, int32 [*size] in 0…255, of a decoded picture, uint8 [H, W, C], and whether there is any ink."""
    lower = _resampled(xp, xp.floats(on_white(xp, pixels)), size[0])
    scaled = xp.transpose(_resampled(xp, xp.transpose(lower, (1, 0)), size[1]), (1, 0))
    values = xp.integers(xp.rounded(scaled))
    inside = xp.ones_like(values) > 0
    # Most of a line is paper, so its median is.
    low, median, high = quantiles(xp, values, inside)
    values = xp.where(high - median > median - low, 255 - values, values)
    smooth = blurred(xp, values)
    light = blurred(xp, closed(xp, smooth, inside, _WINDOW))
    dark = xp.minimum(xp.maximum(light - values, 0) * FULL // xp.maximum(light, _LEAST_PAPER), FULL)
    counts = histogram(xp, dark, inside, FULL + 1)
    noise, darkest = paper.noise_of(xp, dark, inside), quantile(xp, counts, 990)
    ink = quantile(xp, counts * xp.integers(xp.arange(FULL + 1) * 2 > darkest), 500)
    has_ink = (ink >= _LEAST_INK) & (ink > 4 * noise)
    lowest = xp.minimum(xp.maximum(2 * noise, ink // 10), ink // 2)
    image = xp.minimum(xp.maximum(dark - lowest, 0) * (LEVELS - 1) // xp.maximum(ink - lowest, 1), LEVELS - 1)
    return image, has_ink


def on_white(xp: ModuleType, pixels: Array) -> Array:
    """The brightness of each pixel, int32 [H, W], 0…255; what is transparent is white."""
    channels = xp.shape(pixels)[2]

    def of_colours() -> Array:
        planes = xp.transpose(xp.integers(pixels), (2, 0, 1))
        bright = grey(xp, [planes[xp.minimum(channel, channels - 1)] for channel in range(3)])
        opacity = xp.where(channels == 4, planes[channels - 1], 255)
        return (bright * opacity + 255 * (255 - opacity)) // 255

    return xp.cond(channels == 1, lambda: xp.integers(pixels[..., 0]), of_colours)


def _resampled(xp: ModuleType, values: Array, side: Array) -> Array:
    """float32 [side, N] of [count, N]: means by a triangle around each row of the result, as wide as it stands for."""
    count = xp.shape(values)[0]
    step = xp.floats(count) / xp.floats(side)
    reach = xp.maximum(step, 1.0)
    middles = (xp.floats(xp.arange(side)) + 0.5) * step
    # Only the rows within reach are touched: a matrix of all weights would be as large as the square of the width.
    first = xp.integers(xp.maximum(middles - reach - 0.5, 0.0))
    places = first[:, None] + xp.arange(xp.integers(2 * reach) + 2)[None, :]
    distances = xp.absolute(xp.floats(places) + 0.5 - middles[:, None]) / reach
    weights = xp.where(places < count, xp.maximum(1.0 - distances, 0.0), 0.0)
    weights = weights / xp.maximum(xp.sum_of_rows(weights), 1e-6)
    return xp.weighted(xp.take(values, xp.minimum(places, count - 1)), weights)
