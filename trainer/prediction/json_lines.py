"""Predictions as lines of JSON, whatever is read: what they say, and what is counted of them."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from common.normalize import problems
from trainer.evaluation import selective
from trainer.prediction.parts import Item
from trainer.serving import loading

BATCH_SIZE = 256
PREDICTED, UNREADABLE, ACCEPTED, UNJUDGED = "predicted", "unreadable", "accepted", "unjudged"
TOP = 3
"""The most alternatives of a line."""
_DIGITS = 6
_OF_GRAPH = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # what PNG and JPEG files begin with

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """A line of the output, and its image, uint8 [H, W, 1]; None if the item could not be read."""

    line: dict[str, Any]
    image: np.ndarray | None


Predict = Callable[[Sequence[Item]], list[Prediction]]
"""The predictions of items, in their order."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with an item: its code in `common.normalize.problems`, and a message; both empty if nothing is."""

    code: str = ""
    message: str = ""

    @property
    def hinders(self) -> bool:
        """Whether there is no reading."""
        return bool(self.code) and self.code not in problems.DOUBTS


def tell(counts: Mapping[str, int], max_error: float) -> None:
    """Logs how many of the characters had which outcome (see `outcomes`)."""
    _log.info("predicted     %s readings", f"{counts.get(PREDICTED, 0):,}")
    if not counts.get(UNJUDGED):
        _log.info("accepted      %s of them, with at most %g %% wrong", f"{counts.get(ACCEPTED, 0):,}", 100 * max_error)
    if counts.get(UNREADABLE):
        _log.warning("%s inputs could not be read; their lines have a `problem`", f"{counts[UNREADABLE]:,}")
    with_problems = [f"{code} {counts[code]:,}" for code in problems.MESSAGES if counts.get(code)]
    if with_problems:
        _log.warning("problems      %s", ", ".join(with_problems))


def outcomes(line: Mapping[str, Any]) -> Iterator[str]:
    """What is counted of a line: that it has a reading or none, that this is accepted, the code of its problem."""
    yield PREDICTED if "confidence" in line else UNREADABLE
    if line["accepted"] is not False:
        yield ACCEPTED if line["accepted"] else UNJUDGED
    if "problem" in line:
        yield line["problem"]


def to_line(line: dict[str, Any]) -> bytes:
    """The line as JSON, without a line break."""
    return json.dumps(line, ensure_ascii=False).encode()


def thresholds(model: tf.Module, max_error: float) -> tuple[float | None, float | None]:
    """The confidence from which on readings of pixels, and of pictures, are accepted; None if the model has none."""
    calibration = loading.calibration(model)
    return calibration.threshold_for(max_error), calibration.picture_threshold_for(max_error)


def judgement(confidence: float, limit: float | None, problem: Problem) -> dict[str, Any]:
    """What a line says of how far its reading can be trusted: `confidence` and `accepted`."""
    is_sure = None if limit is None else bool(selective.is_accepted(np.array(confidence), limit))
    return {"confidence": round(confidence, _DIGITS), "accepted": is_sure and not problem.code}


def complaint(problem: Problem) -> dict[str, str]:
    """What a line says of what is wrong; nothing if nothing is."""
    return {"problem": problem.code, "message": problem.message} if problem.code else {}


def is_of_graph(content: bytes) -> bool:
    """Whether a model decodes such a file itself."""
    return content.startswith(_OF_GRAPH)


def rounded(top: Sequence[tuple[str, float]]) -> list[list[Any]]:
    """Readings and their probabilities, for a line."""
    return [[name, round(probability, _DIGITS)] for name, probability in top]
