"""Feeds examples to the devices: for training from memory or streamed, for evaluation in batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from common.dataset.schema import WIDTH, Batch
from common.normalize.line import WIDTH_STEP
from trainer.data.examples import Examples
from trainer.distributed.devices import LocalReplica

_CALLS_READ_AHEAD = 2

DistributedBatch = dict[str, tf.distribute.DistributedValues]
"""A batch for each local replica: the arrays of a `Batch`, by name."""


@dataclass(frozen=True)
class StepBlock:
    """A block of `count` steps, from `first_step` on, and their examples.

    Row i of `rows`, int32 [steps per execution, B], indexes into `examples`: a replica's part of the i-th step's batch.
    Rows beyond `count` are not used. `examples` and `rows` have a value for each local replica.
    """

    first_step: int
    count: int
    examples: DistributedBatch
    rows: tf.distribute.DistributedValues
    widths: np.ndarray | None = None
    """int32 [steps per execution]: the columns of each step's images that are used; None for all."""


@dataclass(frozen=True)
class Feed:
    """The training examples in training order, in blocks of steps."""

    examples: Examples
    order: Callable[[int, int], np.ndarray]
    """The result of `make_order`."""
    global_batch_size: int
    steps_per_execution: int
    replicas: list[LocalReplica]
    example_widths: np.ndarray | None = None
    """int64 [N]: the width of each example; None if images are used as a whole."""

    @property
    def replica_batch_size(self) -> int:
        return self.global_batch_size // self.replicas[0].num_replicas

    def numbers(self, first_step: int, count: int) -> np.ndarray:
        """The example indices of `count` steps from `first_step` on: [count, global batch size]."""
        start, stop = first_step * self.global_batch_size, (first_step + count) * self.global_batch_size
        return self.order(start, stop).reshape(count, self.global_batch_size)

    def widths(self, first_step: int, count: int) -> np.ndarray | None:
        """The `StepBlock.widths` of these steps: that of each global batch's widest image."""
        if self.example_widths is None:
            return None
        widths = np.zeros(self.steps_per_execution, np.int32)
        widths[:count] = batch_width(self.example_widths[self.numbers(first_step, count)])
        return widths

    def in_memory(self, blocks: Iterable[tuple[int, int]]) -> Iterator[StepBlock]:
        """Yields a block for each (first step, count); each replica holds all examples on its device."""
        replicas, batch = self.replicas, self.replica_batch_size
        held = _distribute_batches(
            replicas, [self.examples.take(np.arange(self.examples.num_examples))] * len(replicas)
        )
        for first, count in blocks:
            rows = np.zeros((self.steps_per_execution, self.global_batch_size), np.int32)
            rows[:count] = self.numbers(first, count)
            own = [rows[:, replica.id * batch : (replica.id + 1) * batch] for replica in replicas]
            yield StepBlock(first, count, held, _distribute(replicas, own), self.widths(first, count))

    def streamed(self, blocks: Iterable[tuple[int, int]]) -> Iterator[StepBlock]:
        """Yields the same blocks, but holds the examples of only a few at a time; these are read ahead."""
        replicas, batch, features = self.replicas, self.replica_batch_size, self.examples.schema.features

        def read_in_graph(first: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, ...]:
            dtypes = [tf.as_dtype(feature.dtype) for feature in features]
            return first, count, *tf.numpy_function(self._read, [first, count], dtypes, stateful=False)

        signature = (tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int64))
        chunks = tf.data.Dataset.from_generator(lambda: iter(blocks), output_signature=signature)
        chunks = chunks.map(read_in_graph, num_parallel_calls=_CALLS_READ_AHEAD, deterministic=True)
        all_rows = np.arange(self.steps_per_execution * batch, dtype=np.int32).reshape(self.steps_per_execution, batch)
        rows = _distribute(replicas, [all_rows] * len(replicas))
        for first, count, *block in chunks.prefetch(_CALLS_READ_AHEAD):
            held = {feature.name: _distribute(replicas, part) for feature, part in zip(features, block, strict=True)}
            yield StepBlock(int(first), int(count), held, rows, self.widths(int(first), int(count)))

    def _read(self, first: np.ndarray, count: np.ndarray) -> list[np.ndarray]:
        """Each feature's values for this worker's rows of a block: [replicas, steps per execution · B, *shape]."""
        replicas, batch, schema = self.replicas, self.replica_batch_size, self.examples.schema
        self.examples.expect(self.order, int(first + count) * self.global_batch_size)
        own = self.numbers(int(first), int(count))[:, replicas[0].id * batch : (replicas[-1].id + 1) * batch]
        # From [steps, replicas · B] to [replicas, steps · B].
        own = own.reshape(int(count), len(replicas), batch).swapaxes(0, 1).reshape(len(replicas), -1)
        block = schema.empty(len(replicas) * self.steps_per_execution * batch)
        taken = self.examples.take(own.ravel())
        parts = []
        for feature in schema.features:
            by_replica = block[feature.name].reshape(len(replicas), -1, *feature.shape)
            by_replica[:, : own.shape[1]] = taken[feature.name].reshape(*own.shape, *feature.shape)
            parts.append(by_replica)
        return parts


def batch_width(widths: np.ndarray) -> np.ndarray:
    """The columns to use of the batches of examples with these widths, [..., B]: few different numbers."""
    return -(-widths.max(axis=-1) // WIDTH_STEP) * WIDTH_STEP


@dataclass(frozen=True)
class EvaluationBatch:
    """A batch to evaluate; each part but `width` has a value for each local replica."""

    examples: DistributedBatch
    is_example: tf.distribute.DistributedValues
    """bool [B]; the rows of the last batch that are no examples only make it divisible among replicas."""
    width: int | None
    """The columns of the images that are used; None for all."""


def evaluation_batches(
    examples: Examples, global_batch_size: int, replicas: list[LocalReplica], order: np.ndarray | None = None
) -> Iterator[EvaluationBatch]:
    """Yields each example once, in `order`, int64 [N], or in their own."""
    order = np.arange(examples.num_examples) if order is None else order
    batch = global_batch_size // replicas[0].num_replicas
    widths = examples.values(WIDTH) if examples.has_known_widths else None
    for start in range(0, examples.num_examples, global_batch_size):
        numbers = [np.arange(batch) + start + replica.id * batch for replica in replicas]
        is_example = [own < examples.num_examples for own in numbers]
        taken = [
            examples.take(order[np.where(known, own, start)]) for own, known in zip(numbers, is_example, strict=True)
        ]
        width = None if widths is None else int(batch_width(widths[order[start : start + global_batch_size]]))
        yield EvaluationBatch(_distribute_batches(replicas, taken), _distribute(replicas, is_example), width)


def _distribute_batches(replicas: list[LocalReplica], batches: Sequence[Batch]) -> DistributedBatch:
    return {name: _distribute(replicas, [batch[name] for batch in batches]) for name in batches[0]}


def _distribute(
    replicas: list[LocalReplica], values: Sequence[np.ndarray] | tf.Tensor
) -> tf.distribute.DistributedValues:
    """Places one of `values` on the device of each local replica."""
    places = iter(range(len(replicas)))

    def on_device(_: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        place = next(places)
        with tf.device(replicas[place].device):
            return tf.identity(values[place])

    return replicas[0].strategy.experimental_distribute_values_from_function(on_device)
