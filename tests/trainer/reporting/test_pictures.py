"""The pictures of a run, with and without a validation split."""

import numpy as np
import pytest
from PIL import Image

from trainer.reporting import pictures

TRAIN = {"loss": 1.0, "accuracy": 0.5}


@pytest.mark.parametrize("more", [{}, {"validation": {"loss": 1.1, "accuracy": 0.4}}])
def test_a_picture_of_two_panels(tmp_path, more):
    epochs = [{"epoch": number, "train": TRAIN, **more} for number in (1, 2, 3)]
    pictures.draw_curves(epochs, tmp_path / "curves.png")
    width, height = Image.open(tmp_path / "curves.png").size
    assert width > 2 * height


@pytest.mark.parametrize("draw", [pictures.draw_augmentation, pictures.draw_augmentation_of_lines])
def test_names_of_any_script_are_written_as_they_are(tmp_path, draw, recwarn):
    images, drawn = np.full((1, 48, 320, 1), 255, np.uint8), []
    for name in ("あ", "い", "U+10FFFD", "\U0010fffd", r"$\nothing$", "$", "שלום", "\u0301"):
        draw(images, [images.astype(np.float32)], [name], ("rotate(10)",), tmp_path / "one.png")
        drawn.append(np.asarray(Image.open(tmp_path / "one.png")))
    assert not (drawn[0] == drawn[1]).all()
    np.testing.assert_array_equal(drawn[2], drawn[3])
    assert not recwarn.list


def test_augmented_examples_stand_below_the_original(tmp_path):
    images = np.zeros((3, 28, 28, 1), np.uint8)
    versions = np.full((2, 3, 28, 28, 1), 255.0)
    path = tmp_path / "augmentation.png"
    pictures.draw_augmentation(images, versions, ["a", "B", "7"], ("rotate(10)",), path)
    gray = np.asarray(Image.open(path).convert("L"))
    column = gray[:, gray.shape[1] // 2]
    assert 0 in column[: len(column) // 2]
    assert (column[len(column) // 2 :] > 250).all()
