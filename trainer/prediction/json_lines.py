"""Predicts items as lines of JSON, a batch at a time."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from common.errors import InputError
from common.formats import picture
from common.normalize import problems
from trainer.evaluation import selective
from trainer.prediction.inputs import Item
from trainer.serving import loading

BATCH_SIZE = 256
PREDICTED, UNREADABLE, ACCEPTED, UNJUDGED = "predicted", "unreadable", "accepted", "unjudged"
_TOP = 3
_DIGITS = 6
_OF_GRAPH = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # what PNG and JPEG files begin with
_EARLIER_COMPLAINTS = {  # of models that were exported before there were codes
    "holds no ink": "no-ink",
    "is neither a PNG nor a JPEG picture": "unknown-format",
    "cannot be decoded": "cannot-decode",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """A line of the output, and its image, uint8 [H, W, 1]; None if the item could not be read."""

    line: dict[str, Any]
    image: np.ndarray | None


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
    _log.info("predicted     %s characters", f"{counts.get(PREDICTED, 0):,}")
    if not counts.get(UNJUDGED):
        _log.info("accepted      %s of them, with at most %g %% wrong", f"{counts.get(ACCEPTED, 0):,}", 100 * max_error)
    if counts.get(UNREADABLE):
        _log.warning("%s inputs could not be read; their lines have a `problem`", f"{counts[UNREADABLE]:,}")
    with_problems = [f"{code} {counts[code]:,}" for code in problems.MESSAGES if counts.get(code)]
    if with_problems:
        _log.warning("problems      %s", ", ".join(with_problems))


def outcomes(line: Mapping[str, Any]) -> Iterator[str]:
    """What is counted of a line: that it has a reading or none, that this is accepted, the code of its problem."""
    yield PREDICTED if "character" in line else UNREADABLE
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


def make_predict(model: tf.Module, fingerprint: str, max_error: float) -> Callable[[Sequence[Item]], list[Prediction]]:
    """Returns `predict(items)`: their predictions, in order. The lines name the model by its `fingerprint`.

    Readings are accepted if at most the share `max_error` of such readings is wrong, and if nothing is the matter.
    """
    names = loading.class_names(model)
    if not hasattr(model, "convert"):
        raise InputError("--model: cannot read pictures of characters; give a model that recognises characters")
    size, limits = loading.image_size(model), thresholds(model, max_error)

    def of_pixels(images: tf.Tensor) -> tf.Tensor:
        return model.signatures["image_tensor"](image=images)["probabilities"]

    recognisers = (of_pixels, getattr(model, "recognise_pictures", of_pixels))

    def predict(items: Sequence[Item]) -> list[Prediction]:
        images, causes = _to_images(model, items, size)
        is_picture = np.array([isinstance(item.content, bytes) for item in items])
        probabilities = np.zeros((len(items), len(names)), np.float32)
        for members, recognise in zip((~is_picture, is_picture), recognisers, strict=True):
            if members.any():
                probabilities[members] = recognise(tf.constant(images[members])).numpy()
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :_TOP]
        predictions = []
        for number, (item, problem) in enumerate(zip(items, causes, strict=True)):
            limit = limits[int(is_picture[number])]
            top = [(names[place], float(probabilities[number, place])) for place in order[number]]
            line = item.source | _line_of(top, problem, limit) | {"model": fingerprint} | _earlier_names(top, problem)
            predictions.append(Prediction(line, None if problem.hinders else images[number]))
        return predictions

    return predict


def _line_of(top: Sequence[tuple[str, float]], problem: Problem, limit: float | None) -> dict[str, Any]:
    """The part of a line that says what was read, and how far that can be trusted."""
    line: dict[str, Any] = {}
    if not problem.hinders:
        (character, confidence), *_ = top
        is_sure = None if limit is None else bool(selective.is_accepted(np.array(confidence), limit))
        line = {"character": character, "confidence": round(confidence, _DIGITS), "alternatives": _rounded(top)}
        line["accepted"] = is_sure and not problem.code
    else:
        line["accepted"] = False
    return line | ({"problem": problem.code, "message": problem.message} if problem.code else {})


def _earlier_names(top: Sequence[tuple[str, float]], problem: Problem) -> dict[str, Any]:
    """The names that parts of a line had before, for one release."""
    if problem.hinders:
        return {"error": problem.message}
    return {"probability": round(top[0][1], _DIGITS), "top": _rounded(top)}


def _rounded(top: Sequence[tuple[str, float]]) -> list[list[Any]]:
    return [[name, round(probability, _DIGITS)] for name, probability in top]


def _to_images(model: tf.Module, items: Sequence[Item], size: tuple[int, int]) -> tuple[np.ndarray, list[Problem]]:
    """The image, uint8 [N, H, W, 1], and the problem of each item."""
    images = np.zeros((len(items), *size, 1), np.uint8)
    causes = [Problem("cannot-decode", item.error) if item.error else Problem() for item in items]
    of_graph = []
    for number, item in enumerate(items):
        if isinstance(item.content, np.ndarray):
            images[number] = item.content
        elif isinstance(item.content, bytes):
            if item.content.startswith(_OF_GRAPH) or not hasattr(model, "convert_pixels"):
                of_graph.append(number)
            else:
                images[number], causes[number] = _from_other_format(model, item.content)
    if of_graph:
        images[of_graph], complaints = (
            part.numpy() for part in model.convert(tf.constant([items[number].content for number in of_graph]))
        )
        for number, complaint in zip(of_graph, complaints, strict=True):
            causes[number] = _to_problem(complaint.decode())
    return images, causes


def _from_other_format(model: tf.Module, content: bytes) -> tuple[np.ndarray, Problem]:
    """The image and the problem of a file that the graph does not decode."""
    try:
        image, complaint = model.convert_pixels(tf.constant(picture.decode(content)))
    except picture.PictureError as error:
        return np.zeros((1, 1, 1), np.uint8), Problem(error.problem, str(error))
    return image.numpy(), _to_problem(complaint.numpy().decode())


def _to_problem(complaint: str) -> Problem:
    """From a code, or from a sentence as earlier models say it."""
    if complaint in problems.MESSAGES:
        return Problem(complaint, problems.MESSAGES[complaint])
    code = _EARLIER_COMPLAINTS.get(complaint, "too-large")  # that sentence has a number in it
    return Problem(code, complaint) if complaint else Problem()
