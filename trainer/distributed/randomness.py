"""Random numbers that depend only on seed, purpose, step and row in the global batch.

So a step gives the same result on any number of devices, and after any number of interruptions. The numbers come from
Philox, a counter-based generator of which any part can be computed directly (Salmon et al., "Parallel random numbers:
as easy as 1, 2, 3", 2011): seed and purpose are its key, step and row its counter.
"""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import keras
import tensorflow as tf

_PHILOX = 1
_NUMBERS_A_COUNT = 4  # Philox gives four numbers of 32 bits for each value of its counter

_in_use: ContextVar["StepRng"] = ContextVar("rng in use")


@dataclass(frozen=True)
class StepRng:
    """The random numbers of one replica in one step."""

    seed: int
    step: tf.Tensor
    """int64."""
    first_row: tf.Tensor
    """int32: the replica's first row in the global batch."""

    def uniform(self, purpose: str, num_rows: int | tf.Tensor, shape: tuple[int, ...] = ()) -> tf.Tensor:
        """float32 [num_rows, *shape] in 0 ≤ x < 1; independent for each `purpose`."""
        numbers = math.prod(shape)
        counts = math.ceil(numbers / _NUMBERS_A_COUNT)
        key = int.from_bytes(hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()[:8])
        first_count = tf.cast(self.first_row, tf.uint64) * tf.constant(counts, tf.uint64)
        drawn = tf.raw_ops.StatelessRandomUniformV2(
            shape=[num_rows, counts * _NUMBERS_A_COUNT],
            key=tf.constant([key], tf.uint64),
            counter=tf.stack([first_count, tf.cast(self.step, tf.uint64)]),
            alg=_PHILOX,
        )
        return tf.reshape(drawn[:, :numbers], [num_rows, *shape])

    def of_batch(self, purpose: str) -> tf.Tensor:
        """One number, float32 in 0 ≤ x < 1, the same for all replicas."""
        return replace(self, first_row=tf.zeros_like(self.first_row)).uniform(f"{purpose} of the batch", 1)[0]


@contextmanager
def use_rng(rng: StepRng) -> Iterator[None]:
    """Layers called within take their random numbers from `rng`."""
    token = _in_use.set(rng)
    try:
        yield
    finally:
        _in_use.reset(token)


class Dropout(keras.layers.Layer):
    """Keras' `Dropout`, but drawing from the `StepRng` in use; its name is the purpose. For training only."""

    def __init__(self, rate: float, name: str, noise_shape: tuple[int | None, ...] | None = None) -> None:
        """`noise_shape`, as Keras has it: along dimensions of 1, values are dropped together."""
        super().__init__(name=name)
        self._rate, self._noise_shape = rate, noise_shape

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self._rate == 0:
            return inputs
        noise_shape = self._noise_shape or (None,) * len(inputs.shape)
        shape = tuple(of_noise or size for of_noise, size in zip(noise_shape[1:], inputs.shape[1:], strict=True))
        is_kept = _in_use.get().uniform(self.name, tf.shape(inputs)[0], shape) >= self._rate
        return tf.where(is_kept, inputs / (1 - self._rate), tf.zeros_like(inputs))
