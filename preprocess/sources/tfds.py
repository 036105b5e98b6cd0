"""MNIST through TensorFlow Datasets, as the source article reads it: `--source tfds:mnist`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.dataset.schema import IMAGE, LABEL, characters
from common.errors import InputError, unknown
from preprocess.sources.base import Block, IndexedSplit, Source, Wanted, describe

PREFIX = "tfds:"

_NAMES = {"mnist/original": "mnist"}
"""The datasets that TFDS reads correctly, with its names (it drops a third of EMNIST's Letters)."""


@dataclass(frozen=True)
class TfdsSplit(IndexedSplit):
    """The first `num_examples` examples of a TFDS split, in the order of its shards. TFDS' MNIST is upright."""

    name: str
    folder: str

    def read(self, block_examples: int) -> Iterator[Block]:
        import tensorflow_datasets as tfds

        builder = tfds.builder(self.name, data_dir=self.folder)
        in_order = tfds.ReadConfig(interleave_cycle_length=1)
        examples = builder.as_dataset(split=self.split, as_supervised=True, read_config=in_order, shuffle_files=False)
        start = 0
        for images, labels in tfds.as_numpy(examples.take(self.num_examples).batch(block_examples)):
            example_ids = np.arange(start, start + len(images), dtype=np.uint64)
            yield Block({IMAGE: images, LABEL: labels}, example_ids)
            start += len(images)


def holds(wanted: Wanted) -> bool:
    return wanted.location.startswith(PREFIX)


def inspect(wanted: Wanted) -> Source:
    """Downloads and prepares the dataset with TFDS, unless it is cached, and describes it.

    Raises `InputError` if `--source` is not TFDS' name of this dataset, or if the download fails.
    """
    dataset, source, limit = wanted.dataset, wanted.location, wanted.config.max_examples_per_split
    if not dataset:
        raise InputError(f"--source {source}: does not hold --dataset {wanted.config.dataset}, only mnist/original")
    name = source.removeprefix(PREFIX)
    if _NAMES.get(dataset.name) != name:
        pairs = [f"--dataset {ours} --source {PREFIX}{theirs}" for ours, theirs in _NAMES.items()]
        raise unknown("combination", f"--dataset {dataset.name} --source {source}", pairs)
    import tensorflow_datasets as tfds

    folder = str(Path(wanted.config.cache_dir).expanduser() / "tfds")
    builder = tfds.builder(name, data_dir=folder)
    try:
        builder.download_and_prepare()
    except (OSError, tfds.download.DownloadError, tfds.core.download.checksums.NonMatchingChecksumError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"--source {source}: TFDS could not download it ({reason}); use the IDX files") from None
    counts = {split: builder.info.splits[split].num_examples for split in ("train", "test")}
    splits = tuple(
        TfdsSplit(split, f"{dataset.name}/{split}", min(count, limit or count), name, folder)
        for split, count in counts.items()
    )
    shards = sorted(Path(builder.data_path).glob("*.tfrecord*"))
    names: Any = builder.info.features["label"].names
    return Source(characters(tuple(names)), splits, tuple(describe(str(shard)) for shard in shards))
