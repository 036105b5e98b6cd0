"""Exports a trained network as `model.keras` and as a SavedModel."""

from pathlib import Path

import keras
import tensorflow as tf

from common.dataset.schema import Schema
from common.storage import remove
from trainer.tasks.task import Task


def save_keras(model: keras.Model, path: Path) -> None:
    """Writes `model.keras` atomically."""
    incomplete = path.with_name(f"incomplete-{path.name}")  # Keras insists on the suffix
    model.save(incomplete)
    incomplete.replace(path)


def save_saved_model(model: keras.Model, task: Task, schema: Schema, temperature: float, path: Path) -> None:
    """Writes a SavedModel with the task's signatures, atomically.

    The model also has the functions `class_names` and `temperature`, without arguments, which return the vocabulary and
    the temperature. Its signatures are functions of it, too.
    """
    module = tf.Module()
    module.network = model  # so that its weights are saved
    module.class_names = tf.function(lambda: tf.constant(schema.vocabulary, tf.string), input_signature=[])
    module.temperature = tf.function(lambda: tf.constant(temperature, tf.float32), input_signature=[])
    functions = task.signatures(model, schema, temperature)
    for name, function in functions.items():
        setattr(module, name, function)
    incomplete = path.with_name(f"incomplete-{path.name}")
    remove(incomplete)
    signatures = {name: function for name, function in functions.items() if _gives_names(function)}
    tf.saved_model.save(module, incomplete, signatures=signatures)
    incomplete.replace(path)


def _gives_names(function: tf.types.experimental.GenericFunction) -> bool:
    """Whether it returns results by name, as a server must; others are only for code that loads the model."""
    return isinstance(function.get_concrete_function().structured_outputs, dict)
