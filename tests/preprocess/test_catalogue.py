"""The catalogue, checked against EMNIST's paper and the published files."""

import gzip

import numpy as np
import pytest

from common import storage
from common.errors import InputError
from preprocess import catalogue
from preprocess.sources import mapping

CLASS_STRINGS = {
    "emnist/byclass": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    "emnist/bymerge": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt",
    "emnist/balanced": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt",
    "emnist/letters": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "emnist/digits": "0123456789",
    "emnist/mnist": "0123456789",
    "mnist/original": "0123456789",
}


@pytest.mark.parametrize(("name", "characters"), CLASS_STRINGS.items())
def test_classes_stand_in_label_order(name, characters):
    assert "".join(catalogue.find(name).class_names) == characters


def test_only_original_mnist_is_upright_in_its_files():
    assert not catalogue.find("mnist/original").transposed
    assert all(catalogue.find(name).transposed for name in CLASS_STRINGS if name.startswith("emnist/"))


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown dataset 'emnist/byclas'; known: emnist/byclass, .*synthetic/mnist"):
        catalogue.find("emnist/byclas")


def test_every_idx_file_has_an_official_checksum():
    for name in CLASS_STRINGS:
        dataset = catalogue.find(name)
        if name.startswith("emnist/"):
            for split in ("train", "test"):
                assert len(catalogue.official_sha256()[dataset.images_file(split)]) == 64
                assert len(catalogue.official_sha256()[dataset.labels_file(split)]) == 64


@pytest.mark.parametrize("name", [name for name in CLASS_STRINGS if name.startswith("emnist/")])
@pytest.mark.parametrize("split", ["train", "test"])
def test_counts_and_labels_are_those_of_the_official_files(real_data, name, split):
    dataset = catalogue.find(name)
    path = real_data / "official-labels" / dataset.labels_file(split)
    labels = np.frombuffer(gzip.decompress(path.read_bytes())[8:], np.uint8)
    assert len(labels) == dataset.official_examples[split]
    assert labels.min() == dataset.first_label
    assert labels.max() == dataset.first_label + len(dataset.classes) - 1
    assert storage.sha256_of(path) == catalogue.official_sha256()[path.name]


@pytest.mark.parametrize("name", [name for name in CLASS_STRINGS if name.startswith("emnist/")])
def test_class_names_are_those_of_the_published_mapping(real_data, name):
    dataset = catalogue.find(name)
    file = real_data / name.replace("/", "-") / dataset.mapping_file
    assert mapping.read(str(file)) == (dataset.class_names, dataset.first_label)
