"""The order of the training examples: a pure function of seed and epoch.

So training can resume at any step, and each worker reads only its own rows of each batch.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np

_BATCHES_SORTED = 32  # together
_NOISE = 0.1

Order = Callable[[int, int], np.ndarray]
"""From global positions start…stop to the example indices there, int64."""


def make_order(shard_sizes: tuple[int, ...], shuffle_window: int, seed: int) -> Order:
    """Returns `order(start, stop)`: the example indices, int64, at global positions start…stop.

    Each epoch is its own permutation of all examples. If `shuffle_window` is smaller than the dataset, shards are
    visited one after the other, in random order, and shuffled window by window. That loses little, because
    preprocessing already assigned examples to shards at random.
    """
    num_examples = sum(shard_sizes)
    starts = np.cumsum([0, *shard_sizes])

    @lru_cache(maxsize=2)
    def order_of(epoch: int) -> np.ndarray:
        random = np.random.default_rng([seed, epoch])
        if shuffle_window >= num_examples:
            return random.permutation(num_examples)
        shards = [np.arange(start, stop) for start, stop in pairwise(starts)]
        order = np.concatenate([shards[number] for number in random.permutation(len(shards))])
        for start in range(0, num_examples, shuffle_window):
            random.shuffle(order[start : start + shuffle_window])
        return order

    def numbers(start: int, stop: int) -> np.ndarray:
        parts = []
        while start < stop:
            epoch, offset = divmod(start, num_examples)
            part = order_of(epoch)[offset : offset + stop - start]
            parts.append(part)
            start += len(part)
        return np.concatenate(parts)

    return numbers


def by_width(order: Order, widths: np.ndarray, batch_size: int, seed: int) -> Order:
    """The same order, but with examples of similar width, int64 [N], in a batch, so that little of it is padding.

    In windows of a few batches within an epoch, the examples are sorted by width, with some noise; then the batches are
    shuffled. A batch that spans two epochs stays as it is.
    """
    num_examples, in_window = len(widths), _BATCHES_SORTED * batch_size

    @lru_cache(maxsize=2)
    def order_of(epoch: int) -> np.ndarray:
        numbers = order(epoch * num_examples, (epoch + 1) * num_examples).copy()
        random = np.random.default_rng([seed, epoch, 1])
        keys = widths[numbers] * random.uniform(1 - _NOISE, 1 + _NOISE, num_examples)
        first = -epoch * num_examples % batch_size
        end = first + (num_examples - first) // batch_size * batch_size
        for start in range(first, end, in_window):
            window = slice(start, min(start + in_window, end))
            batches = numbers[window][np.argsort(keys[window], kind="stable")].reshape(-1, batch_size)
            numbers[window] = random.permutation(batches).ravel()
        return numbers

    def numbers(start: int, stop: int) -> np.ndarray:
        epochs = range(start // num_examples, math.ceil(stop / num_examples))
        first = epochs[0] * num_examples
        return np.concatenate([order_of(epoch) for epoch in epochs])[start - first : stop - first]

    return numbers
