"""Hashes of examples: stable, without collisions, and evenly divided among splits and shards."""

import numpy as np

from common.dataset import hashing
from common.dataset.schema import IMAGE, characters, lines


def hashes(seed: int, purpose: str, namespace: str, start: int, stop: int) -> np.ndarray:
    return hashing.hashes(seed, purpose, namespace, np.arange(start, stop, dtype=np.uint64))


def test_hashes_stay_what_they_were():
    # Other values would move examples between the splits of everyone's datasets.
    expected = [0x334FFBC8D8531448, 0x173B4BBE766AD8D2, 0x47CB32CDC3236D1A]
    assert hashes(0, "order", "emnist/byclass/train", 0, 3).tolist() == expected


def test_a_range_needs_no_other_range():
    whole = hashes(1, "order", "emnist/letters/test", 0, 1000)
    np.testing.assert_array_equal(hashes(1, "order", "emnist/letters/test", 400, 700), whole[400:700])


def test_no_two_examples_of_a_file_collide():
    order_hashes = hashes(0, "order", "emnist/byclass/train", 0, 700_000)
    assert len(np.unique(order_hashes)) == 700_000


def test_seed_purpose_source_and_split_each_matter():
    reference = hashes(0, "order", "a/b/train", 0, 50)
    others = [(1, "order", "a/b/train"), (0, "validation", "a/b/train"), (0, "order", "a/c/train")]
    for other in [*others, (0, "order", "a/b/test")]:
        assert not (hashes(*other, 0, 50) == reference).any()


def test_a_fraction_selects_about_that_share():
    validation_hashes = hashes(0, "validation", "emnist/byclass/train", 0, 100_000)
    assert abs(hashing.selected(validation_hashes, 0.1).mean() - 0.1) < 0.005
    assert not hashing.selected(validation_hashes, 0.0).any()
    assert hashing.selected(validation_hashes, 1.0).all()


def test_shards_are_about_equal_and_in_the_order_of_hashes():
    sorted_hashes = np.sort(hashes(0, "order", "emnist/byclass/train", 0, 100_000))
    shards = hashing.shards(sorted_hashes, 16)
    assert (np.diff(shards.astype(int)) >= 0).all()
    counts = np.bincount(shards.astype(int))
    assert len(counts) == 16
    assert counts.min() > 5900
    assert counts.max() < 6600


def test_contents_stay_what_they_were_and_may_have_any_size():
    random = np.random.default_rng(0)
    # Other values would lose the examples that gates and exclude lists know.
    expected = [0x7B0C23F2B7305A39, 0x4FCE8DCD38A4D378, 0x94C56B83A3093DC5]
    assert hashing.pixel_hashes(random.integers(0, 256, (3, 28, 28), np.uint8)).tolist() == expected
    for shape in ((15, 15), (5, 7), (1, 1), (48, 1440)):
        images = random.integers(0, 256, (50, *shape), np.uint8)
        changed = images.copy()
        changed[:, -1, -1] += 1
        hashes = np.concatenate([hashing.pixel_hashes(images), hashing.pixel_hashes(changed)])
        assert len(np.unique(hashes)) == len(np.unique(np.concatenate([images, changed]), axis=0)), shape


def test_equal_pixels_have_equal_contents_and_different_ones_do_not():
    images = np.random.default_rng(0).integers(0, 2, (2000, 784), dtype=np.uint8) * 128
    pixel_hashes = hashing.pixel_hashes(images)
    np.testing.assert_array_equal(hashing.pixel_hashes(images[::-1].reshape(-1, 28, 28)), pixel_hashes[::-1])
    assert len(np.unique(pixel_hashes)) == len(np.unique(images, axis=0)) == 2000
    # One bit, wherever it is; and two high bits at once, which a sum alone would not see.
    single = np.zeros((785, 784), np.uint8)
    single[np.arange(784), np.arange(784)] = 128
    pairs = single[7:784:8][:, None] | single[7:784:8][None]
    distinct = np.unique(np.concatenate([single, pairs.reshape(-1, 784)]), axis=0)
    assert len(np.unique(hashing.pixel_hashes(distinct))) == len(distinct)


def on_canvas(image: np.ndarray, width: int) -> dict[str, np.ndarray]:
    return {IMAGE: np.pad(image, ((0, 0), (0, 0), (0, width - image.shape[2]), (0, 0)))}


def test_a_wider_canvas_changes_no_hash_of_a_line():
    """So that a picture is known again in a dataset with longer lines."""
    image = np.random.default_rng(0).integers(0, 256, (20, 48, 157, 1), np.uint8)
    expected = hashing.content_hashes(on_canvas(image, 160), lines(("a",), (), (48, 160), 5, 1))
    for width in (157, 192, 1536):
        found = hashing.content_hashes(on_canvas(image, width), lines(("a",), (), (48, width), 5, 1))
        np.testing.assert_array_equal(found, expected)
    moved = np.roll(on_canvas(image, 160)[IMAGE], 1, axis=2)
    assert not (hashing.content_hashes({IMAGE: moved}, lines(("a",), (), (48, 160), 5, 1)) == expected).any()


def test_characters_are_hashed_as_ever():
    image = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), np.uint8)
    hashes = hashing.content_hashes({IMAGE: image}, characters(("a",)))
    np.testing.assert_array_equal(hashes, hashing.pixel_hashes(image))
