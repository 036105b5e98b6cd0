"""What a gate goes by: a model's answers, how quickly they come, and by which names."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.dataset import manifest as manifests
from deploy.gate import answers
from trainer.data import input_pipeline
from trainer.evaluation import metrics
from trainer.runs import run_folder
from trainer.serving import loading


@pytest.fixture(scope="module")
def model(finished_run):
    return loading.load(str(finished_run))


@pytest.fixture(scope="module")
def examples(synthetic_digits) -> input_pipeline.Examples:
    return input_pipeline.open_split(Path(synthetic_digits), manifests.read(Path(synthetic_digits)), "test")


def test_the_answers_are_those_that_the_run_was_measured_by(finished_run, model, examples):
    found = answers.give(model, examples)
    results = run_folder.read_results(finished_run)
    calibrated = metrics.calibrate(results.probabilities, results.metrics["temperature"])
    np.testing.assert_array_equal(found.predicted, calibrated.argmax(axis=1))
    np.testing.assert_allclose(found.confidence, calibrated.max(axis=1), atol=1e-5)
    is_right = found.predicted == results.labels
    error = json.loads((finished_run / "metrics.json").read_text())["test"]["expected_calibration_error_calibrated"]
    assert metrics.calibration_error(found.confidence, is_right) == pytest.approx(error, abs=1e-3)


def test_a_request_takes_its_time(model, examples):
    assert 0.1 < answers.latency_ms(model, examples) < 1000


def test_answers_are_translated_by_the_classes_names(model):
    given = answers.Answers(np.array([0, 1, 9]), np.array([0.5, 0.6, 0.7], np.float32))
    found = answers.by_name(given, model, ("9", "1", "A"))
    assert found.predicted.tolist() == [-1, 1, 0]
    np.testing.assert_array_equal(found.confidence, given.confidence)
