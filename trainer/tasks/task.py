"""What differs from task to task, as a record of functions; everything else in the trainer knows no task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common.dataset.manifest import Manifest
from common.dataset.schema import Schema
from trainer.config.settings import TrainConfig
from trainer.data.examples import Examples
from trainer.evaluation.metrics import Metrics
from trainer.evaluation.scores import Scores
from trainer.models.networks import LayerFactory
from trainer.runs.run_folder import Results

Tensors = dict[str, tf.Tensor]
"""A batch in the graph: what the schema's features are called, and a tensor [B, *shape] of each."""
Predictions = dict[str, np.ndarray]
"""What is kept of a split: arrays over its examples, by names of the task's, of what is true and what was answered."""
Loss = Callable[[Tensors, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""From a batch and the network's outputs to what training makes small and the loss that is shown, float32 [B] each."""


@dataclass(frozen=True)
class Task:
    """What a model is to do with examples. In the graph are `make_loss`, `errors`, `answer` and what `serve` gives."""

    build: Callable[[TrainConfig, Schema, LayerFactory | None], keras.Model]
    """The untrained network, for images float32 [B, H, W, 1] in 0…255."""
    head: Callable[[keras.Model], keras.Model]
    """The network up to the outputs that `make_loss`, `errors` and `answer` take."""
    make_loss: Callable[[TrainConfig, Manifest], Loss]
    errors: Callable[[Tensors, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    """Wrong units and all units, int64 [B] each, from a batch and the network's outputs."""
    answer: Callable[[Tensors, tf.Tensor], Tensors]
    """What is kept of the answers to a batch: the `Predictions`, before calibration."""
    measure: Callable[[Predictions], Metrics]
    """The figures after an epoch."""
    fit_temperature: Callable[[Predictions], float]
    """What `calibrate` needs, from the validation split; 1 changes nothing."""
    calibrate: Callable[[Predictions, float], Predictions]
    score: Callable[[Predictions, tuple[str, ...], Schema], Scores]
    """From calibrated predictions of a model that knows this vocabulary, and the schema of the examples."""
    figures: Callable[[Predictions, Schema, float], dict[str, Any]]
    """What `metrics.json` has of a split, from predictions before calibration and the temperature."""
    headlines: Callable[[dict[str, Any]], list[str]]
    """What one wants to know first of these figures."""
    titles: Callable[[dict[str, np.ndarray], Schema], list[str]]
    """What examples are called."""
    remarks: Callable[[Predictions, Schema, np.ndarray], list[str]]
    """A word about each of the examples with these numbers, for people who look for wrong labels."""
    signatures: Callable[[keras.Model, Schema, float], dict[str, Callable]]
    """What the SavedModel takes and gives, calibrated; `image_tensor` is among them."""
    serve: Callable[[tf.Module], Callable[[Tensors], Tensors]]
    """From a loaded SavedModel to calibrated predictions of a batch, in the graph."""
    probe: Callable[[tf.Module, Examples], str]
    """Asks a loaded SavedModel as a server would; returns in words what it took. Raises `FailedError`."""
    request: Callable[[tf.Module, np.ndarray], Callable[[], object]]
    """One request for an image, uint8 [H, W, 1], as a server would make it, to be timed."""
    card: Callable[[Results], str]
    """The text of the model card."""
    page: Callable[[Results, float | None], str]
    """The report of one run as HTML, with what an hour costs, if that is known."""
