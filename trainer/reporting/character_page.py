"""The HTML report of one run of the characters task: one self-contained file, no network."""

from dataclasses import dataclass

import numpy as np

from common.dataset.schema import IMAGE
from trainer.data.examples import Examples
from trainer.evaluation import metrics
from trainer.reporting import charts, pages, run_page
from trainer.runs.run_folder import Results

_CONFUSED_PAIRS, _PICTURES_OF_A_PAIR = 12, 8
_CONFIDENT_MISTAKES = 48


@dataclass(frozen=True)
class Mistake:
    """A misclassified test example."""

    picture: str
    """A data URI, as all pictures here."""
    true: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class ConfusedPair:
    true: str
    predicted: str
    count: int
    share: float
    """The share of the true class' examples."""
    pictures: list[str]


def render(results: Results, price_per_hour: float | None) -> str:
    """Renders the report; `price_per_hour` is the price of the machines, if known."""
    test, examples = results.metrics["test"], run_page.test_examples(results)
    names = tuple(test["per_class"])
    calibrated = metrics.calibrate(results.predictions["probabilities"], results.metrics["temperature"])
    return pages.render(
        "character_report.html.j2",
        **run_page.common_values(results, examples, price_per_hour),
        confusion=charts.confusion("confusion", np.array(test["confusion_matrix"]), names),
        per_class=charts.per_class("per-class", test["per_class"]),
        reliability=charts.reliability("reliability", _reliability(results)),
        pairs=_confused_pairs(results, examples, calibrated),
        mistakes=_confident_mistakes(results, examples, calibrated, names),
    )


def _reliability(results: Results) -> dict[str, list[dict[str, float]]]:
    before = metrics.reliability(results.predictions["labels"], results.predictions["probabilities"])
    return {"before calibration": before, "after": results.metrics["test"]["reliability"]}


def _confused_pairs(results: Results, examples: Examples | None, calibrated: np.ndarray) -> list[ConfusedPair]:
    names = list(results.metrics["test"]["per_class"])
    predicted, confidence = calibrated.argmax(axis=1), calibrated.max(axis=1)
    pairs = []
    for pair in results.metrics["test"]["most_confused"][:_CONFUSED_PAIRS]:
        is_pair = (results.predictions["labels"] == names.index(pair["true"])) & (
            predicted == names.index(pair["predicted"])
        )
        numbers = np.flatnonzero(is_pair)
        surest = numbers[np.argsort(-confidence[numbers], kind="stable")][:_PICTURES_OF_A_PAIR]
        pairs.append(ConfusedPair(**pair, pictures=_pictures(examples, surest)))
    return pairs


def _confident_mistakes(
    results: Results, examples: Examples | None, calibrated: np.ndarray, names: tuple[str, ...]
) -> list[Mistake]:
    predicted, confidence = calibrated.argmax(axis=1), calibrated.max(axis=1)
    wrong = np.flatnonzero(predicted != results.predictions["labels"])
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:_CONFIDENT_MISTAKES]
    return [
        Mistake(
            picture, names[results.predictions["labels"][number]], names[predicted[number]], float(confidence[number])
        )
        for picture, number in zip(_pictures(examples, surest), surest, strict=bool(examples))
    ]


def _pictures(examples: Examples | None, numbers: np.ndarray) -> list[str]:
    """The pictures of the examples at these indices."""
    if examples is None or not len(numbers):
        return []
    return [pages.picture(image) for image in examples.take(numbers)[IMAGE]]
