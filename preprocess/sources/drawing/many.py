"""Many lines at once: how many a source draws, and their drawing in processes."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from common.signals import end_with
from preprocess.config import PreprocessConfig

_DEFAULT_LINES = 4000
_TEST_SHARE = 8
_AT_ONCE = 250  # long ranges, since each process begins slowly

T, R = TypeVar("T"), TypeVar("R")


def counts(config: PreprocessConfig) -> dict[str, int]:
    """The lines of each split, an eighth as many for validation and test as for training."""
    lines = config.num_lines or _DEFAULT_LINES
    wanted = {"train": lines, "validation": max(1, lines // _TEST_SHARE), "test": max(1, lines // _TEST_SHARE)}
    return {split: min(count, config.max_examples_per_split or count) for split, count in wanted.items()}


def in_processes(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """The results of a function, which a module defines, for all items, on all processors."""
    workers = min(os.cpu_count() or 1, -(-len(items) // _AT_ONCE))
    if workers <= 1:
        return list(map(function, items))
    with ProcessPoolExecutor(workers, initializer=end_with, initargs=(os.getpid(),)) as pool:
        return list(pool.map(function, items, chunksize=_AT_ONCE))
