"""Statistics of a split, checked against their definitions."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.dataset import manifest
from common.dataset.manifest import Shard
from preprocess.describe import statistics


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
    split = statistics.describe_split(
        (Shard("s", 8, 1, "0"),), (6, 0, 2), statistics.sum_pixels(images), leaked=3, excluded=1
    )
    assert split.imbalance_ratio == 3.0
    assert split.pixel_mean == pytest.approx(images.mean())
    assert split.pixel_std == pytest.approx(images.std())
    assert split.foreground_fraction == pytest.approx((images >= 128).mean())
    assert split.leaked == 3


def test_the_picture_of_them_has_a_bar_for_each_class_as_high_as_its_count(small_dataset: Path):
    described = manifest.read(small_dataset)
    counts = {"train": (50, 0, 7, 23, 100, 1, 64, 10, 80, 31), "test": (1, 2, 3, 1, 2, 3, 0, 0, 1, 1)}
    splits = {name: replace(described.splits[name], class_histogram=histogram) for name, histogram in counts.items()}
    picture = np.asarray(Image.open(io.BytesIO(statistics.draw(replace(described, splits=splits)))))
    is_bar = (picture == picture[len(picture) // 4, picture.shape[1] // 2]).all(axis=2)  # the 100 in the middle
    for panel, histogram in zip(np.split(is_bar, 2), counts.values(), strict=True):
        heights = panel.sum(axis=0)
        starts = np.flatnonzero((heights[1:] > 0) & (heights[:-1] == 0)) + 2
        ends = np.flatnonzero((heights[1:] == 0) & (heights[:-1] > 0))
        assert len(starts) == len(ends) == np.count_nonzero(histogram)
        present = np.array([count for count in histogram if count])
        np.testing.assert_allclose(heights[starts] / heights.max(), present / present.max(), atol=0.01)


def test_the_picture_of_them_lies_in_the_dataset_folder(small_dataset: Path):
    described = manifest.read(small_dataset)
    assert (small_dataset / "statistics.png").read_bytes() == statistics.draw(described)
