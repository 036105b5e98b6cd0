"""Fits a model's temperatures and thresholds on the validation split, and measures what they are worth on another."""

from typing import Any

from common.dataset.schema import Schema
from trainer.evaluation import metrics, selective
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.scores import Scores
from trainer.tasks.task import Predictions, Task


def fit(task: Task, schema: Schema, predictions: Predictions, pictures: Predictions | None) -> Calibration:
    """The calibration by predictions for the validation split and for photographs of it, both before calibration.

    Without photographs, pictures get the temperature of pixels, and no thresholds.
    """
    temperature, thresholds = _fit(task, schema, predictions)
    num_pictures = len(next(iter(pictures.values()))) if pictures else 0
    if not num_pictures:
        return Calibration(temperature, temperature, thresholds)
    picture_temperature, picture_thresholds = _fit(task, schema, pictures)
    return Calibration(temperature, picture_temperature, thresholds, picture_thresholds, num_pictures)


def _fit(task: Task, schema: Schema, predictions: Predictions) -> tuple[float, tuple[float, ...]]:
    temperature = task.fit_temperature(predictions)
    calibrated = task.calibrate(predictions, temperature)
    return temperature, selective.choose_thresholds(task.score(calibrated, schema.vocabulary, schema))


def figures(
    task: Task, predictions: Predictions, pictures: Predictions | None, schema: Schema, calibration: Calibration
) -> dict[str, Any]:
    """What the thresholds reach, by calibrated predictions for a split and for photographs of it, as plain data."""
    scores = task.score(predictions, schema.vocabulary, schema)
    measured = {"selective_prediction": selective.figures(scores, calibration.thresholds)}
    if pictures is not None:
        of_pictures = task.score(pictures, schema.vocabulary, schema)
        measured["pictures"] = _of_pictures(of_pictures, calibration.picture_thresholds)
    return measured


def headlines(measured: dict[str, Any]) -> list[str]:
    """The coverage that is reached for each promise, as lines of text, from `figures`; none where there are none."""
    kinds = {"pixels": measured, "photographs": measured.get("pictures", {})}
    return [
        f"{kind} accepted with " + ", ".join(map(_in_words, part["selective_prediction"]))
        for kind, part in kinds.items()
        if "selective_prediction" in part
    ]


def _in_words(promise: dict[str, Any]) -> str:
    limit = f"at most {100 * promise['max_error']:g} % wrong"
    if promise["threshold"] is None:
        return f"{limit}: not reachable"
    reached = "none" if promise["error"] is None else f"{100 * promise['error']:.2f} % of them wrong"
    return f"{limit}: {100 * promise['coverage']:.2f} % ({reached})"


def _of_pictures(scores: Scores, thresholds: tuple[float, ...]) -> dict[str, Any]:
    is_right = 1 - scores.errors / scores.units
    return {
        "num_examples": len(scores.units),
        "accuracy": scores.accuracy,
        "expected_calibration_error_calibrated": float(metrics.calibration_error(scores.confidence, is_right)),
        "with_problem": float((scores.confidence == 0).mean()),
        "selective_prediction": selective.figures(scores, thresholds),
    }
