"""The order in which training sees the examples: it depends on the seed and the epoch only.

So training can start at any step at once, and each worker reads its own rows of each batch.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np


def make_order(shard_sizes: tuple[int, ...], shuffle_window: int, seed: int) -> Callable[[int, int], np.ndarray]:
    """A function that gives the numbers of the examples from one position of the training up to another, int64.

    Each epoch is a permutation of its own of all examples. With a smaller `shuffle_window`, shards follow each other
    in random order and only so many consecutive examples are shuffled with each other, so that shards are read one
    after the other. That is as good as it sounds, because preprocessing has put examples into shards at random.
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
