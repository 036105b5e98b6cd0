"""Runs a model over a split, each example exactly once."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer import devices, input_pipeline
from trainer.input_pipeline import Examples

BATCH_SIZE = 1024


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
