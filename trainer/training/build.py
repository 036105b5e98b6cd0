"""The two networks of a training: the one that is train_state and the one that is evaluated and exported."""

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
    """The network for evaluation and export: of Keras' own layers only, in float32."""
    keras.utils.set_random_seed(config.seed)
    with strategy.scope():
        try:
            return task.build(config, schema, None)
        except ValueError as error:  # as Keras says that layers do not fit on each other
            raise InputError(f"--model {config.model}: {' '.join(str(error).split())}") from None


def training_model(setup: Setup, model: keras.Model) -> TrainState:
    """The same network, with the same initial weights, as it is train_state."""
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
    """What rng and normalises over a batch so that it does not matter how many devices share it."""
    of_keras = partial(keras.layers.BatchNormalization, synchronized=True)
    return LayerFactory(randomness.Dropout, of_keras if num_replicas > 1 else normalization.BatchNormalization)


def set_weights(model: keras.Model, weights: list[np.ndarray]) -> None:
    for variable, value in zip(model.weights, weights, strict=True):
        variable.assign(value)
