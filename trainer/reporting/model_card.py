"""The model card: what to know about a model before using it, as Markdown beside the model.

After Mitchell et al., "Model cards for model reporting", 2019.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from common.formats.picture import MAX_PIXELS
from common.normalize import picture, problems
from trainer.config import settings as configs
from trainer.reporting import pages, reproduction
from trainer.runs.run_folder import Results

_LOOK_ALIKES = {"0, O and o": "0Oo", "1, I and l": "1Il"}
_BOTH_CASES = "upper and lower case of a letter"
_CONFUSED_PAIRS = 5
_WRITING = ("emnist", "mnist", "synthetic")
_IDX = "images-idx3-ubyte"


@dataclass(frozen=True)
class LookAlikes:
    """The mistakes among characters that are written alike."""

    name: str
    mistakes: int
    """Test examples of one of these characters that were taken for another of them."""
    share: float
    """The share of all mistakes."""


def render(results: Results) -> str:
    """The card of a run's SavedModel, in Markdown."""
    test = results.metrics["test"]
    names = tuple(test["per_class"])
    family = family_of(results)
    files = [file["name"] for file in results.run_info["dataset"]["files"]]
    height, width, _ = results.schema.image_shape
    return pages.render(
        "character_card.md.j2",
        **common_values(results),
        height=height,
        width=width,
        conversion_version=picture.VERSION,
        doubts=[code for code in picture.CODES if code in problems.DOUBTS],
        may_be_no_writing=family not in _WRITING and any(_IDX in name for name in files),
        weakest=sorted(
            (name for name in names if test["per_class"][name]["support"]),
            key=lambda name: test["per_class"][name]["recall"],
        )[:_CONFUSED_PAIRS],
        confused=test["most_confused"][:_CONFUSED_PAIRS],
        look_alikes=look_alikes(np.array(test["confusion_matrix"]), names),
    )


def common_values(results: Results) -> dict[str, Any]:
    """The values that `model_card.md.j2` takes for a run of any task."""
    return {
        "run": results,
        "test": results.metrics["test"],
        "names": results.schema.vocabulary,
        "family": family_of(results),
        "max_pixels": MAX_PIXELS,
        "recipe": yaml.safe_dump(configs.recipe_of(results.config), sort_keys=False, allow_unicode=True),
        "command": reproduction.command(results),
    }


def family_of(results: Results) -> str:
    """The first part of the dataset's name."""
    return results.run_info["dataset"]["dataset"].split("/")[0]


def look_alikes(matrix: np.ndarray, class_names: tuple[str, ...]) -> list[LookAlikes]:
    """The mistakes in a confusion matrix [C, C] among characters that are written alike, by group."""
    mistakes = matrix * ~np.eye(len(matrix), dtype=bool)
    groups = {name: [characters] for name, characters in _LOOK_ALIKES.items()}
    groups[_BOTH_CASES] = [name + name.lower() for name in class_names if len(name) == 1 and name != name.lower()]
    counted = []
    for name, sets in groups.items():
        count, has_both = 0, False
        for characters in sets:
            members = [number for number, character in enumerate(class_names) if character in characters]
            has_both |= len(members) > 1
            count += int(mistakes[np.ix_(members, members)].sum())
        if has_both:
            counted.append(LookAlikes(name, count, count / max(int(mistakes.sum()), 1)))
    return counted
