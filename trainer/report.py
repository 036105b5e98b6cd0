"""The page that shows a finished run, or compares several: one HTML file that needs nothing else, and no network."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from common import config_io
from common.dataset.schema import IMAGE
from common.errors import InputError
from common.storage import make_folder, to_path, write_atomically
from trainer import config as configs
from trainer.config import ReportConfig, TrainConfig
from trainer.data import input_pipeline
from trainer.data.input_pipeline import Examples
from trainer.evaluation import metrics, significance
from trainer.reporting import charts, pages, published, reproduction
from trainer.reporting.charts import Series
from trainer.runs import run_folder
from trainer.runs.run_folder import Results

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

COMPARISON = "comparison.html"

_CONFUSED_PAIRS, _PICTURES_OF_A_PAIR = 12, 8
_CONFIDENT_MISTAKES = 48
_PASSES_OF_A_STEP = 3
"""A step costs about as much as three predictions: forward, and twice that backward."""
_PREVIEW = "preview.png"

_log = logging.getLogger(__name__)


def run(config: ReportConfig) -> str:
    """Writes the page and returns its path. Raises `InputError` for a folder that holds no finished run."""
    if not config.runs:
        raise InputError("RUN: name at least one run folder")
    if config.price_per_hour is not None and not config.price_per_hour >= 0:
        raise InputError(f"--price-per-hour {config.price_per_hour}: must be a number from 0")
    folders = [to_path(location) for location in config.runs]
    results = [run_folder.read_results(folder) for folder in folders]
    if len(results) == 1:
        page, default = _of_one(results[0], config.price_per_hour), folders[0] / run_folder.REPORT
    else:
        page, default = _of_several(results, config.price_per_hour), Path(COMPARISON)
    path = default if config.output is None else to_path(config.output)
    make_folder(path.parent)
    write_atomically(path, page.encode())
    return str(path)


@dataclass(frozen=True)
class Mistake:
    """A test example that was taken for another class."""

    picture: str
    """A data URI; so are all pictures."""
    true: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class ConfusedPair:
    true: str
    predicted: str
    count: int
    share: float
    """Of the true class' examples."""
    pictures: list[str]


def _of_one(results: Results, price_per_hour: float | None) -> str:
    test, facts = results.metrics["test"], results.facts
    names = tuple(test["per_class"])
    examples = _test_examples(results)
    calibrated = metrics.calibrate(results.probabilities, results.metrics["temperature"])
    dataset_folder = to_path(results.config.data)
    return pages.render(
        "report.html.j2",
        library=charts.library(),
        title=f"{facts['dataset']['dataset']} · {results.config.model}",
        run=results,
        test=test,
        published=published.BY_DATASET.get(facts["dataset"]["dataset"]),
        curves=_curves(results),
        confusion=charts.confusion("confusion", np.array(test["confusion_matrix"]), names),
        per_class=charts.per_class("per-class", test["per_class"]),
        reliability=charts.reliability("reliability", _reliability(results)),
        pairs=_confused_pairs(results, examples, calibrated),
        mistakes=_confident_mistakes(results, examples, calibrated, names),
        has_pictures=examples is not None,
        preview=_file_as_data_uri(dataset_folder / _PREVIEW) if examples else None,
        augmentation=_file_as_data_uri(results.folder / run_folder.AUGMENTATION),
        settings=yaml.safe_dump(config_io.to_plain(results.config), sort_keys=False, allow_unicode=True),
        changed=configs.differences(results.config, TrainConfig(results.config.data, results.config.run_dir)),
        cost=_cost(results, price_per_hour),
        command=reproduction.command(results),
    )


def _of_several(results: list[Results], price_per_hour: float | None) -> str:
    names = _short_names([one.folder for one in results])
    settings = [config_io.to_plain(one.config) for one in results]
    best = max(range(len(results)), key=lambda number: results[number].metrics["test"]["accuracy"])
    return pages.render(
        "comparison.html.j2",
        library=charts.library(),
        title=f"{len(results)} runs compared",
        names=names,
        runs=results,
        costs=[_cost(one, price_per_hour) for one in results],
        best=best,
        curves=_overlaid_curves(names, results),
        comparisons=_against(best, results),
        changed=[
            name
            for name in settings[0]
            if name not in ("data", "run_dir") and any(other[name] != settings[0][name] for other in settings)
        ],
        settings=settings,
    )


def _test_examples(results: Results) -> Examples | None:
    """The test split that the run was evaluated on; None, with a notice, if it is not where it was."""
    try:
        return input_pipeline.open_test_split(results)
    except (InputError, OSError) as error:
        _log.warning("the report has no pictures of mistakes: %s", error)
        return None


def _curves(results: Results) -> list[charts.Markup]:
    def of(key: str) -> list[Series]:
        splits = [split for split in ("train", "validation") if split in results.epochs[0]]
        return [Series(split, [line[split][key] for line in results.epochs]) for split in splits]

    rates = Series("learning rate", [line["learning_rate"] for line in results.epochs])
    speeds = Series("examples/s", [line["examples_per_second"] for line in results.timings])
    return [
        charts.lines("loss", "Loss (cross-entropy, nats)", of("loss")),
        charts.lines("accuracy", "Accuracy", of("accuracy"), is_share=True),
        charts.lines("learning-rate", "Learning rate at the end of the epoch", [rates], from_zero=True),
        charts.lines("speed", "Examples per second", [speeds], from_zero=True),
    ]


def _overlaid_curves(names: list[str], results: list[Results]) -> list[charts.Markup]:
    """Of validation, where all runs have it, or else of training."""
    split = "validation" if all("validation" in one.epochs[0] for one in results) else "train"

    def of(key: str) -> list[Series]:
        return [
            Series(name, [line[split][key] for line in one.epochs]) for name, one in zip(names, results, strict=True)
        ]

    return [
        charts.lines("loss", f"Loss of {split} (cross-entropy, nats)", of("loss")),
        charts.lines("accuracy", f"Accuracy of {split}", of("accuracy"), is_share=True),
    ]


def _reliability(results: Results) -> dict[str, list[dict[str, float]]]:
    before = metrics.reliability(results.labels, results.probabilities)
    return {"before calibration": before, "after": results.metrics["test"]["reliability"]}


def _confused_pairs(results: Results, examples: Examples | None, calibrated: np.ndarray) -> list[ConfusedPair]:
    names = list(results.metrics["test"]["per_class"])
    predicted, confidence = calibrated.argmax(axis=1), calibrated.max(axis=1)
    pairs = []
    for pair in results.metrics["test"]["most_confused"][:_CONFUSED_PAIRS]:
        is_pair = (results.labels == names.index(pair["true"])) & (predicted == names.index(pair["predicted"]))
        found = np.flatnonzero(is_pair)
        surest = found[np.argsort(-confidence[found], kind="stable")][:_PICTURES_OF_A_PAIR]
        pairs.append(ConfusedPair(**pair, pictures=_pictures(examples, surest)))
    return pairs


def _confident_mistakes(
    results: Results, examples: Examples | None, calibrated: np.ndarray, names: tuple[str, ...]
) -> list[Mistake]:
    predicted, confidence = calibrated.argmax(axis=1), calibrated.max(axis=1)
    wrong = np.flatnonzero(predicted != results.labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:_CONFIDENT_MISTAKES]
    return [
        Mistake(picture, names[results.labels[number]], names[predicted[number]], float(confidence[number]))
        for picture, number in zip(_pictures(examples, surest), surest, strict=bool(examples))
    ]


def _pictures(examples: Examples | None, numbers: np.ndarray) -> list[str]:
    """Those of the examples so numbered."""
    if examples is None or not len(numbers):
        return []
    return [pages.picture(image) for image in examples.take(numbers)[IMAGE]]


def _file_as_data_uri(path: "AnyPath") -> str | None:
    return pages.as_data_uri(path.read_bytes()) if path.is_file() else None


@dataclass(frozen=True)
class Cost:
    """What the training took. Validation and what comes after the training is not in it."""

    seconds: float
    seconds_per_epoch: float
    examples_per_second: float
    device_hours_per_epoch: float
    petaflop: float
    """10^15 floating-point operations of the networks' layers."""
    price_per_epoch: float | None


def _cost(results: Results, price_per_hour: float | None) -> Cost:
    # An epoch that was interrupted has, in its line, only what was done after the interruption.
    seconds = sum(line["seconds"] for line in results.timings)
    examples = sum(line["num_examples"] for line in results.timings)
    seen = sum(line["train"]["num_examples"] for line in results.epochs)
    rate = examples / seconds if seconds else 0.0
    seconds_per_epoch = seen / len(results.epochs) / rate if rate else 0.0
    return Cost(
        seconds=seconds,
        seconds_per_epoch=seconds_per_epoch,
        examples_per_second=rate,
        device_hours_per_epoch=seconds_per_epoch / 3600 * results.facts["num_replicas"],
        petaflop=seen * _PASSES_OF_A_STEP * results.facts["flops_per_image"] / 1e15,
        price_per_epoch=None if price_per_hour is None else seconds_per_epoch / 3600 * price_per_hour,
    )


@dataclass(frozen=True)
class Compared:
    """How a run stands to the best one."""

    difference: significance.Difference | None
    """None where the test examples are others, or for the best run itself."""
    p_value: float | None
    """Corrected for the number of comparisons."""


def _against(best: int, results: list[Results]) -> list[Compared]:
    """The best run's accuracy against that of each, on the same test examples."""
    right = [one.probabilities.argmax(axis=1) == one.labels for one in results]
    differences = {
        number: significance.compare(right[best], right[number])
        for number, one in enumerate(results)
        if number != best and one.facts["test_fingerprint"] == results[best].facts["test_fingerprint"]
    }
    p_values = significance.correct_for_many([difference.p_value for difference in differences.values()])
    corrected = dict(zip(differences, p_values, strict=True))
    return [Compared(differences.get(number), corrected.get(number)) for number in range(len(results))]


def _short_names(folders: "list[AnyPath]") -> list[str]:
    """The last part of each path, or as many parts as tell them apart."""
    paths = [folder.absolute() for folder in folders]
    for length in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            return names
    return [str(path) for path in paths]
