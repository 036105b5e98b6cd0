"""TFDS reads a dataset folder without our code, with the same content as our own decoder."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from common.dataset import manifest
from preprocess import pipeline
from preprocess.config import PreprocessConfig
from tests.support.datasets import read_split
from tests.support.forms import FORMS
from tests.support.lines import read_lines

pytestmark = pytest.mark.tensorflow


def test_tfds_reads_the_folder(synthetic_digits: Path):
    check_that_tfds_reads(synthetic_digits)


_THOROUGH = [pytest.param(form, marks=pytest.mark.thorough) for form in FORMS if form != "pictures"]


@pytest.mark.parametrize("form", ["pictures", *_THOROUGH])
def test_tfds_reads_the_folder_whatever_its_source(make_source, tmp_path, form):
    location = FORMS[form](make_source("emnist/digits"))
    check_that_tfds_reads(Path(pipeline.run(PreprocessConfig("emnist/digits", (str(location),), str(tmp_path)))))


def check_that_tfds_reads(folder: Path) -> None:
    builder = tfds.builder_from_directory(folder)
    assert builder.info.features["label"].names == list("0123456789")
    assert builder.info.supervised_keys == ("image", "label")
    assert list(builder.info.splits) == ["train", "validation", "test"]
    for split in builder.info.splits:
        config = tfds.ReadConfig(interleave_cycle_length=1)
        examples = list(tfds.as_numpy(builder.as_dataset(split=split, read_config=config, as_supervised=True)))
        images, labels = read_split(folder, split)
        assert builder.info.splits[split].num_examples == len(labels)
        np.testing.assert_array_equal([image[..., 0] for image, _ in examples], images)
        np.testing.assert_array_equal([label for _, label in examples], labels)


def test_tfds_reads_a_folder_of_lines(small_lines: Path):
    builder = tfds.builder_from_directory(small_lines)
    schema = manifest.read(small_lines).schema
    assert builder.info.supervised_keys == ("image", "text")
    assert builder.info.features.shape == {feature.name: feature.shape for feature in schema.features}
    for split in builder.info.splits:
        config = tfds.ReadConfig(interleave_cycle_length=1)
        examples = list(tfds.as_numpy(builder.as_dataset(split=split, read_config=config)))
        expected = read_lines(small_lines, split)
        assert len(examples) == len(expected["width"])
        for name, values in expected.items():
            np.testing.assert_array_equal([example[name] for example in examples], values)
