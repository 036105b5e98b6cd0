"""The metrics of a model on a split, from its predictions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

_SMALLEST_PROBABILITY = 1e-7  # keeps the loss finite where float32 has rounded a probability to 0
_TOP = 3
_CONFIDENCE_BINS = 15
_CONFUSED_PAIRS = 20
_TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True)
class Metrics:
    """The metrics that are computed after each epoch."""

    num_examples: int
    accuracy: float
    """The share of examples whose most probable class is the right one, 0 to 1."""
    loss: float
    """Mean cross-entropy in nats."""


def compute(labels: np.ndarray, probabilities: np.ndarray) -> Metrics:
    """The metrics from labels int64 [N] and probabilities float32 [N, C]; summed in float64."""
    of_right_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return Metrics(
        num_examples=len(labels),
        accuracy=float(np.mean(probabilities.argmax(axis=1) == labels)),
        loss=float(-np.mean(np.log(np.maximum(of_right_class, _SMALLEST_PROBABILITY)))),
    )


def compute_all(
    labels: np.ndarray, probabilities: np.ndarray, class_names: tuple[str, ...], temperature: float
) -> dict[str, Any]:
    """All metrics of a split for `metrics.json`, as plain data; docs/evaluate-and-report.md lists them.

    Labels int64 [N], probabilities float32 [N, C] before calibration. Averages over classes skip those without
    examples.
    """
    basic = compute(labels, probabilities)
    predicted = probabilities.argmax(axis=1)
    calibrated = calibrate(probabilities, temperature)
    classes = np.arange(len(class_names))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0.0
    )
    present = support > 0
    interval = binomtest(int((predicted == labels).sum()), len(labels)).proportion_ci(0.95, method="wilson")
    rank = (probabilities > probabilities[np.arange(len(labels)), labels][:, None]).sum(axis=1)
    matrix = confusion_matrix(labels, predicted, labels=classes)
    return {
        "num_examples": basic.num_examples,
        "accuracy": basic.accuracy,
        "accuracy_interval_95": [float(interval.low), float(interval.high)],
        "accuracy_top_3": float(np.mean(rank < _TOP)),
        "accuracy_case_folded": _case_folded_accuracy(labels, predicted, class_names),
        "loss": basic.loss,
        "loss_calibrated": compute(labels, calibrated).loss,
        "macro_f1": float(f1[present].mean()),
        "weighted_f1": float(np.average(f1, weights=support)),
        "expected_calibration_error": _calibration_error(labels, probabilities),
        "expected_calibration_error_calibrated": _calibration_error(labels, calibrated),
        "reliability": reliability(labels, calibrated),
        "per_class": {
            name: {
                "precision": float(precision[index]),
                "recall": float(recall[index]),
                "f1": float(f1[index]),
                "support": int(support[index]),
            }
            for index, name in enumerate(class_names)
        },
        "most_confused": _most_confused(matrix, class_names),
        "confusion_matrix": matrix.tolist(),
    }


def headlines(figures: dict[str, Any]) -> list[str]:
    """The most important metrics of `compute_all`, as lines of text."""
    low, high = (100 * end for end in figures["accuracy_interval_95"])
    folded = figures["accuracy_case_folded"]
    return [
        f"accuracy {100 * figures['accuracy']:.2f} %, loss {figures['loss']:.4f}, "
        f"on {figures['num_examples']:,} examples (95 % interval {low:.2f} to {high:.2f} %)",
        f"top-3 accuracy {100 * figures['accuracy_top_3']:.2f} %, macro F1 {figures['macro_f1']:.4f}"
        + ("" if folded is None else f", case-folded accuracy {100 * folded:.2f} %"),
        f"calibration error {100 * figures['expected_calibration_error']:.2f} %; calibrated: "
        f"{100 * figures['expected_calibration_error_calibrated']:.2f} %, loss {figures['loss_calibrated']:.4f}",
    ]


def _case_folded_accuracy(labels: np.ndarray, predicted: np.ndarray, class_names: tuple[str, ...]) -> float | None:
    """The accuracy if upper and lower case are one class; None if no letter has both."""
    folded = [name.upper() for name in class_names]
    if len(set(folded)) == len(folded):
        return None
    numbers = np.unique(folded, return_inverse=True)[1]
    return float(np.mean(numbers[predicted] == numbers[labels]))


def _most_confused(matrix: np.ndarray, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The commonest mistakes, with their share of the true class' examples."""
    mistakes = matrix * ~np.eye(len(matrix), dtype=bool)
    order = np.argsort(mistakes, axis=None, kind="stable")[::-1][:_CONFUSED_PAIRS]
    pairs = [divmod(int(place), len(matrix)) for place in order if mistakes.flat[place]]
    return [
        {
            "true": class_names[true],
            "predicted": class_names[predicted],
            "count": int(matrix[true, predicted]),
            "share": float(matrix[true, predicted] / matrix[true].sum()),
        }
        for true, predicted in pairs
    ]


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[dict[str, float]]:
    """For each non-empty bin of confidence, all of equal width: examples, mean confidence and accuracy."""
    return by_confidence(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)


def calibration_error(confidence: np.ndarray, is_right: np.ndarray, units: np.ndarray | None = None) -> float:
    """The expected calibration error, 0 to 1 (Guo et al., "On calibration", 2017).

    It is the mean distance of confidence and accuracy over the bins. `confidence` [N] is the probability of each
    answer, `is_right` [N] whether it is right, or the share of its units that are. Answers count by their `units`,
    int [N]; without, all the same.
    """
    weights = np.ones(len(confidence)) if units is None else units
    gaps = np.bincount(_bins(confidence), weights * (confidence.astype(np.float64) - is_right))
    return float(np.abs(gaps).sum() / weights.sum())


def _calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)


def by_confidence(
    confidence: np.ndarray, is_right: np.ndarray, units: np.ndarray | None = None
) -> list[dict[str, float]]:
    """As `reliability`, of answers as for `calibration_error`; the means are over units."""
    confidence, bins = confidence.astype(np.float64), _bins(confidence)
    weights = np.ones(len(confidence)) if units is None else units
    return [
        {
            "num_examples": int((bins == number).sum()),
            "confidence": float(np.average(confidence[bins == number], weights=weights[bins == number])),
            "accuracy": float(np.average(is_right[bins == number], weights=weights[bins == number])),
        }
        for number in np.unique(bins)
    ]


def _bins(confidence: np.ndarray) -> np.ndarray:
    return np.minimum((confidence.astype(np.float64) * _CONFIDENCE_BINS).astype(int), _CONFIDENCE_BINS - 1)


def calibrate(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities [N, C] sharpened (temperature below 1) or flattened (above); the order of classes stays."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny)) / temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature that minimises the loss; fit it on the validation split (Guo et al., 2017)."""

    def loss(log_temperature: float) -> float:
        return compute(labels, calibrate(probabilities, float(np.exp(log_temperature)))).loss

    return float(np.exp(minimize_scalar(loss, bounds=np.log(_TEMPERATURES), method="bounded").x))
