"""What is said of a dataset as a whole."""

import numpy as np
import pytest

from common.dataset.manifest import Split
from common.dataset.schema import characters
from preprocess.describe import sense

SCHEMA = characters(("A", "B", "C"))


def split(*histogram: int, **facts: float) -> Split:
    return Split(sum(histogram), (), histogram, **({"pixel_mean": 40.0, "pixel_std": 80.0} | facts))


def contents(*pairs: tuple[int, int]) -> dict[str, np.ndarray]:
    return {"train": np.array(list(pairs), sense.CONTENT)}


DIFFERENT = contents(*((number, number % 3) for number in range(60)))


def test_of_a_sound_dataset_nothing_is_said():
    parts = {"train": split(20, 20, 20), "validation": split(2, 2, 2), "test": split(2, 2, 2)}
    found = sense.check(parts, SCHEMA, DIFFERENT)
    assert (found.errors, found.warnings) == ([], [])


@pytest.mark.parametrize(
    ("changes", "images", "error"),
    [
        ({"train": split(0, 50, 0)}, DIFFERENT, "all training examples are of one class, 'B'"),
        ({"train": split(20, 20, 20, pixel_mean=0.25, pixel_std=0.1875**0.5)}, DIFFERENT, "all pixels are 0 or 1"),
        ({}, contents((7, 0), (7, 1), (7, 1)), "all images are the same"),
    ],
)
def test_where_nothing_can_be_learned_that_is_an_error(changes, images, error):
    parts = {"train": split(20, 20, 20), "validation": split(2, 2, 2), "test": split(2, 2, 2)} | changes
    (only,) = sense.check(parts, SCHEMA, images).errors
    assert only.startswith(error)


@pytest.mark.parametrize(
    ("parts", "images", "warnings"),
    [
        ({"train": split(20, 20, 20), "test": split(1, 1, 1)}, DIFFERENT, ["there is no validation split"]),
        ({"train": split(20, 20, 20), "validation": split(1, 1, 1)}, DIFFERENT, ["there is no test split"]),
        ({"train": split(20, 9, 20)}, DIFFERENT, ["fewer than 10 training examples of 1 class: B"]),
        (
            {"train": split(20, 0, 20), "test": split(0, 1, 1)},
            DIFFERENT,
            ["no training example, but some in test, of 1 class: B", "no example in test of 1 class: A"],
        ),
        ({"train": split(20, 20, 20, foreground_fraction=0.8)}, DIFFERENT, ["80% of the pixels are light"]),
        (
            {"train": split(20, 20, 20)},
            contents((1, 0), (1, 0), (2, 0), (2, 1), (3, 1), (3, 0), (3, 2)),
            ["2 images with more than one label: A and B (1), A and B and C (1)"],
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(parts, images, warnings):
    found = sense.check(parts, SCHEMA, images)
    about_splits = ("there is no validation", "there is no test")
    said = [text for text in found.warnings if not text.startswith(about_splits) or len(parts) == 2]
    said = [text for text in said if not (text.startswith(about_splits) and len(warnings) == 2)]
    assert not found.errors
    assert len(said) == len(warnings)
    for text, beginning in zip(said, warnings, strict=True):
        assert text.startswith(beginning)
