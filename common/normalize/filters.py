"""Filters and statistics of views, on integers, for NumPy and graphs alike."""

from types import ModuleType
from typing import Any

Array = Any
"""An array of NumPy's or a tensor."""

LEVELS = 256
"""Of brightness."""


def histogram(xp: ModuleType, values: Array, mask: Array, bins: int) -> Array:
    """How often each of 0 … bins - 1 occurs among the masked values, int32 [bins]."""
    return xp.counts(values, mask, bins)


def quantile(xp: ModuleType, counts: Array, thousandths: int) -> Array:
    """The least value that so many thousandths of the counted values do not exceed."""
    cumulated = xp.cumulated(counts)
    return xp.total(cumulated * 1000 < cumulated[-1] * thousandths)


def blurred(xp: ModuleType, values: Array) -> Array:
    """A binomial blur of 3×3, σ = 0.7; edges are repeated."""
    down = xp.concat([values[:1], values[:-1]], 0) + 2 * values + xp.concat([values[1:], values[-1:]], 0)
    left, right = xp.concat([down[:, :1], down[:, :-1]], 1), xp.concat([down[:, 1:], down[:, -1:]], 1)
    return xp.right_shift(left + 2 * down + right + 8, 4)


def smallest_within(xp: ModuleType, values: Array, height: int, width: int) -> Array:
    """The smallest value, of 0 to 255, within a window; what lies outside the array is ignored."""
    return 255 - xp.largest_within(255 - values, height, width)


def closed(xp: ModuleType, values: Array, inside: Array, window: int) -> Array:
    """A morphological closing of values 0 to 255 by a square window; what lies outside is ignored."""
    high = xp.largest_within(xp.where(inside, values, 0), window, window)
    return smallest_within(xp, xp.where(inside, high, 255), window, window)


def quantiles(xp: ModuleType, values: Array, mask: Array) -> tuple[Array, Array, Array]:
    """The 0.5 % quantile, the median and the 99.5 % quantile of the masked values, 0 to 255."""
    counts = histogram(xp, values, mask, LEVELS)
    return quantile(xp, counts, 5), quantile(xp, counts, 500), quantile(xp, counts, 995)
