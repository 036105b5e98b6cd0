"""The order of the training examples: a pure function of seed and epoch.

So training can resume at any step, and each worker reads only its own rows of each batch.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np


def make_order(shard_sizes: tuple[int, ...], shuffle_window: int, seed: int) -> Callable[[int, int], np.ndarray]:
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
