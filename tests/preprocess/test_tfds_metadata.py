"""TFDS reads a dataset folder by itself, and reads what our own decoder reads."""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from tests.preprocess.test_pipeline import read_split


def test_tfds_reads_the_folder(synthetic_digits: Path):
    builder = tfds.builder_from_directory(synthetic_digits)
    assert builder.info.features["label"].names == list("0123456789")
    assert builder.info.supervised_keys == ("image", "label")
    assert list(builder.info.splits) == ["train", "validation", "test"]
    for split in builder.info.splits:
        config = tfds.ReadConfig(interleave_cycle_length=1)
        found = list(tfds.as_numpy(builder.as_dataset(split=split, read_config=config, as_supervised=True)))
        images, labels = read_split(synthetic_digits, split)
        assert builder.info.splits[split].num_examples == len(labels)
        np.testing.assert_array_equal([image[..., 0] for image, _ in found], images)
        np.testing.assert_array_equal([label for _, label in found], labels)
