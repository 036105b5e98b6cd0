"""Reads the shards of a dataset folder with tf.data. Only bytes are handled here: pixels stay uint8 until the graph."""

from pathlib import Path

import tensorflow as tf

from preprocess.manifest import Manifest
from preprocess.records import IMAGE_BYTES, IMAGE_SIDE

_SHARDS_READ_AT_ONCE = 16

_SCHEMA = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}


def training_batches(
    folder: Path, manifest: Manifest, global_batch_size: int, shuffle_buffer_examples: int, seed: int
) -> tf.data.Dataset:
    """Endless batches of the train split: images uint8 [B, 28, 28, 1], labels int64 [B].

    Each epoch has an order of its own, decided by `seed`. Batches run on across the end of an epoch, so all are full
    and each example is seen exactly once an epoch.
    """
    paths = _shard_paths(folder, manifest, "train")
    examples = (
        tf.data.Dataset.from_tensor_slices(paths)
        .shuffle(len(paths), seed=seed)
        .interleave(tf.data.TFRecordDataset, cycle_length=_SHARDS_READ_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE)
        .shuffle(shuffle_buffer_examples, seed=seed)
        .repeat()
    )
    # A batch is parsed at once: ten times as fast as one by one.
    batches = examples.batch(global_batch_size, drop_remainder=True).map(_parse, num_parallel_calls=tf.data.AUTOTUNE)
    return _finish(batches)


def evaluation_batches(folder: Path, manifest: Manifest, split: str, global_batch_size: int) -> tf.data.Dataset:
    """Each example of a split once, in the order of the shards: images, labels and `is_example` bool [B].

    The last batch is filled up with rows that are no examples, so that it too can be divided among replicas.
    """
    paths = _shard_paths(folder, manifest, split)

    def pad(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        count = tf.shape(labels)[0]
        missing = global_batch_size - count
        images = tf.pad(images, [[0, missing], [0, 0], [0, 0], [0, 0]])
        is_example = tf.range(global_batch_size) < count
        labels = tf.pad(labels, [[0, missing]])
        shape = (global_batch_size, IMAGE_SIDE, IMAGE_SIDE, 1)
        return tf.ensure_shape(images, shape), tf.ensure_shape(labels, shape[:1]), is_example

    batches = tf.data.TFRecordDataset(paths).batch(global_batch_size)
    return _finish(batches.map(_parse, num_parallel_calls=tf.data.AUTOTUNE).map(pad))


def _shard_paths(folder: Path, manifest: Manifest, split: str) -> list[str]:
    return [str(folder / shard.name) for shard in manifest.splits[split].shards]


def _parse(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    batch = tf.io.parse_example(serialized, _SCHEMA)
    pixels = tf.io.decode_raw(batch["image"], tf.uint8, fixed_length=IMAGE_BYTES)
    return tf.reshape(pixels, [-1, IMAGE_SIDE, IMAGE_SIDE, 1]), batch["label"]


def _finish(batches: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # One process reads all shards; its batches are divided among its devices.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)
