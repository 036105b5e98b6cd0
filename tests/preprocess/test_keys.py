"""Example keys decide everything about an example, and nothing else does."""

import numpy as np

from preprocess import keys


def test_hashes_stay_what_they_were():
    # Other values would move examples between the splits of everyone's datasets.
    expected = [0x334FFBC8D8531448, 0x173B4BBE766AD8D2, 0x47CB32CDC3236D1A]
    assert keys.hashes(0, "order", "emnist/byclass", "train", 0, 3).tolist() == expected


def test_a_range_needs_no_other_range():
    whole = keys.hashes(1, "order", "emnist/letters", "test", 0, 1000)
    np.testing.assert_array_equal(keys.hashes(1, "order", "emnist/letters", "test", 400, 700), whole[400:700])


def test_no_two_examples_of_a_file_collide():
    hashes = keys.hashes(0, "order", "emnist/byclass", "train", 0, 700_000)
    assert len(np.unique(hashes)) == 700_000


def test_seed_purpose_source_and_split_each_matter():
    one = keys.hashes(0, "order", "a/b", "train", 0, 50)
    others = [(1, "order", "a/b", "train"), (0, "validation", "a/b", "train"), (0, "order", "a/c", "train")]
    for other in [*others, (0, "order", "a/b", "test")]:
        assert not (keys.hashes(*other, 0, 50) == one).any()


def test_a_fraction_selects_about_that_share():
    hashes = keys.hashes(0, "validation", "emnist/byclass", "train", 0, 100_000)
    assert abs(keys.selected(hashes, 0.1).mean() - 0.1) < 0.005
    assert not keys.selected(hashes, 0.0).any()
    assert keys.selected(hashes, 1.0).all()


def test_shards_are_about_equal_and_in_the_order_of_hashes():
    hashes = np.sort(keys.hashes(0, "order", "emnist/byclass", "train", 0, 100_000))
    shards = keys.shards(hashes, 16)
    assert (np.diff(shards.astype(int)) >= 0).all()
    counts = np.bincount(shards.astype(int))
    assert len(counts) == 16
    assert counts.min() > 5900
    assert counts.max() < 6600
