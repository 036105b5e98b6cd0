"""Metrics of predictions, checked by hand."""

import json

import numpy as np
import pytest

from trainer.evaluation import metrics

NAMES = ("0", "A", "a", "B")
LABELS = np.array([0, 0, 1, 1, 2, 3])
# Right, taken for A, right, taken for a, taken for A, right.
PREDICTED = np.array([0, 1, 1, 2, 1, 3])


def probabilities(predicted: np.ndarray = PREDICTED, confidence: float = 0.7) -> np.ndarray:
    rest = (1 - confidence) / 3
    return np.where(np.eye(4, dtype=bool)[predicted], confidence, rest).astype(np.float32)


def test_accuracy_and_loss_are_those_of_the_definition():
    labels = np.array([0, 1, 1, 2])
    given = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.0, 0.0, 1.0]], np.float32)
    computed = metrics.compute(labels, given)
    assert computed.num_examples == 4
    assert computed.accuracy == 0.75
    assert computed.loss == pytest.approx(-(np.log(0.5) + np.log(0.8) + np.log(0.3)) / 4)


def test_a_probability_of_zero_gives_a_finite_loss():
    assert np.isfinite(metrics.compute(np.array([1]), np.array([[1.0, 0.0]], np.float32)).loss)


def test_all_figures_of_a_small_case():
    figures = metrics.compute_all(LABELS, probabilities(), NAMES, 1.0)
    assert figures["accuracy"] == pytest.approx(3 / 6)
    low, high = figures["accuracy_interval_95"]
    assert (low, high) == (pytest.approx(0.1876, abs=1e-4), pytest.approx(0.8124, abs=1e-4))  # Wilson's, of 3 in 6
    assert figures["accuracy_case_folded"] == pytest.approx(5 / 6)
    assert figures["per_class"]["A"] == {
        "precision": pytest.approx(1 / 3),
        "recall": 0.5,
        "f1": pytest.approx(0.4),
        "support": 2,
    }
    f1 = [2 / 3, 0.4, 0, 1]
    assert figures["macro_f1"] == pytest.approx(np.mean(f1))
    assert figures["weighted_f1"] == pytest.approx(np.average(f1, weights=[2, 2, 1, 1]))
    assert figures["confusion_matrix"] == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    assert figures["most_confused"][0] in (
        {"true": "a", "predicted": "A", "count": 1, "share": 1.0},
        {"true": "0", "predicted": "A", "count": 1, "share": 0.5},
        {"true": "A", "predicted": "a", "count": 1, "share": 0.5},
    )
    assert len(figures["most_confused"]) == 3
    assert figures["expected_calibration_error"] == pytest.approx(0.2, abs=1e-6)
    assert figures["reliability"] == [{"num_examples": 6, "confidence": pytest.approx(0.7), "accuracy": 0.5}]
    json.dumps(figures)


def test_the_right_class_among_the_first_three_counts():
    given = np.array([[0.4, 0.3, 0.2, 0.1]] * 4, np.float32)
    assert metrics.compute_all(np.arange(4), given, NAMES, 1.0)["accuracy_top_3"] == 0.75


def test_averages_leave_out_classes_without_examples():
    figures = metrics.compute_all(np.array([0, 0]), probabilities(np.array([0, 0])), NAMES, 1.0)
    assert figures["macro_f1"] == 1
    assert figures["per_class"]["B"]["support"] == 0
    assert figures["most_confused"] == []


def test_without_letters_of_both_cases_nothing_is_folded():
    assert metrics.compute_all(LABELS, probabilities(), ("0", "A", "b", "C"), 1.0)["accuracy_case_folded"] is None


def test_the_temperature_that_made_the_probabilities_is_found_again():
    random = np.random.default_rng(0)
    honest = random.dirichlet(np.full(10, 0.3), 20_000)
    labels = np.array([random.choice(10, p=row) for row in honest])
    for made_with in (0.5, 1.0, 2.5):
        given = metrics.calibrate(honest, made_with)
        temperature = metrics.fit_temperature(labels, given)
        assert temperature == pytest.approx(1 / made_with, rel=0.05)
        figures = metrics.compute_all(labels, given, tuple("0123456789"), temperature)
        assert figures["expected_calibration_error_calibrated"] < 0.02
        assert figures["loss_calibrated"] <= figures["loss"] + 1e-9
        if made_with != 1:
            assert figures["expected_calibration_error"] > 0.05


def test_too_little_confidence_does_not_make_up_for_too_much():
    confidence, share_right = np.array([0.25, 0.95, 0.95]), np.array([1.0, 0.5, 0.0])
    assert metrics.calibration_error(confidence, share_right) == pytest.approx((0.75 + 2 * 0.7) / 3)
    of_units = metrics.calibration_error(confidence, share_right, np.array([5, 3, 1]))
    assert of_units == pytest.approx((5 * 0.75 + 4 * (0.95 - 1.5 / 4)) / 9)


def test_calibration_changes_no_class_place():
    random = np.random.default_rng(0)
    given = random.dirichlet(np.ones(5), 100).astype(np.float32)
    calibrated = metrics.calibrate(given, 3.0)
    np.testing.assert_array_equal(calibrated.argsort(axis=1), given.argsort(axis=1))
    np.testing.assert_allclose(calibrated.sum(axis=1), 1)
    np.testing.assert_allclose(metrics.calibrate(given, 1.0), given, atol=1e-6)
