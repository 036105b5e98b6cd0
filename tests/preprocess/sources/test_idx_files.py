"""Source files are checked before work begins; files that do not fit together are refused by name."""

import gzip

import numpy as np
import pytest

from common.errors import InputError
from common.formats import idx
from preprocess.catalogue import find
from preprocess.config import PreprocessConfig
from preprocess.sources import idx_files
from preprocess.sources.base import Wanted
from tests.support.sources import write_gzip


def inspect(source, max_examples=None):
    return idx_files.inspect(source.wanted(max_examples_per_split=max_examples))


def test_a_good_folder_is_described(make_source):
    inspected = inspect(make_source("emnist/letters", train=60, test=30))
    assert inspected.schema.vocabulary == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    described = [(split.split, split.namespace, len(split.example_ids())) for split in inspected.splits]
    assert described == [("train", "emnist/letters/train", 60), ("test", "emnist/letters/test", 30)]
    assert len(inspected.files) == 5
    assert not any(file.official for file in inspected.files)


def test_official_files_are_recognised(real_data):
    dataset = find("emnist/mnist")
    folder = str(real_data / "emnist-mnist")
    inspected = idx_files.inspect(Wanted(folder, dataset, PreprocessConfig(dataset.name, (folder,), "unused")))
    official = {file.name for file in inspected.files if file.official}
    assert official == {dataset.images_file("test"), dataset.labels_file("test")}


def test_another_count_than_the_official_one_is_not_bad_input(make_source, caplog):
    with caplog.at_level("INFO", "preprocess"):
        inspect(make_source("emnist/byclass", train=70))
    assert "holds 70 examples; the official file holds 697,932" in caplog.text


def test_the_official_name_may_lack_its_gz(make_source):
    source = make_source()
    for path in list(source.folder.glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert inspect(source).splits[0].num_examples == 600


def test_at_most_so_many_examples_are_taken(make_source):
    assert [split.num_examples for split in inspect(make_source(train=600, test=130), 200).splits] == [200, 130]


def break_images_header(source):
    write_gzip(source.path("images", "train"), idx.write(np.zeros((600, 28, 27), np.uint8)))


def break_dtype(source):
    write_gzip(source.path("images", "train"), idx.write(np.zeros((600, 28, 28), np.int16)))


def swap_images_and_labels(source):
    images, labels = source.path("images", "train"), source.path("labels", "train")
    image_bytes, label_bytes = images.read_bytes(), labels.read_bytes()
    images.write_bytes(label_bytes)
    labels.write_bytes(image_bytes)


def lose_a_label(source):
    write_gzip(source.path("labels", "train"), idx.write(np.zeros(599, np.uint8)))


def give_a_label_outside(source):
    labels = np.zeros(130, np.uint8)
    labels[17] = 62
    write_gzip(source.path("labels", "test"), idx.write(labels))


def truncate_labels(source):
    path = source.path("labels", "train")
    path.write_bytes(path.read_bytes()[:-9])


def empty(source):
    write_gzip(source.path("images", "train"), idx.write(np.zeros((0, 28, 28), np.uint8)))
    write_gzip(source.path("labels", "train"), idx.write(np.zeros(0, np.uint8)))


BAD_SOURCES = {
    "no such file": lambda source: source.path("labels", "test").unlink(),
    "mapping.txt: no such file": lambda source: (source.folder / source.dataset.mapping_file).unlink(),
    "images are uint8": break_images_header,
    "holds >i2|holds int16": break_dtype,
    "images-idx3-ubyte.gz: holds uint8 of shape": swap_images_and_labels,
    "600 images, but .* 599 labels": lose_a_label,
    "label 62 of example 17 is outside the mapping, which runs from 0 to 61": give_a_label_outside,
    "labels-idx1-ubyte.gz: the gzip stream is truncated": truncate_labels,
    "holds no image": empty,
    "is an HTML": lambda source: source.path("images", "train").write_text("<!DOCTYPE html><html></html>"),
    "wrong magic": lambda source: write_gzip(source.path("images", "test"), b"\0\0\x07\x03" + bytes(12)),
    "no such folder or archive": lambda source: source.folder.rename(source.folder.with_name("elsewhere")),
}


@pytest.mark.parametrize("complaint", BAD_SOURCES)
def test_bad_sources_are_refused(make_source, complaint):
    source = make_source()
    BAD_SOURCES[complaint](source)
    with pytest.raises(InputError, match=complaint) as caught:
        inspect(source)
    assert str(source.folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def write_mapping(tmp_path, text: str) -> str:
    (tmp_path / "mapping.txt").write_text(text, newline="")
    return str(tmp_path / "mapping.txt")


def test_a_mapping_gives_names_and_the_first_label(tmp_path):
    assert idx_files.read_mapping(write_mapping(tmp_path, "1 65 97\r\n2 66 98\r\n")) == (("A", "B"), 1)
    assert idx_files.read_mapping(write_mapping(tmp_path, "0 48\n1 65\n")) == (("0", "A"), 0)


@pytest.mark.parametrize(
    "text",
    [
        *("", "0 48\n2 50\n", "3 48\n4 49\n", "0\n", "0 x\n", "0 48\n0 49\n", "0 48\n1 48\n"),
        *("0 99999999999", "\0\xff", "0 10", "0 55296"),
    ],
)
def test_a_mapping_with_gaps_or_repetitions_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="mapping"):
        idx_files.read_mapping(write_mapping(tmp_path, text))
