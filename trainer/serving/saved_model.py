"""Exports a trained network as `model.keras` and as a SavedModel."""

from functools import partial
from pathlib import Path

import keras
import tensorflow as tf

from common.dataset.schema import Schema
from common.storage import remove
from trainer.evaluation.calibration import Calibration
from trainer.evaluation.novelty import Novelty
from trainer.tasks.task import Task


def save_keras(model: keras.Model, path: Path) -> None:
    """Writes `model.keras` atomically."""
    incomplete = path.with_name(f"incomplete-{path.name}")  # Keras insists on the suffix
    model.save(incomplete)
    incomplete.replace(path)


def save_saved_model(module: tf.Module, path: Path) -> None:
    """Writes the result of `to_module` as a SavedModel with the task's signatures, atomically."""
    incomplete = path.with_name(f"incomplete-{path.name}")
    remove(incomplete)
    signatures = {name: part for name, part in vars(module).items() if _is_signature(part)}
    tf.saved_model.save(module, incomplete, signatures=signatures)
    incomplete.replace(path)


def to_module(
    model: keras.Model, task: Task, schema: Schema, calibration: Calibration, novelty: Novelty | None = None
) -> tf.Module:
    """What is saved. It can be asked like a loaded SavedModel, but for the attribute `signatures`.

    Its functions are those that the task gives, and, without arguments, `class_names`, which returns the vocabulary,
    `task`, its name, and one for each field of `calibration`, which returns its value.
    """
    module = tf.Module()
    module.network = model  # so that its weights are saved
    for name, value in {**vars(calibration), "class_names": schema.vocabulary, "task": schema.task}.items():
        setattr(module, name, tf.function(partial(tf.constant, value), input_signature=[], autograph=False))
    for name, function in task.signatures(model, schema, calibration, novelty).items():
        setattr(module, name, function)
    return module


def _is_signature(part: object) -> bool:
    """Whether it returns results by name, as a server must; other functions are only for code that loads the model."""
    if not isinstance(part, tf.types.experimental.GenericFunction):
        return False
    return isinstance(part.get_concrete_function().structured_outputs, dict)
