"""Examples whose labels a model doubts: a list to look at, and to give to preprocess as `--drop-keys`.

Only a model that was not trained on an example can doubt its label; trained for long, it would have learnt it by heart.
"""

import numpy as np

from common.dataset import exclude_list
from trainer.data.input_pipeline import Examples
from trainer.evaluation import holdout

MIN_CONFIDENCE = 0.9


def find(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Which examples, int64 [M], have another class of at least `MIN_CONFIDENCE`, the most confident first.

    `labels` are int64 [N], `probabilities` calibrated, [N, C].
    """
    confidence = probabilities.max(axis=1)
    numbers = np.flatnonzero((probabilities.argmax(axis=1) != labels) & (confidence >= MIN_CONFIDENCE))
    return numbers[np.argsort(-confidence[numbers], kind="stable")]


def listed(examples: Examples, labels: np.ndarray, probabilities: np.ndarray, class_names: tuple[str, ...]) -> str:
    """The list, in the form of `exclude_list`: behind its key what an example is called, and what it looks like."""
    numbers = find(labels, probabilities)
    found = probabilities[numbers]
    remarks = [
        f"{class_names[label]}, looks like {class_names[row.argmax()]} ({row.max():.1%})"
        for label, row in zip(labels[numbers], found, strict=True)
    ]
    return exclude_list.format_lines(holdout.contents(examples)[numbers], remarks)
