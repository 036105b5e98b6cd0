"""The interface of a task, as a record of functions; the rest of the trainer is independent of the task."""

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
from trainer.distributed.randomness import StepRng
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.decoder import Decoder
from trainer.evaluation.metrics import Metrics
from trainer.evaluation.novelty import Novelty
from trainer.evaluation.scores import Scores
from trainer.models.networks import LayerFactory
from trainer.prediction.json_lines import Predict
from trainer.runs.run_folder import Results
from trainer.serving.runtimes import Portable

Tensors = dict[str, tf.Tensor]
"""A batch in the graph: a tensor [B, *shape] for each of the schema's features, by name."""
Predictions = dict[str, np.ndarray]
"""Labels and answers for the examples of a split, as arrays [N, …] under names that the task chooses."""
Loss = Callable[[Tensors, Any], tuple[tf.Tensor, tf.Tensor]]
"""From a batch and the network's outputs to the training objective and the reported loss, float32 [B] each."""


@dataclass(frozen=True)
class TextFunctions:
    """The functions that a task has if it reads texts."""

    texts: Callable[[Examples], list[str]]
    """The texts of a split."""
    fit_decoder: Callable[[list[str], Predictions, Schema], Decoder]
    """A decoder with a language model of these texts, by predictions for the validation split, before calibration."""
    decode: Callable[[Decoder, Predictions], Predictions]
    """Predictions with the decoder's readings, before calibration by its temperature."""


@dataclass(frozen=True)
class Task:
    """The functions that define a task. `make_loss`, `errors`, `answer` and the result of `serve` run in the graph."""

    build: Callable[[TrainConfig, Schema, LayerFactory | None], keras.Model]
    """The untrained network, for images float32 [B, H, W, 1] in 0…255."""
    last_layers: tuple[str, ...]
    """The layers with an output for each of the vocabulary, in its order, and perhaps further ones behind them."""
    augment: Callable[[Tensors, tuple[tuple[str, float], ...], StepRng], Tensors]
    """A batch with its images varied by these steps; see `augmentation_steps`."""
    head: Callable[[keras.Model], Callable[[Tensors, bool], Any]]
    """From a network to a function of a batch, and whether it trains: the outputs that `make_loss`, `errors` and
    `answer` take."""
    make_loss: Callable[[TrainConfig, Manifest], Loss]
    can_compile_loss: bool
    """Whether XLA can compile the loss."""
    errors: Callable[[Tensors, Any], tuple[tf.Tensor, tf.Tensor]]
    """The counts of wrong units and of all units, int64 [B] each, from a batch and the network's outputs."""
    answer: Callable[[Tensors, Any], Tensors]
    """The `Predictions` for a batch, from the network's outputs, before calibration."""
    measure: Callable[[Predictions], Metrics]
    """The metrics that are computed after each epoch."""
    accuracy_in_words: Callable[[float], str]
    """Their accuracy, as the log of a training shows it."""
    show_epoch: Callable[[Predictions, Schema], list[str]]
    """What the log shows after each epoch besides the metrics, by predictions for the validation split."""
    plateau: float
    """The accuracy up to which a training has hardly begun, and is not stopped early; below 0 if there is no such."""
    fit_temperature: Callable[[Predictions], float]
    """The temperature for `calibrate`, fitted on the validation split; 1 changes nothing."""
    fit_novelty: Callable[[keras.Model, Examples, Examples], Novelty | None] | None
    """What tells pictures of what the task reads from others, by a trained network, examples that it has learned from,
    and others. None if the task has no such thing, and its result None if the examples do not suffice."""
    read_photographs: Callable[[tf.Module, Examples, int], Predictions] | None
    """The predictions of a model, loaded or about to be saved, for photographs of so many of a split's examples. They
    are rendered anew, but always the same. Its scores have no confidence where a photograph has a problem. None if the
    task has no photographs."""
    calibrate: Callable[[Predictions, float], Predictions]
    score: Callable[[Predictions, tuple[str, ...], Schema], Scores]
    """The scores of calibrated predictions, from the model's vocabulary and the examples' schema."""
    figures: Callable[[Predictions, Schema, float], dict[str, Any]]
    """A split's metrics for `metrics.json`, from predictions before calibration, schema and temperature."""
    headlines: Callable[[dict[str, Any]], list[str]]
    """The most important of these metrics, as lines of text."""
    text: TextFunctions | None
    """What makes readings of texts better by a language model; None if the task reads no texts."""
    titles: Callable[[dict[str, np.ndarray], Schema], list[str]]
    """A short title for each example of a batch."""
    remarks: Callable[[Predictions, Schema, np.ndarray], list[str]]
    """A remark on each of the examples at these indices, for people who review likely label errors."""
    signatures: Callable[[keras.Model, Schema, Calibration, Novelty | None], dict[str, Callable]]
    """The SavedModel's functions by name, with calibrated results; `image_tensor` is one of them."""
    serve: Callable[[tf.Module], Callable[[Tensors], Tensors]]
    """From a loaded SavedModel to a function that gives calibrated predictions for a batch, in the graph."""
    probe: Callable[[tf.Module, Examples], str]
    """Sends requests to a loaded SavedModel as a server would; returns in words what it took. Raises `FailedError`."""
    request: Callable[[tf.Module, np.ndarray], Callable[[], object]]
    """A function that makes one request for an image, uint8 [H, W, 1], as a server would; it is timed."""
    make_predict: Callable[[tf.Module, str, float, Decoder | None], Predict] | None
    """From a loaded SavedModel, its fingerprint, the share of wrong units that is allowed among accepted readings, and
    what decodes texts, if given, to the function that predicts items. None if the task reads no pictures."""
    portable: Portable | None
    """What files for other runtimes hold. None if there are no such files."""
    conversion: int
    """The version of the conversion by which pictures become images."""
    card: Callable[[Results], str]
    """The text of the model card."""
    page: Callable[[Results, float | None], str]
    """The report of one run as HTML; the second argument is the machines' price per hour, if known."""
