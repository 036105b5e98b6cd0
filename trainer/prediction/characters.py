"""Predicts the characters of items, a batch at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from common.errors import InputError
from common.formats import picture
from common.normalize import problems
from trainer.evaluation.decoder import Decoder
from trainer.prediction import json_lines
from trainer.prediction.json_lines import Predict, Prediction, Problem
from trainer.prediction.parts import Item
from trainer.serving import loading

_EARLIER_COMPLAINTS = {  # of models that were exported before there were codes
    "holds no ink": "no-ink",
    "is neither a PNG nor a JPEG picture": "unknown-format",
    "cannot be decoded": "cannot-decode",
}


def make_predict(model: tf.Module, fingerprint: str, max_error: float, decoder: Decoder | None = None) -> Predict:
    """Returns `predict(items)`: their predictions, in order. The lines name the model by its `fingerprint`.

    Readings are accepted if at most the share `max_error` of such readings is wrong, and if nothing is the matter.
    """
    names = loading.class_names(model)
    if decoder:
        raise InputError("--language-model: is for models that read lines; this one recognises characters")
    if not hasattr(model, "convert"):
        raise InputError("--model: cannot read pictures of characters; give a model that recognises characters")
    size, limits = loading.image_size(model), json_lines.thresholds(model, max_error)

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
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : json_lines.TOP]
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
        line = {"character": character, **json_lines.judgement(confidence, limit, problem)}
        line["alternatives"] = json_lines.rounded(top)
    else:
        line["accepted"] = False
    return line | json_lines.complaint(problem)


def _earlier_names(top: Sequence[tuple[str, float]], problem: Problem) -> dict[str, Any]:
    """The names that parts of a line had before, for one release."""
    if problem.hinders:
        return {"error": problem.message}
    return {"probability": json_lines.rounded(top)[0][1], "top": json_lines.rounded(top)}


def _to_images(model: tf.Module, items: Sequence[Item], size: tuple[int, int]) -> tuple[np.ndarray, list[Problem]]:
    """The image, uint8 [N, H, W, 1], and the problem of each item."""
    images = np.zeros((len(items), *size, 1), np.uint8)
    causes = [Problem(item.problem, item.error) if item.error else Problem() for item in items]
    of_graph = []
    for number, item in enumerate(items):
        if isinstance(item.content, np.ndarray):
            images[number] = item.content
        elif isinstance(item.content, bytes):
            if json_lines.is_of_graph(item.content) or not hasattr(model, "convert_pixels"):
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
