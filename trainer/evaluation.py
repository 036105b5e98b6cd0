"""Runs a model over a split and computes its figures, each example counted exactly once."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from trainer import devices, input_pipeline
from trainer.input_pipeline import Examples

BATCH_SIZE = 1024

_SMALLEST_PROBABILITY = 1e-7  # keeps the loss finite where float32 has rounded a probability to 0


@dataclass(frozen=True)
class Metrics:
    """The figures of a model on a split."""

    num_examples: int
    accuracy: float
    """The share of examples whose most probable class is the right one, 0 to 1."""
    loss: float
    """Mean cross-entropy in nats."""


def make_predict(
    probabilities: Callable[[tf.Tensor], tf.Tensor],
    strategy: tf.distribute.Strategy,
    before_each_batch: Callable[[], None] = lambda: None,
) -> Callable[[Examples], tuple[np.ndarray, np.ndarray]]:
    """A function from a split to its labels int64 [N] and class probabilities float32 [N, C], in order.

    `probabilities` maps pixels float32 [B, 28, 28, 1] to [B, C]; it is traced once, however often the result is called.
    With several workers, each computes its part and has the whole.
    """
    replicas = devices.local_replicas(strategy)
    global_batch_size = math.ceil(BATCH_SIZE / strategy.num_replicas_in_sync) * strategy.num_replicas_in_sync

    def on_replica(images: tf.Tensor, labels: tf.Tensor, is_example: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # Truth values cannot be gathered.
        return probabilities(tf.cast(images, tf.float32)), labels, tf.cast(is_example, tf.int32)

    @tf.function
    def run(*batch: tf.distribute.DistributedValues) -> list[tf.Tensor]:
        return [strategy.gather(part, axis=0) for part in strategy.run(on_replica, batch)]

    def predict(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
        all_labels, all_probabilities = [], []
        for batch in input_pipeline.evaluation_batches(examples, global_batch_size, replicas):
            before_each_batch()
            found, labels, is_example = (part.numpy() for part in run(*batch))
            all_labels.append(labels[is_example == 1])
            all_probabilities.append(found[is_example == 1])
        return np.concatenate(all_labels), np.concatenate(all_probabilities)

    return predict


def compute_metrics(labels: np.ndarray, probabilities: np.ndarray) -> Metrics:
    """The figures from labels int64 [N] and probabilities float32 [N, C]; summed in float64."""
    of_right_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return Metrics(
        num_examples=len(labels),
        accuracy=float(np.mean(probabilities.argmax(axis=1) == labels)),
        loss=float(-np.mean(np.log(np.maximum(of_right_class, _SMALLEST_PROBABILITY)))),
    )
