"""Statistics of a split, against their definitions."""

import io
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
    assert whole.ink_pixels == (images >= 128).sum()
    assert (whole.empty_images, whole.saturated_images) == (1, 1)


def test_a_split_is_described_by_what_people_ask():
    images = np.random.default_rng(1).integers(0, 256, (8, 784), dtype=np.uint8)
    split = statistics.describe_split(
        (Shard("s", 8, 1, "0"),), (6, 0, 2), statistics.sum_pixels(images), leaked=3, dropped=1
    )
    assert split.imbalance_ratio == 3.0
    assert split.pixel_mean == pytest.approx(images.mean())
    assert split.pixel_std == pytest.approx(images.std())
    assert split.ink_fraction == pytest.approx((images >= 128).mean())
    assert split.leaked == 3


def test_the_picture_of_them_is_drawn(synthetic_digits: Path):
    picture = Image.open(io.BytesIO(statistics.draw(manifest.read(synthetic_digits))))
    assert picture.width > 500
    assert (synthetic_digits / "statistics.png").exists()
