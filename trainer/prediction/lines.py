"""Predicts the texts of items that show a line each, a batch at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from common.formats import picture
from common.normalize import line, problems
from trainer.prediction import json_lines
from trainer.prediction.inputs import Item, Pixels
from trainer.prediction.json_lines import Predict, Prediction, Problem

_READ_AT_ONCE = 16  # lines of similar width


def make_predict(model: tf.Module, fingerprint: str, max_error: float) -> Predict:
    """Returns `predict(items)`: their predictions, in order. The lines name the model by its `fingerprint`.

    Readings are accepted if at most the share `max_error` of the characters of such readings is wrong.
    """
    limits = json_lines.thresholds(model, max_error)

    def predict(items: Sequence[Item]) -> list[Prediction]:
        images, columns, causes = _to_images(model, items)
        answers: list[dict[str, Any]] = [{}] * len(items)
        order = sorted(range(len(items)), key=lambda number: images[number].shape[1])
        for start in range(0, len(order), _READ_AT_ONCE):
            members = order[start : start + _READ_AT_ONCE]
            for member, answer in zip(members, _read(model, [images[member] for member in members]), strict=True):
                answers[member] = answer
        predictions = []
        for item, image, scale, problem, answer in zip(items, images, columns, causes, answers, strict=True):
            limit = limits[int(not isinstance(item.content, np.ndarray))]
            read = {"accepted": False} if problem.hinders else _line_of(answer, scale, limit, problem)
            written = item.source | read | json_lines.complaint(problem) | {"model": fingerprint}
            predictions.append(Prediction(written, None if problem.hinders else image[..., None]))
        return predictions

    return predict


def _read(model: tf.Module, images: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """The answers of the model's `image_tensor` for images, uint8 [H, W] of any width."""
    widths = np.array([image.shape[1] for image in images])
    batch = np.zeros((len(images), images[0].shape[0], widths.max(), 1), np.uint8)
    for place, image in enumerate(images):
        batch[place, :, : image.shape[1], 0] = image
    answered = model.signatures["image_tensor"](image=tf.constant(batch), width=tf.constant(widths))
    answered = {name: values.numpy() for name, values in answered.items()}
    return [{name: values[row] for name, values in answered.items()} for row in range(len(images))]


def _line_of(answer: dict[str, Any], scale: float, limit: float | None, problem: Problem) -> dict[str, Any]:
    text, confidence = answer["text"].decode(), float(answer["confidence"])
    characters = [
        [character, round(float(answer["probability"][place]), 4), *_ends(answer, place, scale)]
        for place, character in enumerate(text)
    ]
    read = {"text": text, **json_lines.judgement(confidence, limit, problem)}
    return read | {"alternatives": json_lines.rounded([(text, confidence)]), "characters": characters}


def _ends(answer: dict[str, Any], place: int, scale: float) -> list[int]:
    """The columns of the picture, from left to right, that a character was read from."""
    return [round(float(answer[side][place]) * scale) for side in ("left", "right")]


def _to_images(model: tf.Module, items: Sequence[Item]) -> tuple[list[np.ndarray], list[float], list[Problem]]:
    """The image, uint8 [H, W], the columns of its picture for one of the image, and the problem of each item."""
    height = model.signatures["image_tensor"].structured_input_signature[1]["image"].shape[1]
    images = [np.zeros((height, 1), np.uint8)] * len(items)
    columns, causes = [1.0] * len(items), [Problem()] * len(items)
    of_graph = []
    for number, item in enumerate(items):
        if item.error:
            causes[number] = Problem(item.problem, item.error)
        elif isinstance(item.content, np.ndarray):
            images[number] = item.content[..., 0]
        elif isinstance(item.content, bytes) and json_lines.is_of_graph(item.content):
            of_graph.append(number)
        else:
            try:
                is_decoded = isinstance(item.content, Pixels)
                pixels = item.content.values if is_decoded else picture.decode(item.content, least=line.LEAST)
            except picture.PictureError as error:
                causes[number] = Problem(error.problem, str(error))
                continue
            _keep(number, model.convert_pixels(tf.constant(pixels)), images, columns, causes)
    if of_graph:
        converted = model.convert(tf.constant([items[number].content for number in of_graph]))
        for place, number in enumerate(of_graph):
            _keep(number, {name: values[place] for name, values in converted.items()}, images, columns, causes)
    return images, columns, causes


def _keep(
    number: int, converted: dict[str, tf.Tensor], images: list[np.ndarray], columns: list[float], causes: list[Problem]
) -> None:
    code = converted["problem"].numpy().decode()
    images[number] = converted["image"].numpy()[:, : int(converted["width"]), 0]
    columns[number] = float(converted["columns"])
    causes[number] = Problem(code, problems.MESSAGES[code]) if code else Problem()
