"""Examples whose labels a model doubts: a list to look at, and to give to preprocess as `--exclude`.

Only a model that was not trained on an example can doubt its label; trained for long, it would have learnt it by heart.
"""

from collections.abc import Callable, Sequence

import numpy as np

from common.dataset import exclude_list
from trainer.data.examples import Examples
from trainer.evaluation import holdout
from trainer.evaluation.scores import Scores

MIN_CONFIDENCE = 0.9


def find(scores: Scores) -> np.ndarray:
    """Which examples, int64 [M], a model answers otherwise than their label, with a confidence of at least
    `MIN_CONFIDENCE`; the most confident first.
    """
    numbers = np.flatnonzero((scores.errors > 0) & (scores.confidence >= MIN_CONFIDENCE))
    return numbers[np.argsort(-scores.confidence[numbers], kind="stable")]


def listed(examples: Examples, scores: Scores, remarks: Callable[[np.ndarray], Sequence[str]]) -> str:
    """The list, in the form of `exclude_list`: behind its key a remark about each of those with these numbers."""
    numbers = find(scores)
    return exclude_list.format_lines(holdout.pixel_hashes(examples)[numbers], remarks(numbers))
