"""The HTML report of a finished run, or a comparison of several: one self-contained file, no network."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common import marks
from common.errors import InputError
from common.storage import make_folder, to_path, write_atomically
from trainer import tasks
from trainer.config.commands import ReportConfig
from trainer.evaluation import significance
from trainer.evaluation.scores import Scores
from trainer.reporting import charts, pages, progress_charts
from trainer.runs import run_folder
from trainer.runs.run_folder import Results

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

COMPARISON = "comparison.html"

_COLUMNS = (
    ("test accuracy", "accuracy"),
    ("95 % interval", "accuracy_interval_95"),
    ("character error rate", "character_error_rate"),
    ("95 % interval", "character_error_rate_interval_95"),
    ("word error rate", "word_error_rate"),
    ("loss", "loss"),
    ("macro F1", "macro_f1"),
    ("calibration error", "expected_calibration_error_calibrated"),
)
"""The metrics of the test split that runs are shown with, if any of them has these: title and name."""


def run(config: ReportConfig) -> str:
    """Writes the page and returns its path. Raises `InputError` for a folder that holds no finished run."""
    if not config.runs:
        raise InputError("RUN: name at least one run folder")
    if config.price_per_hour is not None and not config.price_per_hour >= 0:
        raise InputError(f"--price-per-hour {config.price_per_hour}: must be a number from 0")
    folders = [to_path(location) for location in config.runs]
    results = [run_folder.read_results(folder) for folder in folders]
    if len(results) == 1:
        page, default = (
            tasks.of(results[0].schema).page(results[0], config.price_per_hour),
            folders[0] / run_folder.REPORT,
        )
    else:
        page, default = _of_several(results, config.price_per_hour), Path(COMPARISON)
    path = default if config.output is None else to_path(config.output)
    make_folder(path.parent)
    write_atomically(path, page.encode())
    return str(path)


def _of_several(results: list[Results], price_per_hour: float | None) -> str:
    names = _short_names([run.folder for run in results])
    settings = [{name: value for name, value, _ in marks.values(run.config)} for run in results]
    best = max(range(len(results)), key=lambda number: results[number].metrics["test"]["accuracy"])
    lines = results[best].run_info["dataset"].get("lines")
    return pages.render(
        "comparison.html.j2",
        library=charts.library(),
        title=f"{len(results)} runs compared",
        names=names,
        runs=results,
        costs=[progress_charts.cost_of(result, price_per_hour) for result in results],
        best=best,
        columns=[(title, name) for title, name in _COLUMNS if any(name in run.metrics["test"] for run in results)],
        group=lines and lines["group_by"],
        curves=progress_charts.overlaid_curves(names, results),
        comparisons=_against(best, results),
        changed=[
            name
            for name in settings[0]
            if name not in ("data", "run_dir") and any(other[name] != settings[0][name] for other in settings)
        ],
        settings=settings,
    )


@dataclass(frozen=True)
class Compared:
    """A run compared with the best one."""

    difference: significance.Difference | None
    """None for the best run itself, and for a run on other test examples."""
    p_value: float | None
    """The p-value, corrected for the number of comparisons."""


def _against(best: int, results: list[Results]) -> list[Compared]:
    """Compares the best run's accuracy with each other run's, if both were evaluated on the same test examples.

    Where these have groups, such as writers, by the errors in each group.
    """

    def tested_on(result: Results) -> tuple[str, int, bytes]:
        num_examples = result.metrics["test"]["num_examples"]  # a smoke test uses a few
        return result.run_info["test_fingerprint"], num_examples, result.left_out("test").tobytes()

    scores = [_scores(result) for result in results]
    differences = {
        number: significance.compare(scores[best], scores[number])
        for number, result in enumerate(results)
        if number != best and tested_on(result) == tested_on(results[best])
    }
    p_values = significance.correct_for_many([difference.p_value for difference in differences.values()])
    corrected = dict(zip(differences, p_values, strict=True))
    return [Compared(differences.get(number), corrected.get(number)) for number in range(len(results))]


def _scores(results: Results) -> Scores:
    schema = results.schema
    return tasks.of(schema).score(results.predictions, schema.vocabulary, schema)


def _short_names(folders: "list[AnyPath]") -> list[str]:
    """The last part of each path, or as many of the last parts as make the names distinct."""
    paths = [folder.absolute() for folder in folders]
    for length in range(1, max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            return names
    return [str(path) for path in paths]
