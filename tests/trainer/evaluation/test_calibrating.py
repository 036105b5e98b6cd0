"""Temperatures and thresholds of pixels and of pictures, fitted on the validation split."""

import math
from pathlib import Path

import numpy as np
import pytest

from common.dataset import manifest as manifests
from common.dataset.schema import IMAGE, characters
from common.photographs import KINDS
from trainer.data.examples import open_split
from trainer.evaluation import calibrating, metrics, photographs
from trainer.evaluation.calibration import Calibration
from trainer.serving import loading
from trainer.tasks.characters import TASK

SCHEMA = characters(tuple("0123456789"))


def predictions(temperature: float, count: int = 4000) -> dict[str, np.ndarray]:
    """Of a model whose probabilities are right after division of the logits by `temperature`."""
    random = np.random.default_rng(0)
    right = random.dirichlet(np.full(10, 0.02), count)
    labels = np.array([random.choice(10, p=row) for row in right])
    return {"labels": labels, "probabilities": metrics.calibrate(right, 1 / temperature)}


def test_pixels_and_pictures_have_a_temperature_each():
    calibration = calibrating.fit(TASK, SCHEMA, predictions(0.5, 6000), predictions(3.0, 2000))
    assert calibration.temperature == pytest.approx(0.5, rel=0.1)
    assert calibration.picture_temperature == pytest.approx(3, rel=0.1)
    assert calibration.num_pictures == 2000
    assert 0 < calibration.thresholds[0] < calibration.thresholds[1] < 1
    assert 0 < calibration.picture_thresholds[0] < 1


def test_what_is_reached_is_told_in_words():
    calibration = Calibration(1.0, 1.0, (0.5, 0.99999, math.inf), (math.inf,) * 3, 4000)
    confidence = np.where(np.arange(4000) < 3000, 0.91, 0.4)
    rest = ((1 - confidence) / 9)[:, None].repeat(9, axis=1)
    given = {"labels": (np.arange(4000) % 100 == 0).astype(int), "probabilities": np.c_[confidence, rest]}
    measured = calibrating.figures(TASK, given, given, SCHEMA, calibration)
    assert calibrating.headlines(measured) == [
        "pixels accepted with at most 5 % wrong: 75.00 % (1.00 % of them wrong), "
        "at most 1 % wrong: 0.00 % (none), at most 0.5 % wrong: not reachable",
        "photographs accepted with at most 5 % wrong: not reachable, "
        "at most 1 % wrong: not reachable, at most 0.5 % wrong: not reachable",
    ]
    assert calibrating.headlines({"accuracy": 0.9}) == []


def test_without_photographs_pictures_are_calibrated_like_pixels_and_nothing_is_promised_of_them():
    calibration = calibrating.fit(TASK, SCHEMA, predictions(0.5), None)
    assert calibration.picture_temperature == calibration.temperature != 1
    assert (calibration.picture_thresholds, calibration.num_pictures) == ((math.inf,) * 3, 0)
    assert Calibration().temperature == Calibration().picture_temperature == 1, "without a validation split"


def test_a_photograph_with_a_problem_is_wrong_unsure_and_fits_nothing():
    clean, spoilt = predictions(2.0, 2000), predictions(2.0, 2000)
    has_problem = np.arange(2000) % 10 == 0
    spoilt["probabilities"][has_problem] = np.eye(10)[(spoilt["labels"][has_problem] + 1) % 10]
    spoilt["has_problem"] = has_problem
    calibration = calibrating.fit(TASK, SCHEMA, clean, spoilt)
    assert calibration.picture_temperature == pytest.approx(2, rel=0.1)
    calibrated = TASK.calibrate(spoilt, calibration.picture_temperature)
    scores = TASK.score(calibrated, SCHEMA.vocabulary, SCHEMA)
    assert (scores.errors[has_problem] == 1).all()
    assert (scores.confidence[has_problem] == 0).all()
    of_pictures = calibrating.figures(TASK, clean, calibrated, SCHEMA, calibration)["pictures"]
    assert (of_pictures["with_problem"], of_pictures["num_examples"]) == (0.1, 2000)
    assert of_pictures["accuracy"] == scores.accuracy
    assert 0 < of_pictures["selective_prediction"][0]["coverage"] <= 0.9
    nothing_read = spoilt | {"has_problem": np.ones(2000, bool)}
    assert calibrating.fit(TASK, SCHEMA, clean, nothing_read).picture_temperature == 1


@pytest.mark.tensorflow
def test_photographs_are_of_all_kinds_and_always_the_same(finished_run, synthetic_digits, monkeypatch):
    model = loading.load(str(finished_run))
    calibration = loading.calibration(model)
    assert calibration.num_pictures == len(KINDS) == 17
    examples = open_split(Path(synthetic_digits), manifests.read(Path(synthetic_digits)), "validation")
    once, again = (TASK.read_photographs(model, examples, 17) for _ in range(2))
    for name in ("labels", "probabilities", "has_problem"):
        np.testing.assert_array_equal(once[name], again[name])
    assert len(once["labels"]) == 17
    images = examples.take(np.arange(3))[IMAGE]
    assert len({photographs.of_example(images[0], number) for number in range(17)}) == 17
    assert photographs.of_example(images[0], 5) == photographs.of_example(images[0], 5)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (20, 36), (64, 48)])
def test_images_of_any_size_and_strength_can_be_photographed(height, width):
    stroke = np.zeros((height, width, 1), np.uint8)
    stroke[height // 4 : -height // 4, width // 2 - 1 : width // 2 + 1] = 30
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 1), dtype=np.uint8)
    for image in (stroke, noise):
        assert photographs.can_be_drawn(image)
        assert all(photographs.of_example(image, number) for number in range(len(KINDS)))


def test_what_is_no_stroke_is_not_photographed():
    image = np.zeros((28, 28, 1), np.uint8)
    assert not photographs.can_be_drawn(image)
    image[10:12, 10:12] = 255
    assert not photographs.can_be_drawn(image), "a dot"
    image[5:20, 10:12] = 255
    assert photographs.can_be_drawn(image)
    image[0, 0] = image[27, 27] = 40
    assert not photographs.can_be_drawn(image), "specks far beyond it"
