"""The examples of a split, with random access.

All records of a dataset have the same length, so any of them can be read directly. Pixels stay uint8.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from common.dataset import records
from common.dataset.manifest import Manifest, Shard
from common.dataset.schema import Batch, Schema
from common.errors import InputError
from trainer.data.cache import MovingWindow

_EXAMPLES_EXPECTED = 100_000


@dataclass(frozen=True)
class Examples:
    """A split on disk, or its first examples; some of them may be left out."""

    shards: Sequence[np.ndarray]
    """Memory-mapped records uint8 [n, record bytes]: only what is used is read."""
    all_shard_sizes: tuple[int, ...]
    """The number of examples in each shard."""
    schema: Schema
    num_examples: int
    left_out: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    """The numbers in the split, int64 [M], of the examples that are left out."""

    def without(self, numbers: np.ndarray) -> "Examples":
        """The examples but for those with these numbers in the split."""
        left_out = np.union1d(self.left_out, numbers)
        return replace(self, num_examples=len(self.left_out) + self.num_examples - len(left_out), left_out=left_out)

    @cached_property
    def numbers(self) -> np.ndarray:
        """The number in the split of each example, int64 [N]."""
        return np.delete(np.arange(self.num_examples + len(self.left_out)), self.left_out)

    @property
    def shard_sizes(self) -> tuple[int, ...]:
        """The number of examples in each shard; `num_examples` alone, if only the first ones are used."""
        return self.all_shard_sizes if sum(self.all_shard_sizes) == self.num_examples else (self.num_examples,)

    @property
    def size_bytes(self) -> int:
        """The size of the examples in memory."""
        return self.num_examples * self.schema.example_bytes

    def take(self, indices: np.ndarray) -> Batch:
        """The examples at `indices`, in that order."""
        if len(self.left_out):
            indices = self.numbers[indices]
        block = np.empty((len(indices), records.record_bytes(self.schema)), np.uint8)
        ends, shard_of = np.cumsum(self.all_shard_sizes), self._shards_of(indices)
        for number in np.unique(shard_of):
            rows = np.flatnonzero(shard_of == number)
            shard = self.shards[number]
            block[rows] = shard[indices[rows] - (ends[number] - len(shard))]
        return {name: np.ascontiguousarray(values) for name, values in records.decode(block, self.schema).items()}

    def values(self, feature: str) -> np.ndarray:
        """One feature of all examples, [N, *shape], by reading no more of the records than they need."""
        parts = (records.decode(shard, self.schema)[feature] for shard in self.shards)
        return np.concatenate([np.array(part) for part in parts])[self.numbers]

    @property
    def is_streamed(self) -> bool:
        """Whether shards are fetched from a bucket on demand, so that not all of them are on this machine."""
        return isinstance(self.shards, MovingWindow)

    @property
    def has_known_widths(self) -> bool:
        """Whether the examples have a width that can be known beforehand, since all of them are on this machine."""
        return self.schema.has_width and not self.is_streamed

    def expect(self, order: Callable[[int, int], np.ndarray], position: int) -> None:
        """Starts to fetch the shards that `order` reaches after `position`, if shards are fetched on demand."""
        if self.is_streamed:
            ahead = order(position, position + min(_EXAMPLES_EXPECTED, self.num_examples))
            self.shards.expect(np.unique(self._shards_of(ahead)).tolist())

    def _shards_of(self, indices: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.cumsum(self.all_shard_sizes), indices, side="right")


def open_split(folder: Path, manifest: Manifest, split: str, max_examples: int | None = None) -> Examples:
    """Opens a split, in the order of its shards. Raises `InputError` if a shard has the wrong size."""
    shards = [open_shard(folder / shard.name, shard, manifest.schema) for shard in manifest.splits[split].shards]
    return open_examples(shards, manifest, split, max_examples)


def open_examples(
    shards: Sequence[np.ndarray], manifest: Manifest, split: str, max_examples: int | None = None
) -> Examples:
    """The examples of a split, from shards that are open already or that open on demand."""
    split_info = manifest.splits[split]
    sizes = tuple(shard.num_examples for shard in split_info.shards)
    num_examples = min(split_info.num_examples, max_examples or split_info.num_examples)
    return Examples(shards, sizes, manifest.schema, num_examples)


def open_shard(path: Path, shard: Shard, schema: Schema) -> np.ndarray:
    """The records of a shard, memory-mapped, uint8 [n, record bytes]."""
    length = records.record_bytes(schema)
    if shard.size_bytes != shard.num_examples * length:
        raise InputError(f"{path}: its records are not {length} bytes long; run preprocess again")
    if not shard.num_examples:  # an empty file cannot be mapped
        return np.empty((0, length), np.uint8)
    return np.memmap(path, np.uint8, "r", shape=(shard.num_examples, length))
