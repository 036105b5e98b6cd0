"""How one dataset differs from another."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.dataset import manifest
from preprocess.describe import drift


def test_a_dataset_does_not_drift_from_itself(small_dataset: Path):
    loaded = manifest.read(small_dataset)
    assert drift.measure(loaded, loaded) == drift.Drift((), (), 0.0, 0.0, 0.0)
    assert drift.measure(loaded, loaded).largest == 0.0


def test_each_figure_is_measured(small_dataset: Path):
    old = manifest.read(small_dataset)
    train = old.splits["train"]
    moved = (train.class_histogram[0] - 9, train.class_histogram[1] + 9, *train.class_histogram[2:])
    changed = replace(
        train,
        class_histogram=moved,
        pixel_mean=train.pixel_mean + 25.5,
        foreground_fraction=train.foreground_fraction - 0.02,
    )
    measured = drift.measure(replace(old, splits=old.splits | {"train": changed}), old)
    assert measured.class_histogram == pytest.approx(9 / train.num_examples)
    assert measured.pixel_mean == pytest.approx(0.1)
    assert measured.foreground_fraction == pytest.approx(0.02)
    assert measured.largest == pytest.approx(0.1)


def test_other_classes_are_as_different_as_can_be(small_dataset: Path):
    old = manifest.read(small_dataset)
    new = replace(old, schema=replace(old.schema, vocabulary=tuple("012345678x")))
    measured = drift.measure(new, old)
    assert (measured.classes_added, measured.classes_removed) == (("x",), ("9",))
    assert measured.largest == 1.0
    assert "classes added x, removed 9" in drift.describe(measured)
    assert measured.class_histogram == pytest.approx(0.1, abs=0.02)


def test_of_lines_the_shares_of_characters_are_compared(small_lines: Path, small_dataset: Path):
    old = manifest.read(small_lines)
    assert drift.measure(old, old).largest == 0.0
    train = old.splits["train"]
    moved = (train.class_histogram[0] - 30, *train.class_histogram[1:-1], train.class_histogram[-1] + 30)
    changed = replace(old, splits=old.splits | {"train": replace(train, class_histogram=moved)})
    assert drift.measure(changed, old).class_histogram == pytest.approx(30 / sum(train.class_histogram))
    assert drift.measure(old, manifest.read(small_dataset)).largest == 1.0
