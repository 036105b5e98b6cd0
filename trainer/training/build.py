"""Builds the two networks of a training: one to train, one to evaluate and export."""

from functools import partial

import keras
import numpy as np
import tensorflow as tf

from common.dataset.schema import Schema
from common.errors import InputError
from trainer.config.settings import TrainConfig
from trainer.distributed import randomness
from trainer.models import normalization
from trainer.models.networks import LayerFactory
from trainer.tasks.task import Task
from trainer.training import optimizers
from trainer.training.setup import Setup
from trainer.training.training_step import TrainState


def export_model(config: TrainConfig, task: Task, schema: Schema, strategy: tf.distribute.Strategy) -> keras.Model:
    """The network to evaluate and export: Keras' own layers only, in float32."""
    keras.utils.set_random_seed(config.seed)
    with strategy.scope():
        try:
            return task.build(config, schema, None)
        except ValueError as error:  # Keras' error if layers do not fit on each other
            raise InputError(f"--model {config.model}: {' '.join(str(error).split())}") from None


def training_model(setup: Setup, model: keras.Model) -> TrainState:
    """The network to train, with the initial weights of `model`, its optimizer and its average."""
    config = setup.config
    with setup.strategy.scope():
        try:
            keras.config.set_dtype_policy("mixed_bfloat16" if setup.execution.precision == "bfloat16" else "float32")
            network = setup.task.build(config, setup.dataset.schema, _layers_for_training(setup.num_replicas))
        finally:
            keras.config.set_dtype_policy("float32")
        network.set_weights(model.get_weights())
        optimizer = optimizers.make_optimizer(config.optimizer)
        optimizer.build(network.trainable_variables)
        average = [tf.Variable(weight.value) for weight in network.weights] if config.optimizer.ema_decay else []
    return TrainState(network, optimizer, average)


def _layers_for_training(num_replicas: int) -> LayerFactory:
    """Dropout and normalisation whose results do not depend on how many devices share a batch."""
    of_keras = partial(keras.layers.BatchNormalization, synchronized=True)
    of_images = of_keras if num_replicas > 1 else normalization.BatchNormalization
    return LayerFactory(randomness.Dropout, of_images, normalization.MaskedBatchNormalization)


def set_weights(model: keras.Model, weights: list[np.ndarray]) -> None:
    for variable, value in zip(model.weights, weights, strict=True):
        variable.assign(value)
