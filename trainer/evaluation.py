"""Runs a model over a split and computes its figures, each example counted exactly once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

GLOBAL_BATCH_SIZE = 1024

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
    probabilities: Callable[[tf.Tensor], tf.Tensor], strategy: tf.distribute.Strategy
) -> Callable[[tf.data.Dataset], tuple[np.ndarray, np.ndarray]]:
    """A function from a split's `evaluation_batches` to its labels int64 [N] and class probabilities float32 [N, C].

    `probabilities` maps pixels float32 [B, 28, 28, 1] to [B, C]; it is traced once, however often the result is called.
    """

    @tf.function
    def run(images: tf.Tensor) -> tf.Tensor:
        return strategy.run(lambda pixels: probabilities(tf.cast(pixels, tf.float32)), (images,))

    def whole(distributed: tf.Tensor) -> np.ndarray:
        return np.concatenate([part.numpy() for part in strategy.experimental_local_results(distributed)])

    def predict(batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
        all_labels, all_probabilities = [], []
        for images, labels, is_example in strategy.experimental_distribute_dataset(batches):
            keep = whole(is_example)
            all_labels.append(whole(labels)[keep])
            all_probabilities.append(whole(run(images))[keep])
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
