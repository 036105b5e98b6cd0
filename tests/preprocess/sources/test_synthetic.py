"""The embedded dataset: drawn, repeatable, and in the layout of the published files."""

import gzip

import numpy as np

from common.dataset import manifest
from preprocess.catalogue import find
from preprocess.sources import synthetic


def test_the_same_seed_draws_the_same_with_any_number_of_workers(monkeypatch):
    monkeypatch.setattr(synthetic, "_CHARACTERS_PER_TASK", 50)
    dataset = find("synthetic/letters")
    images, labels = synthetic.draw_split(dataset, "train", 10, seed=3, workers=1)
    again, labels_again = synthetic.draw_split(dataset, "train", 10, seed=3, workers=2)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    other, _ = synthetic.draw_split(dataset, "train", 10, seed=4, workers=1)
    assert not np.array_equal(images, other)


def test_the_drawn_dataset_stays_what_it_was(synthetic_digits):
    # As commit 0653fc2 drew and wrote it.
    fingerprint = "df7e3e9e9dad20efa6f1b0c0e4943b2229c8b02e37e3a416a73fc4d524345e95"
    loaded = manifest.read(synthetic_digits)
    manifest.check_shards(synthetic_digits, loaded)
    assert loaded.data_fingerprint == fingerprint


def test_train_and_test_are_drawn_apart():
    dataset = find("synthetic/digits")
    train, _ = synthetic.draw_split(dataset, "train", 30, seed=0, workers=1)
    test, _ = synthetic.draw_split(dataset, "test", 30, seed=0, workers=1)
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}


def test_every_class_is_drawn_equally_often_and_no_two_images_are_alike():
    images, labels = synthetic.draw_split(find("synthetic/byclass"), "train", 5, seed=0, workers=1)
    assert np.bincount(labels).tolist() == [5] * 62
    assert len({image.tobytes() for image in images}) == len(images)


def test_images_are_like_the_published_ones():
    images, _ = synthetic.draw_split(find("synthetic/byclass"), "train", 5, seed=0, workers=1)
    assert (images.min(axis=(1, 2)) == 0).all()
    assert (images.max(axis=(1, 2)) == 255).all()
    assert 0.1 < images.mean() / 255 < 0.3


def test_files_are_written_once_and_are_the_same_again(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "EXAMPLES_PER_CLASS", {"train": 3, "test": 2})
    dataset = find("synthetic/letters")
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        synthetic.write_source(dataset, folder, seed=0)
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == [
        "emnist-letters-mapping.txt",
        "emnist-letters-test-images-idx3-ubyte.gz",
        "emnist-letters-test-labels-idx1-ubyte.gz",
        "emnist-letters-train-images-idx3-ubyte.gz",
        "emnist-letters-train-labels-idx1-ubyte.gz",
    ]
    assert [(folders[0] / name).read_bytes() for name in names] == [(folders[1] / name).read_bytes() for name in names]
    labels = np.frombuffer(gzip.decompress((folders[0] / names[4]).read_bytes())[8:], np.uint8)
    assert (labels.min(), labels.max()) == (1, 26)

    before = (folders[0] / names[1]).stat().st_mtime_ns
    synthetic.write_source(dataset, folders[0], seed=0)
    assert (folders[0] / names[1]).stat().st_mtime_ns == before
