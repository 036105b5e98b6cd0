"""Statistics of a split, checked against their definitions."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.dataset import manifest
from common.dataset.manifest import Shard
from common.dataset.schema import IMAGE, lines
from preprocess.describe import statistics
from tests.support.lines import read_lines


def test_sums_are_exact_over_any_division_into_chunks():
    images = np.random.default_rng(0).integers(0, 256, (300, 784), dtype=np.uint8)
    images[3], images[7] = 0, 255
    whole = statistics.sum_pixels(images)
    assert sum(map(statistics.sum_pixels, np.split(images, 3)), statistics.PixelSums()) == whole
    assert whole.pixels == images.sum(dtype=np.int64)
    assert whole.squares == (images.astype(np.int64) ** 2).sum()
    assert whole.foreground_pixels == (images >= 128).sum()
    assert (whole.empty_images, whole.saturated_images) == (1, 1)


def test_a_split_is_described_by_what_people_ask():
    images = np.random.default_rng(1).integers(0, 256, (8, 784), dtype=np.uint8)
    sums = statistics.Sums(statistics.sum_pixels(images), (6, 0, 2))
    split = statistics.describe_split((Shard("s", 8, 1, "0"),), sums, leaked=3, excluded=1)
    assert split.imbalance_ratio == 3.0
    assert split.pixel_mean == pytest.approx(images.mean())
    assert split.pixel_std == pytest.approx(images.std())
    assert split.foreground_fraction == pytest.approx((images >= 128).mean())
    assert split.leaked == 3


def test_the_picture_of_them_has_a_bar_for_each_class_as_high_as_its_count(small_dataset: Path):
    described = manifest.read(small_dataset)
    counts = {"train": (50, 0, 7, 23, 100, 1, 64, 10, 80, 31), "test": (1, 2, 3, 1, 2, 3, 0, 0, 1, 1)}
    splits = {name: replace(described.splits[name], class_histogram=histogram) for name, histogram in counts.items()}
    picture = np.asarray(Image.open(io.BytesIO(statistics.draw(replace(described, splits=splits, warnings=())))))
    is_bar = (picture == picture[len(picture) // 4, picture.shape[1] // 2]).all(axis=2)  # the 100 in the middle
    for panel, histogram in zip(np.split(is_bar, 2), counts.values(), strict=True):
        heights = panel.sum(axis=0)
        starts = np.flatnonzero((heights[1:] > 0) & (heights[:-1] == 0)) + 2
        ends = np.flatnonzero((heights[1:] == 0) & (heights[:-1] > 0))
        assert len(starts) == len(ends) == np.count_nonzero(histogram)
        present = np.array([count for count in histogram if count])
        np.testing.assert_allclose(heights[starts] / heights.max(), present / present.max(), atol=0.01)


def test_warnings_stand_above_the_picture_of_them_and_none_is_cut_off(small_dataset: Path):
    def drawn(*warnings: str) -> np.ndarray:
        picture = Image.open(io.BytesIO(statistics.draw(replace(manifest.read(small_dataset), warnings=warnings))))
        return np.asarray(picture)

    without, one, many = drawn(), drawn("あ"), drawn("あ", "a long one " * 100, "b" * 500)
    for picture in (one, many):
        np.testing.assert_array_equal(picture[len(picture) - len(without) :], without)
    above = many[: len(many) - len(without)]
    is_ink = (above < 128).any(axis=2)
    assert not is_ink[:, -6:].any()
    assert not is_ink[-6:].any()
    lines = np.flatnonzero(np.diff(is_ink.any(axis=1).astype(int)) == 1)
    assert len(lines) > 10
    assert 16 <= len(one) - len(without) < 40


def test_the_picture_of_them_lies_in_the_dataset_folder(small_dataset: Path):
    described = manifest.read(small_dataset)
    assert (small_dataset / "statistics.png").read_bytes() == statistics.draw(described)


def test_of_lines_only_pixels_inside_them_count_and_sums_add_up():
    rng = np.random.default_rng(0)
    schema = lines(("a", "b", "c"), ("x",), (48, 320), 6, 9)
    examples = schema.empty(30)
    for number, width in enumerate([1, 32, 33, 320, *rng.integers(1, 321, 26)]):
        examples[IMAGE][number, :, :width] = rng.integers(0, 256, (48, width, 1))
        examples["width"][number] = width
        examples["text_length"][number] = length = rng.integers(1, 7)
        examples["text"][number, :length] = rng.integers(0, 4, length)
        examples["group"][number] = number % 7
    whole = statistics.sum_up(examples, schema)
    parts = [{name: values[rows] for name, values in examples.items()} for rows in np.split(np.arange(30), 3)]
    assert sum((statistics.sum_up(part, schema) for part in parts), statistics.Sums()) == whole
    inside = np.arange(320) < examples["width"][:, None]
    pixels = examples[IMAGE][..., 0].transpose(0, 2, 1)[inside]
    written = examples["text"][np.arange(6) < examples["text_length"][:, None]]
    split = statistics.describe_split((Shard("s", 30, 1, "0"),), whole, leaked=0, excluded=0)
    assert split.pixel_mean == pytest.approx(pixels.mean())
    assert split.pixel_std == pytest.approx(pixels.std())
    assert split.class_histogram == tuple(np.bincount(written, minlength=4))
    assert split.lengths == tuple(np.bincount(examples["text_length"]))
    assert split.widths == tuple(np.histogram(examples["width"], np.arange(1, 353, 32))[0][: len(split.widths)])
    assert sum(split.widths) == 30
    assert split.num_groups == 7


def test_the_manifest_of_lines_says_what_the_shards_hold(small_lines: Path):
    described = manifest.read(small_lines)
    for name, split in described.splits.items():
        examples = read_lines(small_lines, name)
        assert split.num_examples == sum(split.widths) == sum(split.lengths) == len(examples["width"])
        assert sum(split.class_histogram) == examples["text_length"].sum()
        assert len(split.class_histogram) == len(described.schema.characters)
        assert split.num_groups == len(set(examples["group"].tolist()))
        assert split.pixel_mean == pytest.approx(examples[IMAGE].sum() / (48 * examples["width"].sum()))


def test_the_picture_of_lines_has_three_histograms_for_each_split(small_lines: Path):
    described = manifest.read(small_lines)
    content = statistics.draw(described)
    assert (small_lines / "statistics.png").read_bytes() == content
    picture = np.asarray(Image.open(io.BytesIO(content)))
    frames = ((picture == 0).all(axis=2)).sum(axis=1) > 600
    assert np.count_nonzero(np.diff(frames.astype(int)) == 1) == 3 * 2 * len(described.splits)
