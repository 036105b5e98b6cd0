"""What a finished model answers to examples, how quickly, and how large it is: what a gate goes by."""

import time
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from common.dataset.schema import IMAGE
from trainer.data.input_pipeline import Examples
from trainer.evaluation.inference import make_predict
from trainer.serving import loading

_REQUESTS = 50
_REQUESTS_BEFOREHAND = 5


@dataclass(frozen=True)
class Answers:
    """The most probable class of each example, and how probable it is, calibrated."""

    predicted: np.ndarray
    """int64 [N], of the model's own classes."""
    confidence: np.ndarray
    """float32 [N], 0 to 1."""


def give(model: tf.Module, examples: Examples) -> Answers:
    """The answers of a loaded SavedModel, in the order of the examples."""
    signature = model.signatures["image_tensor"]

    def probabilities(pixels: tf.Tensor) -> tf.Tensor:
        return signature(image=tf.cast(pixels, tf.uint8))["probabilities"]

    gpus = tf.config.list_logical_devices("GPU")
    predict = make_predict(probabilities, tf.distribute.OneDeviceStrategy(gpus[0].name if gpus else "/cpu:0"))
    _, found = predict(examples)
    return Answers(found.argmax(axis=1), found.max(axis=1))


def latency_ms(model: tf.Module, examples: Examples) -> float:
    """The median time, in milliseconds, of one request with a PNG picture of one character, on this machine."""
    images = examples.take(np.arange(min(_REQUESTS, examples.num_examples)))[IMAGE]
    pictures = [tf.io.encode_png(image) for image in images]
    requests = [tf.reshape(picture, [1]) for picture in pictures]
    times = []
    for number in range(_REQUESTS_BEFOREHAND + _REQUESTS):
        began = time.perf_counter()
        model.signatures["serving_default"](image_bytes=requests[number % len(requests)])["probabilities"].numpy()
        times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(times[_REQUESTS_BEFOREHAND:]))


def by_name(answers: Answers, model: tf.Module, class_names: tuple[str, ...]) -> Answers:
    """The same answers in the order of `class_names`; -1 for a class that is not among them."""
    numbers = {name: number for number, name in enumerate(class_names)}
    translation = np.array([numbers.get(name, -1) for name in loading.class_names(model)])
    return Answers(translation[answers.predicted], answers.confidence)
