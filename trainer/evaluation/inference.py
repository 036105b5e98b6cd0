"""Runs a model over a split, each example exactly once."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from common.dataset.schema import IMAGE, WIDTH
from trainer.data import feeds
from trainer.data.examples import Examples
from trainer.data.feeds import DistributedBatch
from trainer.distributed import devices
from trainer.tasks.task import Tensors

_BATCH_BYTES = 1024 * 784
_MIN_BATCH_SIZE = 16


def make_predict(
    answer: Callable[[Tensors], Tensors],
    strategy: tf.distribute.Strategy,
    before_each_batch: Callable[[], None] = lambda: None,
) -> Callable[[Examples], dict[str, np.ndarray]]:
    """Returns `predict(examples)`: what `answer` gives for all examples, in order, as arrays [N, …] by name.

    `answer` maps a batch, its images float32 [B, H, W, 1], to tensors [B, …]. It is traced once, however often
    `predict` is called. With several workers, each computes its part and receives the whole.
    """
    replicas = devices.local_replicas(strategy)

    def on_replica(batch: Tensors, is_example: tf.Tensor, width: tf.Tensor | None) -> tuple[Tensors, tf.Tensor]:
        images = batch[IMAGE] if width is None else batch[IMAGE][:, :, :width]
        # Booleans cannot be gathered.
        return answer(batch | {IMAGE: tf.cast(images, tf.float32)}), tf.cast(is_example, tf.int32)

    @tf.function(autograph=False)
    def run(
        batch: DistributedBatch, is_example: tf.distribute.DistributedValues, width: tf.Tensor | None
    ) -> tuple[Tensors, tf.Tensor]:
        answers, known = strategy.run(on_replica, (batch, is_example, width))
        gathered = {name: strategy.gather(part, axis=0) for name, part in sorted(answers.items())}
        return gathered, strategy.gather(known, axis=0)

    def predict(examples: Examples) -> dict[str, np.ndarray]:
        batch_size = examples.schema.examples_in(_BATCH_BYTES, _MIN_BATCH_SIZE)
        global_batch_size = math.ceil(batch_size / strategy.num_replicas_in_sync) * strategy.num_replicas_in_sync
        order = np.arange(examples.num_examples)
        if examples.has_known_widths:  # the widest first: memory then suffices for the rest
            order = np.argsort(-examples.values(WIDTH), kind="stable")
        kept: dict[str, list[np.ndarray]] = {}
        for batch in feeds.evaluation_batches(examples, global_batch_size, replicas, order):
            before_each_batch()
            width = None if batch.width is None else tf.constant(batch.width)
            answers, known = run(batch.examples, batch.is_example, width)
            for name, part in answers.items():
                kept.setdefault(name, []).append(part.numpy()[known.numpy() == 1])
        places = np.argsort(order)
        return {name: concatenated(parts)[places] for name, parts in kept.items()}

    return predict


def concatenated(parts: list[np.ndarray]) -> np.ndarray:
    """The rows of all parts, [N, …]; what varies in length, as answers for each column do, is filled up with zeros."""
    shape = np.max([part.shape[1:] for part in parts], axis=0).astype(int)
    filled = np.zeros((sum(map(len, parts)), *shape), parts[0].dtype)
    start = 0
    for part in parts:
        filled[(slice(start, start + len(part)), *map(slice, part.shape[1:]))] = part
        start += len(part)
    return filled


def best_device() -> tf.distribute.Strategy:
    """The strategy for one GPU if there is one, otherwise for the CPU: enough for evaluation."""
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.OneDeviceStrategy(gpus[0].name if gpus else "/cpu:0")
