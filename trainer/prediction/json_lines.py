"""Predicts items as lines of JSON, a batch at a time."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from common.errors import InputError
from trainer.prediction.inputs import Item
from trainer.serving import loading

BATCH_SIZE = 256
_TOP = 3
_DIGITS = 6

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """A line of the output, and its image, uint8 [H, W, 1]; None if the item could not be read."""

    line: dict[str, Any]
    image: np.ndarray | None


def tell(good: int, bad: int) -> None:
    """Logs how many characters were predicted, and how many could not be read."""
    _log.info("predicted     %s characters", f"{good:,}")
    if bad:
        _log.warning("%s inputs could not be read; their lines have an `error`", f"{bad:,}")


def to_line(line: dict[str, Any]) -> bytes:
    """The line as JSON, without a line break."""
    return json.dumps(line, ensure_ascii=False).encode()


def make_predict(model: tf.Module) -> Callable[[Sequence[Item]], list[Prediction]]:
    """Returns `predict(items)`: their predictions, in order. The line of an unreadable item has an `error`."""
    names = loading.class_names(model)
    if not hasattr(model, "convert"):
        raise InputError("--model: cannot read pictures of characters; give a model that recognises characters")
    signature, size = model.signatures["image_tensor"], loading.image_size(model)

    def predict(items: Sequence[Item]) -> list[Prediction]:
        images = np.zeros((len(items), *size, 1), np.uint8)
        errors = [item.error for item in items]
        pictures = [number for number, item in enumerate(items) if isinstance(item.content, bytes)]
        if pictures:
            converted, complaints = model.convert(tf.constant([items[number].content for number in pictures]))
            images[pictures] = converted.numpy()
            for number, complaint in zip(pictures, complaints.numpy(), strict=True):
                errors[number] = complaint.decode()
        for number, item in enumerate(items):
            if isinstance(item.content, np.ndarray):
                images[number] = item.content
        probabilities = signature(image=tf.constant(images))["probabilities"].numpy()
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :_TOP]
        predictions = []
        for number, item in enumerate(items):
            if errors[number]:
                predictions.append(Prediction(item.source | {"error": errors[number]}, None))
                continue
            top = [[names[place], round(float(probabilities[number, place]), _DIGITS)] for place in order[number]]
            line = item.source | {"character": top[0][0], "probability": top[0][1], "top": top}
            predictions.append(Prediction(line, images[number]))
        return predictions

    return predict
