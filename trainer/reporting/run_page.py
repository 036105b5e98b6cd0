"""What the reports of all tasks show of a run: progress, data, time, settings."""

import logging
from typing import TYPE_CHECKING, Any

import yaml

from common import config_io
from common.errors import InputError
from common.storage import to_path
from trainer.config import settings as configs
from trainer.data import datasets
from trainer.data.examples import Examples
from trainer.reporting import charts, pages, progress_charts, reproduction
from trainer.runs import run_folder
from trainer.runs.run_folder import Results

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_PREVIEW = "preview.png"

_log = logging.getLogger(__name__)


def common_values(results: Results, examples: Examples | None, price_per_hour: float | None) -> dict[str, Any]:
    """The values that `report.html.j2` takes for a run of any task, whose test split is `examples`, if it is there."""
    return {
        "library": charts.library(),
        "title": f"{results.run_info['dataset']['dataset']} · {results.config.model}",
        "run": results,
        "test": results.metrics["test"],
        "curves": progress_charts.curves(results),
        "has_pictures": examples is not None,
        "preview": _file_as_data_uri(to_path(results.config.data.folder) / _PREVIEW) if examples else None,
        "augmentation": _file_as_data_uri(results.folder / run_folder.AUGMENTATION),
        "settings": yaml.safe_dump(config_io.to_plain(results.config), sort_keys=False, allow_unicode=True),
        "changed": yaml.safe_dump(configs.recipe_of(results.config), sort_keys=False, allow_unicode=True),
        "cost": progress_charts.cost_of(results, price_per_hour),
        "command": reproduction.command(results),
    }


def test_examples(results: Results) -> Examples | None:
    """The test split that the run was evaluated on; None, with a warning, if it cannot be opened."""
    try:
        return datasets.test_examples_of(results)
    except (InputError, OSError) as error:
        _log.warning("the report has no pictures of mistakes: %s", error)
        return None


def _file_as_data_uri(path: "AnyPath") -> str | None:
    return pages.as_data_uri(path.read_bytes()) if path.is_file() else None
