"""What the gate measures: a model's scores, its latency, and classes matched by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.dataset import manifest as manifests
from common.dataset import schema
from deploy.gate import answers
from trainer.data.examples import Examples, open_split
from trainer.evaluation import metrics
from trainer.runs import run_folder
from trainer.serving import loading
from trainer.tasks import characters


@pytest.fixture(scope="module")
def model(finished_run):
    return loading.load(str(finished_run))


@pytest.fixture(scope="module")
def examples(synthetic_digits) -> Examples:
    return open_split(Path(synthetic_digits), manifests.read(Path(synthetic_digits)), "test")


def test_the_scores_are_those_that_the_run_was_measured_by(finished_run, model, examples):
    scores = answers.score(model, examples)
    results = run_folder.read_results(finished_run)
    labels = results.predictions["labels"]
    calibrated = metrics.calibrate(results.predictions["probabilities"], results.metrics["temperature"])
    np.testing.assert_array_equal(scores.errors, calibrated.argmax(axis=1) != labels)
    assert (scores.units == 1).all()
    np.testing.assert_allclose(scores.confidence, calibrated.max(axis=1), atol=1e-5)
    figures = json.loads((finished_run / "metrics.json").read_text())["test"]
    assert scores.accuracy == figures["accuracy"]
    error = figures["expected_calibration_error_calibrated"]
    assert metrics.calibration_error(scores.confidence, scores.errors == 0) == pytest.approx(error, abs=1e-3)


def test_a_request_takes_its_time(model, examples):
    assert 0.1 < answers.latency_ms(model, examples) < 1000


def test_classes_are_compared_by_their_names():
    """Of a model that has other classes, in another order, than the data."""
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7]], np.float32)
    predictions = {"labels": np.array([0, 1, 2]), "probabilities": probabilities}
    scores = characters.score(predictions, ("9", "1", "A"), schema.characters(("A", "1", "9")))
    assert scores.errors.tolist() == [1, 0, 1], "9, 1 and A, for A, 1 and 9"
    scores = characters.score(predictions, ("0", "1", "9"), schema.characters(("A", "1", "9")))
    assert scores.errors.tolist() == [1, 0, 0], "a class that the data does not have is wrong"
    np.testing.assert_array_equal(scores.confidence, probabilities.max(axis=1))
