"""The input pipeline gives every example exactly once, as it was written."""

from itertools import islice
from pathlib import Path

import numpy as np

from preprocess import manifest
from tests.preprocess.test_pipeline import as_set, read_split
from trainer import input_pipeline


def first_batches(folder: Path, count: int, batch: int = 250, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    batches = input_pipeline.training_batches(folder, manifest.read(folder), batch, 1000, seed)
    taken = list(islice(batches.as_numpy_iterator(), count))
    return np.concatenate([images for images, _ in taken]), np.concatenate([labels for _, labels in taken])


def test_an_epoch_holds_each_training_example_once_and_batches_run_on(synthetic_digits: Path):
    count = manifest.read(synthetic_digits).splits["train"].num_examples
    assert count % 250, "the end of an epoch should fall inside a batch"
    images, labels = first_batches(synthetic_digits, 2 * count // 250)
    assert images.shape[1:] == (28, 28, 1)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
    whole = as_set(*read_split(synthetic_digits, "train"))
    assert as_set(images[:count], labels[:count]) == whole
    assert len(as_set(images[count:], labels[count:])) == len(labels) - count


def test_order_is_decided_by_the_seed_and_differs_between_epochs(synthetic_digits: Path):
    count = manifest.read(synthetic_digits).splits["train"].num_examples
    one, _ = first_batches(synthetic_digits, 2 * count // 250)
    again, _ = first_batches(synthetic_digits, 2 * count // 250)
    other, _ = first_batches(synthetic_digits, 4, seed=1)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one[:1000], other)
    assert not np.array_equal(one[:1000], one[count : count + 1000])


def test_evaluation_gives_each_example_once_in_order_and_marks_what_is_none(synthetic_digits: Path):
    batches = list(
        input_pipeline.evaluation_batches(
            synthetic_digits, manifest.read(synthetic_digits), "test", 300
        ).as_numpy_iterator()
    )
    assert [images.shape for images, _, _ in batches] == [(300, 28, 28, 1)] * 2
    real = [(images[is_example], labels[is_example]) for images, labels, is_example in batches]
    images, labels = read_split(synthetic_digits, "test")
    np.testing.assert_array_equal(np.concatenate([part for part, _ in real])[..., 0], images)
    np.testing.assert_array_equal(np.concatenate([part for _, part in real]), labels)
