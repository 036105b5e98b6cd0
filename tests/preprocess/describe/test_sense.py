"""What is said of a dataset as a whole."""

import numpy as np
import pytest

from common.dataset.manifest import Split
from common.dataset.schema import characters, lines
from common.errors import InputError
from preprocess.describe import sense
from preprocess.describe.sense import Disputed

SCHEMA = characters(("A", "B", "C"))
SOUND = {"train": (20, 20, 20), "validation": (2, 2, 2), "test": (2, 2, 2)}


def split(*histogram: int, **facts: float) -> Split:
    return Split(sum(histogram), (), histogram, **({"foreground_fraction": 0.2} | facts))


def contents(*pairs: tuple[int, int]) -> dict[str, np.ndarray]:
    return {"train": np.array(list(pairs), sense.CONTENT)}


DIFFERENT = contents(*((number, number % 3) for number in range(60)))


def check(images: dict[str, np.ndarray], schema=SCHEMA, **facts: float) -> sense.Findings:
    """What is found in a dataset whose labels are sound."""
    train = split(*SOUND["train"], **facts)
    return sense.check({name: split(*counts) for name, counts in SOUND.items()} | {"train": train}, schema, images)


def check_labels(histograms: dict[str, tuple[int, ...]], **changes: tuple[int, ...]) -> sense.Findings:
    return sense.check_labels(tuple(histograms | changes), histograms | changes, "ABC")


def test_of_a_sound_dataset_nothing_is_said():
    assert check_labels(SOUND) == check(DIFFERENT) == sense.Findings([], [], [])


def test_one_class_alone_is_an_error():
    (error,) = check_labels(SOUND, train=(0, 50, 0)).errors
    assert error.startswith("all training examples are of one class, 'B': there is nothing to tell apart; ")
    with pytest.raises(InputError, match=f"mine/letters: {error}"):
        check_labels(SOUND, train=(0, 50, 0)).raise_errors("mine/letters")
    two = check_labels(SOUND, train=(0, 50, 50))
    two.raise_errors("mine/letters")
    assert two.errors == []


@pytest.mark.parametrize("missing", ["validation", "test"])
def test_a_split_that_is_missing_is_named_with_the_flag_that_helps_whatever_the_labels(missing):
    there = {name: counts for name, counts in SOUND.items() if name != missing}
    (known,), (unknown,) = check_labels(there).warnings, sense.check_labels(there, None, "ABC").warnings
    assert known == unknown
    assert known.startswith(f"there is no {missing} split, ")
    assert f"--{missing}-fraction" in known


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        ({"train": (20, 10, 20)}, []),
        ({"train": (20, 9, 20)}, ["fewer than 10 training examples of 1 class: B"]),
        ({"train": (1, 20, 9)}, ["fewer than 10 training examples of 2 classes: A C"]),
        (
            {"train": (20, 0, 20), "test": (0, 1, 1)},
            [
                "no training example, but some in validation, of 1 class: B",
                "no training example, but some in test, of 1 class: B",
                "no example in test of 1 class: A",
            ],
        ),
        ({"train": (20, 0, 20), "validation": (1, 0, 1), "test": (1, 0, 1)}, []),
        ({"validation": (0, 0, 1)}, ["no example in validation of 2 classes: A B"]),
    ],
)
def test_classes_with_few_examples_and_splits_that_lack_classes_are_named(changes, warnings):
    found = check_labels(SOUND, **changes)
    assert (found.errors, found.warnings) == ([], warnings)


def test_of_many_classes_the_first_eight_are_named():
    found = sense.check_labels(SOUND, dict.fromkeys(SOUND, (9,) * 9), "ABCDEFGHI")
    assert found.warnings == ["fewer than 10 training examples of 9 classes: A B C D E F G H …"]
    found = sense.check_labels(SOUND, dict.fromkeys(SOUND, (9,) * 8), "ABCDEFGH")
    assert found.warnings == ["fewer than 10 training examples of 8 classes: A B C D E F G H"]


def test_pixels_of_only_0_and_1_are_refused_but_not_empty_images_or_dark_ones():
    images = np.zeros((5, 28, 28, 1), np.uint8)
    sense.check_scale(images, "mine/letters/train")
    images[3, 4, 5] = 2
    sense.check_scale(images, "mine/letters/train")
    images[3, 4, 5] = 1
    with pytest.raises(InputError, match="mine/letters/train: all pixels of the first 5 images are 0 or 1: "):
        sense.check_scale(images, "mine/letters/train")


def test_where_most_of_the_pixels_are_light_the_writing_may_be_dark():
    assert check(DIFFERENT, foreground_fraction=0.5).warnings == []
    (warning,) = check(DIFFERENT, foreground_fraction=0.8).warnings
    assert warning.startswith("80% of the pixels are light: ")


def test_images_that_are_all_the_same_are_an_error():
    found = check(contents((7, 0), (7, 1), (7, 1)))
    assert found == sense.Findings(["all images are the same"])
    assert check(contents((7, 0), (7, 0), (8, 1))) == sense.Findings()
    assert check(contents((7, 0))) == sense.Findings()


def test_an_image_with_several_labels_is_counted_by_them_and_each_of_its_examples_is_found():
    images = contents((1, 0), (3, 0), (2, 1), (1, 0), (4, 2), (3, 2)) | {
        "test": np.array([(2, 0), (5, 0), (6, 1), (6, 2), (3, 1), (7, 1)], sense.CONTENT)
    }
    found = check(images)
    assert found.errors == []
    assert found.warnings == [
        "3 images with more than one label, named in disputed.jsonl: A and B (1), A and B and C (1), B and C (1)"
    ]
    assert found.disputed == [
        Disputed(2, "train", 2, 1), Disputed(2, "test", 0, 0), Disputed(3, "train", 1, 0), Disputed(3, "train", 5, 2),
        Disputed(3, "test", 4, 1), Disputed(6, "test", 2, 1), Disputed(6, "test", 3, 2),
    ]  # fmt: skip


def test_the_most_frequent_of_many_disputes_are_counted():
    schema = characters(tuple("ABCDEFGHIJ"))
    pairs = [(label * 10 + number, one) for label in range(9) for number in range(label + 1) for one in (label, 9)]
    parts = dict.fromkeys(("train", "validation", "test"), split(*(20,) * 10))
    (warning,) = sense.check(parts, schema, contents(*pairs)).warnings
    assert warning.startswith("45 images with more than one label, ")
    assert warning.endswith(": I and J (9), H and J (8), G and J (7), F and J (6), E and J (5), D and J (4), "
                            "C and J (3), B and J (2)")  # fmt: skip


def test_one_disputed_image_is_one():
    assert check(contents((1, 0), (1, 1), (2, 2))).warnings[0].startswith("1 image with more than one label, ")


def test_of_lines_the_splits_and_the_light_are_checked_and_no_characters():
    schema = lines(("a", "b"), (), (48, 320), 6, 9)
    found = sense.check({"train": split(1, 0, foreground_fraction=0.7)}, schema, {})
    assert found.errors == []
    assert [warning.split()[0:4] for warning in found.warnings] == [
        ["there", "is", "no", "test"], ["there", "is", "no", "validation"], ["70%", "of", "the", "pixels"]
    ]  # fmt: skip
