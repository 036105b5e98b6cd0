"""The picture of the curves is drawn, with and without a validation split."""

import pytest
from PIL import Image

from trainer import curves

TRAIN = {"loss": 1.0, "accuracy": 0.5}


@pytest.mark.parametrize("more", [{}, {"validation": {"loss": 1.1, "accuracy": 0.4}}])
def test_a_picture_of_two_panels(tmp_path, more):
    epochs = [{"epoch": number, "train": TRAIN, **more} for number in (1, 2, 3)]
    curves.draw(epochs, tmp_path / "curves.png")
    width, height = Image.open(tmp_path / "curves.png").size
    assert width > 2 * height
