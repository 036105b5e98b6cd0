"""The array operations of `view`, `paper` and `parts`, in NumPy; `trainer.serving.tensors` has the same for TensorFlow.

Arrays are int32 and of fixed shape unless a function says otherwise. Both give the same integers.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.ndimage import label
from threadpoolctl import ThreadpoolController

Array = np.ndarray

maximum, minimum, where, concat, stack = np.maximum, np.minimum, np.where, np.concatenate, np.stack
reshape, transpose, absolute = np.reshape, np.transpose, np.abs


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


def matmul(first: Array, second: Array) -> Array:
    # More threads would take no less time for matrices as small as these, but twice the processor time.
    with _thread_pools().limit(limits=1, user_api="blas"):
        return np.matmul(first, second)


def integers(values: Array) -> Array:
    return np.asarray(values).astype(np.int32, order="C")  # whatever was transposed: later passes are then faster


def long_integers(values: Array) -> Array:
    return np.asarray(values).astype(np.int64)


def floats(values: Array) -> Array:
    return np.asarray(values).astype(np.float32)


def arange(count: int) -> Array:
    return np.arange(count, dtype=np.int32)


def shape(values: Array) -> tuple[int, ...]:
    """Its dimensions: integers here, scalar tensors in a graph."""
    return values.shape


def block_sums(pixels: Array, height: int, width: int) -> Array:
    """The sums of blocks of `height` by `width` pixels of an array [H, W, C]."""
    rows = sum(np.asarray(pixels[row::height], np.int32) for row in range(height))
    return sum(rows[:, column::width] for column in range(width))


def total(values: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """The sum of integers or booleans."""
    return np.sum(values, axis=axis, dtype=np.int32)


def sum_of_rows(values: Array) -> Array:
    """[H, 1] of floats [H, W]."""
    return np.sum(values, axis=1, keepdims=True)


def weighted(values: Array, weights: Array) -> Array:
    """[H, W] of floats [H, K, W]: the sum of K rows, weighted by [H, K]."""
    return np.einsum("hkw,hk->hw", values, weights)


def cumulated(values: Array, axis: int = 0) -> Array:
    return np.cumsum(values, axis=axis, dtype=values.dtype)


def largest(values: Array, axis: int | None = None) -> Array:
    return np.max(values, axis=axis)


def smallest(values: Array, axis: int | None = None) -> Array:
    return np.min(values, axis=axis)


def first_largest(values: Array) -> Array:
    """The index of the largest value, the first of equal ones."""
    return np.argmax(values).astype(np.int32)


def any_of(values: Array, axis: int | None = None) -> Array:
    return np.any(values, axis=axis)


def pad(values: Array, rows: tuple[int, int], columns: tuple[int, int], value: int) -> Array:
    """[H, W] with more rows and columns of `value`."""
    return np.pad(values, (rows, columns), constant_values=value)


def largest_within(values: Array, height: int, width: int) -> Array:
    """The largest value, all at least 0, within a window around each place; what lies outside is ignored."""
    rows, columns = values.shape
    is_narrow = values.max(initial=0) <= np.iinfo(np.uint8).max  # then it takes a quarter of the time
    padded = np.zeros((rows + height // 2 * 2, columns + width // 2 * 2), np.uint8 if is_narrow else values.dtype)
    padded[height // 2 : height // 2 + rows, width // 2 : width // 2 + columns] = values
    return _largest_of_rows(_largest_of_rows(padded, height).T, width).T.astype(values.dtype, order="C")


def _largest_of_rows(values: Array, count: int) -> Array:
    """The largest values of each `count` rows that follow each other, by doubling."""
    done = 1
    while done < count:
        step = min(done, count - done)
        values = np.maximum(values[:-step], values[step:])
        done += step
    return values


def take(values: Array, indices: Array) -> Array:
    return np.take(values, indices, axis=0)


def places(mask: Array) -> Array:
    """The indices, [K], of the true elements of a flat mask."""
    return np.flatnonzero(mask).astype(np.int32)


def sums_by(groups: Array, values: Array, count: int) -> Array:
    """The sum of the values of each group, [count]."""
    return np.bincount(groups, values, count).astype(np.int32)


def counts(values: Array, mask: Array, count: int) -> Array:
    """How often each of 0 … count - 1 is among the masked values, [count]."""
    return np.bincount(values[mask], minlength=count).astype(np.int32)


def largest_by(groups: Array, values: Array, count: int) -> Array:
    """The largest of the values, all at least 0, of each group, [count]; 0 for an empty one."""
    result = np.zeros(count, np.int32)
    np.maximum.at(result, groups, values)
    return result


def components(mask: Array) -> tuple[Array, Array]:
    """The parts of a mask that hang together, also by corners, and their count.

    int32 [H, W]: 0 outside the mask; within it the number of the part, from 1, in the order of their last pixels.
    """
    labels, count = label(mask, np.ones((3, 3), bool))
    last = np.zeros(count + 1, np.int64)
    last[labels.ravel()] = np.arange(labels.size)  # of equal labels, the last one stays
    numbers = np.zeros(count + 1, np.int32)
    numbers[1 + np.argsort(last[1:])] = np.arange(1, count + 1)
    return numbers[labels], count


def cond(condition: Array, if_true: Callable[[], Array], if_false: Callable[[], Array]) -> Array:
    return if_true() if condition else if_false()


def exp(values: Array) -> Array:
    return np.exp(values)


def right_shift(values: Array, bits: int) -> Array:
    return np.right_shift(values, bits)


def ones_like(values: Array) -> Array:
    return np.ones_like(values)


def rounded(values: Array) -> Array:
    return np.rint(values)


def loop(condition: Callable[..., Array], body: Callable[..., tuple], state: tuple) -> tuple:
    """The state after `body` as long as `condition` holds."""
    while condition(*state):
        state = body(*state)
    return state
