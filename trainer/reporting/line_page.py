"""The HTML report of one run of the lines task: one self-contained file, no network."""

from dataclasses import dataclass

import numpy as np

from common.dataset.schema import GROUP, IMAGE, WIDTH
from trainer.data import datasets
from trainer.data.examples import Examples
from trainer.evaluation import readings
from trainer.evaluation.line_predictions import LOG_CONFIDENCE, read, truths
from trainer.reporting import charts, pages, run_page
from trainer.runs.run_folder import Results

_WORST = 24
_NAMES = {" ": "space", "": "nothing"}


@dataclass(frozen=True)
class Line:
    """A test line as it was read."""

    picture: str | None
    """A data URI; None if the dataset could not be opened."""
    truth: str
    differences: list[tuple[str, str, str]]
    """Of the reading, as in `readings.differences`."""
    errors: int
    length: int
    confidence: float
    origin: str
    """Where the line comes from; empty if unknown."""


def render(results: Results, price_per_hour: float | None) -> str:
    """Renders the report; `price_per_hour` is the price of the machines, if known."""
    test = results.metrics["test"]
    examples = run_page.test_examples(results)
    origins = datasets.test_origins_of(results, examples) if examples else []
    numbers = results.predictions[GROUP].tolist()
    names = {str(number): origin["group"] for number, origin in zip(numbers, origins, strict=False)}
    lines = results.run_info["dataset"]["lines"]
    return pages.render(
        "line_report.html.j2",
        **run_page.common_values(results, examples, price_per_hour),
        group=lines["group_by"] if lines else "group",
        group_names=names,
        worst=_worst_lines(results, examples, origins),
        reliability=charts.reliability("reliability", {"calibrated": test["reliability"]}),
        interval=_interval,
        shown=lambda text: _NAMES.get(text, text),
    )


def _interval(interval: list[float] | None) -> str:
    if interval is None:
        return "no interval, for want of groups"
    return f"95 % interval {pages.percent(interval[0])} to {pages.percent(interval[1])}"


def _worst_lines(results: Results, examples: Examples | None, origins: list[dict[str, str]]) -> list[Line]:
    numbers = np.array(results.metrics["test"]["worst_by_rate"][:_WORST], np.int64)
    if not len(numbers):
        return []
    schema = results.schema
    chosen = {name: values[numbers] for name, values in results.predictions.items()}
    texts = truths(chosen, schema.characters), read(chosen, schema.vocabulary)
    wrong = readings.errors(*texts)
    confidence = readings.calibrate(chosen[LOG_CONFIDENCE], results.metrics["temperature"])
    pictures = _pictures(examples, numbers) if examples else [None] * len(numbers)
    return [
        Line(
            picture,
            truth,
            readings.differences(truth, reading),
            int(wrong[place]),
            len(truth),
            float(confidence[place]),
            _origin(origins[number]) if origins else "",
        )
        for place, (number, picture, truth, reading) in enumerate(zip(numbers, pictures, *texts, strict=True))
    ]


def _pictures(examples: Examples, numbers: np.ndarray) -> list[str]:
    batch = examples.take(numbers)
    return [pages.picture(image[:, :width]) for image, width in zip(batch[IMAGE], batch[WIDTH], strict=True)]


def _origin(origin: dict[str, str]) -> str:
    return " ".join(filter(None, (origin.get("source"), origin.get("line"))))
