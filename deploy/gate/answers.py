"""What the gate measures of a model: its scores on examples, and its latency."""

import time

import numpy as np
import tensorflow as tf

from common.dataset.schema import IMAGE
from trainer import tasks
from trainer.data.examples import Examples
from trainer.evaluation.inference import best_device, make_predict
from trainer.evaluation.scores import Scores
from trainer.serving import loading

_REQUESTS = 50
_REQUESTS_BEFOREHAND = 5


def score(model: tf.Module, examples: Examples) -> Scores:
    """The scores of a loaded SavedModel, in the examples' order. Predicting a class that the data lacks is wrong."""
    task = tasks.of(examples.schema)
    predictions = make_predict(task.serve(model), best_device())(examples)
    return task.score(predictions, loading.class_names(model), examples.schema)


def latency_ms(model: tf.Module, examples: Examples) -> float:
    """The median time, in milliseconds, of a request with one image, as a server runs it, on this machine."""
    images = examples.take(np.arange(min(_REQUESTS, examples.num_examples)))[IMAGE]
    requests = [tasks.of(examples.schema).request(model, image) for image in images]
    times = []
    for number in range(_REQUESTS_BEFOREHAND + _REQUESTS):
        began = time.perf_counter()
        requests[number % len(requests)]()
        times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(times[_REQUESTS_BEFOREHAND:]))
