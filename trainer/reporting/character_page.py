"""The HTML report of one run of the characters task: one self-contained file, no network."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import yaml

from common import config_io
from common.dataset.schema import IMAGE
from common.errors import InputError
from common.storage import to_path
from trainer.config import settings as configs
from trainer.data import datasets
from trainer.data.examples import Examples
from trainer.evaluation import metrics
from trainer.reporting import charts, pages, progress_charts, reproduction
from trainer.runs import run_folder
from trainer.runs.run_folder import Results

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_CONFUSED_PAIRS, _PICTURES_OF_A_PAIR = 12, 8
_CONFIDENT_MISTAKES = 48
_PREVIEW = "preview.png"

_log = logging.getLogger(__name__)


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
    test, run_info = results.metrics["test"], results.run_info
    names = tuple(test["per_class"])
    examples = _test_examples(results)
    calibrated = metrics.calibrate(results.predictions["probabilities"], results.metrics["temperature"])
    dataset_folder = to_path(results.config.data.folder)
    return pages.render(
        "report.html.j2",
        library=charts.library(),
        title=f"{run_info['dataset']['dataset']} · {results.config.model}",
        run=results,
        test=test,
        curves=progress_charts.curves(results),
        confusion=charts.confusion("confusion", np.array(test["confusion_matrix"]), names),
        per_class=charts.per_class("per-class", test["per_class"]),
        reliability=charts.reliability("reliability", _reliability(results)),
        pairs=_confused_pairs(results, examples, calibrated),
        mistakes=_confident_mistakes(results, examples, calibrated, names),
        has_pictures=examples is not None,
        preview=_file_as_data_uri(dataset_folder / _PREVIEW) if examples else None,
        augmentation=_file_as_data_uri(results.folder / run_folder.AUGMENTATION),
        settings=yaml.safe_dump(config_io.to_plain(results.config), sort_keys=False, allow_unicode=True),
        changed=yaml.safe_dump(configs.recipe_of(results.config), sort_keys=False, allow_unicode=True),
        cost=progress_charts.cost_of(results, price_per_hour),
        command=reproduction.command(results),
    )


def _test_examples(results: Results) -> Examples | None:
    """The test split that the run was evaluated on; None, with a warning, if it cannot be opened."""
    try:
        return datasets.test_examples_of(results)
    except (InputError, OSError) as error:
        _log.warning("the report has no pictures of mistakes: %s", error)
        return None


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


def _file_as_data_uri(path: "AnyPath") -> str | None:
    return pages.as_data_uri(path.read_bytes()) if path.is_file() else None
