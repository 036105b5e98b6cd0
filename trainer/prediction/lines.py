"""Predicts the texts of items that show a line each, a batch at a time."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from common.formats import picture
from common.normalize import line, problems
from trainer.evaluation import decoder as decoders
from trainer.evaluation import readings
from trainer.evaluation.calibration import PROMISES
from trainer.evaluation.decoder import KEPT_OUTPUTS, Decoder, Outputs
from trainer.prediction import json_lines
from trainer.prediction.json_lines import Predict, Prediction, Problem
from trainer.prediction.parts import Item, Pixels

_READ_AT_ONCE = 16  # lines of similar width


class _Answer(NamedTuple):
    """What is read of an image: the text, and of each of its characters the probability and the columns, or more."""

    text: str
    confidence: float
    probability: np.ndarray
    left: np.ndarray
    right: np.ndarray


def make_predict(model: tf.Module, fingerprint: str, max_error: float, decoder: Decoder | None = None) -> Predict:
    """Returns `predict(items)`: their predictions, in order. The lines name the model by its `fingerprint`.

    Readings are accepted if at most the share `max_error` of the characters of such readings is wrong.
    """
    limits = json_lines.thresholds(model, max_error)
    answer = _best_paths(model)
    if decoder:
        limits = (decoder.thresholds[PROMISES.index(max_error)],) * 2
        answer = _decoded(model, decoder)

    def predict(items: Sequence[Item]) -> list[Prediction]:
        images, columns, causes = _to_images(model, items)
        answers: list[_Answer | None] = [None] * len(items)
        order = sorted(range(len(items)), key=lambda number: images[number].shape[1])
        for start in range(0, len(order), _READ_AT_ONCE):
            members = order[start : start + _READ_AT_ONCE]
            for member, read in zip(members, answer(*_batch([images[member] for member in members])), strict=True):
                answers[member] = read
        predictions = []
        for item, image, scale, problem, read in zip(items, images, columns, causes, answers, strict=True):
            limit = limits[int(not isinstance(item.content, np.ndarray))]
            shown = {"accepted": False} if problem.hinders else _line_of(read, scale, limit, problem)
            written = item.source | shown | json_lines.complaint(problem) | {"model": fingerprint}
            predictions.append(Prediction(written, None if problem.hinders else image[..., None]))
        return predictions

    return predict


def _batch(images: Sequence[np.ndarray]) -> tuple[tf.Tensor, tf.Tensor]:
    """Images, uint8 [N, H, W, 1], and their widths, int64 [N], of images uint8 [H, W] of any width."""
    widths = np.array([image.shape[1] for image in images])
    batch = np.zeros((len(images), images[0].shape[0], widths.max(), 1), np.uint8)
    for place, image in enumerate(images):
        batch[place, :, : image.shape[1], 0] = image
    return tf.constant(batch), tf.constant(widths)


def _best_paths(model: tf.Module) -> Callable[[tf.Tensor, tf.Tensor], list[_Answer]]:
    """The function that reads images by the model's `image_tensor`."""

    def read(image: tf.Tensor, width: tf.Tensor) -> list[_Answer]:
        answered = model.signatures["image_tensor"](image=image, width=width)
        columns = (answered[name].numpy() for name in ("text", "confidence", "probability", "left", "right"))
        return [_Answer(text.decode(), *rest) for text, *rest in zip(*columns, strict=True)]

    return read


def _decoded(model: tf.Module, decoder: Decoder) -> Callable[[tf.Tensor, tf.Tensor], list[_Answer]]:
    """The function that reads images with a language model."""

    def read(image: tf.Tensor, width: tf.Tensor) -> list[_Answer]:
        best = tf.math.top_k(tf.nn.log_softmax(model.logits_of(image, width)), KEPT_OUTPUTS)
        steps = -(-width.numpy() // line.COLUMNS_PER_STEP)
        decoded = decoders.decode(decoder, Outputs(best.indices.numpy(), best.values.numpy(), steps))
        confidence = readings.calibrate(decoded.log_confidence, decoder.temperature)
        return [
            _Answer(
                text,
                float(sure),
                path.probabilities,
                path.first * line.COLUMNS_PER_STEP,
                (path.last + 1) * line.COLUMNS_PER_STEP,
            )
            for text, sure, path in zip(decoded.texts, confidence, decoded.readings, strict=True)
        ]

    return read


def _line_of(answer: _Answer, scale: float, limit: float | None, problem: Problem) -> dict[str, Any]:
    confidence = float(answer.confidence)
    places = zip(answer.text, answer.probability, answer.left, answer.right, strict=False)
    read = {"text": answer.text, **json_lines.judgement(confidence, limit, problem)}
    read["alternatives"] = json_lines.rounded([(answer.text, confidence)])
    read["characters"] = [
        [character, round(float(probability), 4), round(float(left) * scale), round(float(right) * scale)]
        for character, probability, left, right in places
    ]
    return read


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
