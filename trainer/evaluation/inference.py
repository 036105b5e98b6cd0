"""Runs a model over a split, each example exactly once."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from common.dataset.schema import IMAGE, LABEL
from trainer.data import input_pipeline
from trainer.data.input_pipeline import DistributedBatch, Examples
from trainer.distributed import devices

_BATCH_BYTES = 1024 * 784
_MIN_BATCH_SIZE = 16


def make_predict(
    probabilities: Callable[[tf.Tensor], tf.Tensor],
    strategy: tf.distribute.Strategy,
    before_each_batch: Callable[[], None] = lambda: None,
) -> Callable[[Examples], tuple[np.ndarray, np.ndarray]]:
    """A function from a split to its labels int64 [N] and class probabilities float32 [N, C], in order.

    `probabilities` maps pixels float32 [B, H, W, 1] to [B, C]; it is traced once, however often the result is called.
    With several workers, each computes its part and has the whole.
    """
    replicas = devices.local_replicas(strategy)

    def on_replica(batch: dict[str, tf.Tensor], is_example: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # Truth values cannot be gathered.
        return probabilities(tf.cast(batch[IMAGE], tf.float32)), batch[LABEL], tf.cast(is_example, tf.int32)

    @tf.function
    def run(batch: DistributedBatch, is_example: tf.distribute.DistributedValues) -> list[tf.Tensor]:
        return [strategy.gather(part, axis=0) for part in strategy.run(on_replica, (batch, is_example))]

    def predict(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
        batch_size = examples.schema.examples_in(_BATCH_BYTES, _MIN_BATCH_SIZE)
        global_batch_size = math.ceil(batch_size / strategy.num_replicas_in_sync) * strategy.num_replicas_in_sync
        all_labels, all_probabilities = [], []
        for batch, is_example in input_pipeline.evaluation_batches(examples, global_batch_size, replicas):
            before_each_batch()
            found, labels, is_example = (part.numpy() for part in run(batch, is_example))
            all_labels.append(labels[is_example == 1])
            all_probabilities.append(found[is_example == 1])
        return np.concatenate(all_labels), np.concatenate(all_probabilities)

    return predict
