"""MNIST through TFDS, as the source article reads it; offline, from files placed among TFDS' downloads."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from common.dataset import manifest
from common.errors import InputError
from common.formats import idx
from preprocess import pipeline
from preprocess.config import PreprocessConfig
from tests.support.datasets import as_set, read_split
from tests.support.sources import telling_images

COUNTS = {"train": 3000, "test": 2500}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache folder with TFDS' downloads of an MNIST of fewer examples, of which few are different."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import resource

    for split, count in COUNTS.items():  # it reads so many, whatever the files say
        monkeypatch.setattr(f"tensorflow_datasets.image_classification.mnist._{split.upper()}_EXAMPLES", count)

    downloads = tmp_path / "cache" / "tfds" / "downloads"
    downloads.mkdir(parents=True)
    builder = tfds.builder("mnist", data_dir=tmp_path / "cache" / "tfds")
    for url, info in builder.url_infos.items():
        split = "test" if "t10k" in url else "train"
        count = COUNTS[split]
        array = telling_images(20)[np.arange(count) % 20] if "images" in url else np.arange(count) % 10
        path = downloads / resource.get_dl_fname(url, info.checksum)
        path.write_bytes(gzip.compress(idx.write(array.astype(np.uint8)), 1))
        resource.write_info_file(url=url, path=path, dataset_name="mnist", original_fname=Path(url).name, url_info=info)
    return tmp_path / "cache"


@pytest.mark.tensorflow
def test_mnist_arrives_as_tfds_has_it_and_is_not_transposed_a_second_time(cache, tmp_path):
    config = PreprocessConfig(
        "mnist/original",
        ("tfds:mnist",),
        str(tmp_path / "data"),
        cache_dir=str(cache),
        max_examples_per_split=2000,
    )
    folder = Path(pipeline.run(config))
    assert manifest.read(folder).class_names == tuple("0123456789")
    expected = as_set(telling_images(20), np.arange(20) % 10)
    for split in ("train", "validation", "test"):
        assert as_set(*read_split(folder, split)) <= expected
    assert as_set(*read_split(folder, "train")) == expected
    assert sum(split.num_examples for split in manifest.read(folder).splits.values()) == 4000
    # As commit 0653fc2 wrote it.
    fingerprint = "66968c55fda14ca0562ef0fdef802ad80aae53b4918ecad355237d9a79249d06"
    assert manifest.read(folder).data_fingerprint == fingerprint


@pytest.mark.parametrize(("dataset", "source"), [("emnist/letters", "tfds:emnist"), ("mnist/original", "tfds:kmnist")])
def test_only_what_tfds_reads_right_is_read_through_it(tmp_path, dataset, source):
    config = PreprocessConfig(dataset, (source,), str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(InputError, match="known: --dataset mnist/original --source tfds:mnist"):
        pipeline.run(config)
