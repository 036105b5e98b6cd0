"""Which examples each step sees, and how they reach the devices. Pixels stay uint8 until the step.

All records of a dataset are equally long, so any example can be read by its number. The order of an epoch depends on
the seed and the epoch only: training can start at any step at once, and each worker reads its own rows of each batch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import tensorflow as tf

from common.dataset import manifest as manifests
from common.dataset import records
from common.dataset.manifest import Manifest, Shard
from common.dataset.schema import Batch, Schema
from common.errors import InputError
from common.storage import to_path
from trainer import config as configs
from trainer.data import cache
from trainer.data.cache import MovingWindow
from trainer.distributed.devices import LocalReplica
from trainer.runs.run_folder import Results

_CALLS_READ_AHEAD = 2
_EXAMPLES_EXPECTED = 100_000


@dataclass(frozen=True)
class Examples:
    """A split on disk, or the first examples of it."""

    shards: Sequence[np.ndarray]
    """Records uint8 [n, record bytes], mapped into memory: only what is used is read."""
    all_shard_sizes: tuple[int, ...]
    """Examples in each of them."""
    schema: Schema
    num_examples: int

    @property
    def shard_sizes(self) -> tuple[int, ...]:
        """Examples in each shard, or in all, where they are cut off."""
        return self.all_shard_sizes if sum(self.all_shard_sizes) == self.num_examples else (self.num_examples,)

    @property
    def size_bytes(self) -> int:
        """In memory."""
        return self.num_examples * self.schema.example_bytes

    def take(self, indices: np.ndarray) -> Batch:
        """The examples numbered `indices`, in that order."""
        block = np.empty((len(indices), records.record_bytes(self.schema)), np.uint8)
        ends, shard_of = np.cumsum(self.all_shard_sizes), self._shards_of(indices)
        for number in np.unique(shard_of):
            rows = np.flatnonzero(shard_of == number)
            shard = self.shards[number]
            block[rows] = shard[indices[rows] - (ends[number] - len(shard))]
        return {name: np.ascontiguousarray(values) for name, values in records.decode(block, self.schema).items()}

    def expect(self, order: Callable[[int, int], np.ndarray], position: int) -> None:
        """Begins to fetch what the training comes to after `position`, where shards are not all at hand."""
        if isinstance(self.shards, MovingWindow):
            ahead = order(position, position + min(_EXAMPLES_EXPECTED, self.num_examples))
            self.shards.expect(np.unique(self._shards_of(ahead)).tolist())

    def _shards_of(self, indices: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.cumsum(self.all_shard_sizes), indices, side="right")


def open_split(folder: Path, manifest: Manifest, split: str, max_examples: int | None = None) -> Examples:
    """The examples of a split in the order of its shards. `InputError` if a shard is not as preprocess makes them."""
    shards = [open_shard(folder / shard.name, shard, manifest.schema) for shard in manifest.splits[split].shards]
    return open_examples(shards, manifest, split, max_examples)


def open_test_split(results: Results) -> Examples:
    """What a run was evaluated on. Raises `InputError` if it is no longer where it was, or is another."""
    folder, config = to_path(results.config.data), results.config
    manifest = manifests.read(folder)
    if manifest.data_fingerprint != results.facts["data_fingerprint"]:
        raise InputError(f"{folder}: holds other data than the run was made with")
    local = cache.stage(folder, manifest, ("test",), Path(config.cache_dir), 1e9 * config.cache_limit_gb)
    return open_split(local, manifest, "test", configs.max_examples(config))


def open_examples(
    shards: Sequence[np.ndarray], manifest: Manifest, split: str, max_examples: int | None = None
) -> Examples:
    """The examples of a split whose shards are opened already, or when they are needed."""
    found = manifest.splits[split]
    sizes = tuple(shard.num_examples for shard in found.shards)
    num_examples = min(found.num_examples, max_examples or found.num_examples)
    return Examples(shards, sizes, manifest.schema, num_examples)


def open_shard(path: Path, shard: Shard, schema: Schema) -> np.ndarray:
    """Its records, uint8 [n, record bytes]."""
    length = records.record_bytes(schema)
    if shard.size_bytes != shard.num_examples * length:
        raise InputError(f"{path}: its records are not {length} bytes long; run preprocess again")
    if not shard.num_examples:  # an empty file cannot be mapped
        return np.empty((0, length), np.uint8)
    return np.memmap(path, np.uint8, "r", shape=(shard.num_examples, length))


def make_order(shard_sizes: tuple[int, ...], window: int, seed: int) -> Callable[[int, int], np.ndarray]:
    """A function that gives the numbers of the examples from one position of the training up to another, int64.

    Each epoch is a permutation of its own of all examples. With a `window` smaller than that, shards follow each other
    in random order and only so many consecutive examples are shuffled with each other, so that shards are read one
    after the other. That is as good as it sounds, because preprocessing has put examples into shards at random.
    """
    num_examples = sum(shard_sizes)
    starts = np.cumsum([0, *shard_sizes])

    @lru_cache(maxsize=2)
    def order_of(epoch: int) -> np.ndarray:
        random = np.random.default_rng([seed, epoch])
        if window >= num_examples:
            return random.permutation(num_examples)
        shards = [np.arange(start, stop) for start, stop in pairwise(starts)]
        order = np.concatenate([shards[number] for number in random.permutation(len(shards))])
        for start in range(0, num_examples, window):
            random.shuffle(order[start : start + window])
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


DistributedBatch = dict[str, tf.distribute.DistributedValues]
"""A batch for each local replica: the arrays of a `Batch`, by their names."""


@dataclass(frozen=True)
class Call:
    """What one call of the training function takes: some steps from `first_step` on.

    `rows[i]`, int32 [steps, B], numbers in `examples` a replica's part of the batch of the i-th of these steps; rows
    beyond `count` are not used. Everything has a value for each local replica.
    """

    first_step: int
    count: int
    examples: DistributedBatch
    rows: tf.distribute.DistributedValues


def in_memory(
    examples: Examples,
    order: Callable[[int, int], np.ndarray],
    calls: Iterable[tuple[int, int]],
    global_batch_size: int,
    steps_per_call: int,
    replicas: list[LocalReplica],
) -> Iterator[Call]:
    """The calls that `calls` names by first step and count, each replica holding all examples on its device."""
    held = _distribute_batches(replicas, [examples.take(np.arange(examples.num_examples))] * len(replicas))
    batch = global_batch_size // replicas[0].num_replicas

    for first, count in calls:
        numbers = order(first * global_batch_size, (first + count) * global_batch_size)
        rows = np.zeros((steps_per_call, global_batch_size), np.int32)
        rows[:count] = numbers.reshape(count, global_batch_size)
        own = [rows[:, replica.id * batch : (replica.id + 1) * batch] for replica in replicas]
        yield Call(first, count, held, _distribute(replicas, own))


def streamed(
    examples: Examples,
    order: Callable[[int, int], np.ndarray],
    calls: Iterable[tuple[int, int]],
    global_batch_size: int,
    steps_per_call: int,
    replicas: list[LocalReplica],
) -> Iterator[Call]:
    """The same calls as `in_memory`, but only the examples of a few at a time are held; they are read ahead."""
    batch = global_batch_size // replicas[0].num_replicas
    first_row, last_row = replicas[0].id * batch, (replicas[-1].id + 1) * batch
    features = examples.schema.features

    def read(first: np.ndarray, count: np.ndarray) -> list[np.ndarray]:
        numbers = order(int(first) * global_batch_size, int(first + count) * global_batch_size)
        examples.expect(order, int(first + count) * global_batch_size)
        own = numbers.reshape(int(count), global_batch_size)[:, first_row:last_row]
        # From [steps, replicas · B] to [replicas, steps · B].
        own = own.reshape(int(count), len(replicas), batch).swapaxes(0, 1).reshape(len(replicas), -1)
        block = examples.schema.empty(len(replicas) * steps_per_call * batch)
        for name, values in examples.take(own.ravel()).items():
            by_replica = block[name].reshape(len(replicas), -1, *values.shape[1:])
            by_replica[:, : own.shape[1]] = values.reshape(*own.shape, *values.shape[1:])
            block[name] = by_replica
        return [block[feature.name] for feature in features]

    def read_in_graph(first: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, ...]:
        dtypes = [tf.as_dtype(feature.dtype) for feature in features]
        return first, count, *tf.numpy_function(read, [first, count], dtypes, stateful=False)

    signature = (tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int64))
    chunks = tf.data.Dataset.from_generator(lambda: iter(calls), output_signature=signature)
    chunks = chunks.map(read_in_graph, num_parallel_calls=_CALLS_READ_AHEAD, deterministic=True)
    all_rows = np.arange(steps_per_call * batch, dtype=np.int32).reshape(steps_per_call, batch)
    rows = _distribute(replicas, [all_rows] * len(replicas))
    for first, count, *block in chunks.prefetch(_CALLS_READ_AHEAD):
        held = {feature.name: _distribute(replicas, part) for feature, part in zip(features, block, strict=True)}
        yield Call(int(first), int(count), held, rows)


def evaluation_batches(
    examples: Examples, global_batch_size: int, replicas: list[LocalReplica]
) -> Iterator[tuple[DistributedBatch, tf.distribute.DistributedValues]]:
    """Each example once, in order: a batch and `is_example` bool [B].

    The last batch is filled up with rows that are no examples, so that it too can be divided among replicas.
    """
    batch = global_batch_size // replicas[0].num_replicas
    for start in range(0, examples.num_examples, global_batch_size):
        numbers = [np.arange(batch) + start + replica.id * batch for replica in replicas]
        is_example = [own < examples.num_examples for own in numbers]
        taken = [examples.take(np.where(known, own, 0)) for own, known in zip(numbers, is_example, strict=True)]
        yield _distribute_batches(replicas, taken), _distribute(replicas, is_example)


def _distribute_batches(replicas: list[LocalReplica], batches: Sequence[Batch]) -> DistributedBatch:
    return {name: _distribute(replicas, [batch[name] for batch in batches]) for name in batches[0]}


def _distribute(
    replicas: list[LocalReplica], values: Sequence[np.ndarray] | tf.Tensor
) -> tf.distribute.DistributedValues:
    """One of `values` for each local replica, on its device."""
    places = iter(range(len(replicas)))

    def on_device(_: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        place = next(places)
        with tf.device(replicas[place].device):
            return tf.identity(values[place])

    return replicas[0].strategy.experimental_distribute_values_from_function(on_device)
