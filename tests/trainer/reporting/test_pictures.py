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


def test_augmented_examples_stand_below_the_original(tmp_path):
    images = np.zeros((3, 28, 28, 1), np.uint8)
    versions = np.full((2, 3, 28, 28, 1), 255.0)
    path = tmp_path / "augmentation.png"
    pictures.draw_augmentation(images, versions, ["a", "B", "7"], ("rotate(10)",), path)
    gray = np.asarray(Image.open(path).convert("L"))
    column = gray[:, gray.shape[1] // 2]
    assert 0 in column[: len(column) // 2]
    assert (column[len(column) // 2 :] > 250).all()
