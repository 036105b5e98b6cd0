"""Likely label errors: a list to review, and to give to preprocess as `--exclude`.

Only a model that was not trained on an example can detect its label error: a long training memorises labels.
"""

from collections.abc import Callable, Sequence

import numpy as np

from common.dataset import exclude_list
from trainer.data.examples import Examples
from trainer.evaluation import holdout
from trainer.evaluation.scores import Scores

MIN_CONFIDENCE = 0.9


def find(scores: Scores) -> np.ndarray:
    """Indices, int64 [M], of the examples whose answer differs from their label, the most confident first.

    The confidence of the answer is at least `MIN_CONFIDENCE`.
    """
    numbers = np.flatnonzero((scores.errors > 0) & (scores.confidence >= MIN_CONFIDENCE))
    return numbers[np.argsort(-scores.confidence[numbers], kind="stable")]


def listed(examples: Examples, scores: Scores, remarks: Callable[[np.ndarray], Sequence[str]]) -> str:
    """The list in the format of `exclude_list`; `remarks` gives a remark for each of the examples at these indices."""
    numbers = find(scores)
    return exclude_list.format_lines(holdout.pixel_hashes(examples)[numbers], remarks(numbers))
