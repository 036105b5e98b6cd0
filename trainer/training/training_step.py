"""The training step, and the function that runs a block of steps in one call.

The loop is custom because Keras' `fit` does not work under every strategy (keras#20585). Each step divides its global
batch among the replicas. The result is the same as on a single replica: normalisation and gradients are over the whole
batch, and random numbers belong to a row of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from common.dataset.schema import IMAGE
from trainer.data import augmentation_steps
from trainer.data.feeds import DistributedBatch, StepBlock
from trainer.distributed import randomness
from trainer.distributed.randomness import StepRng
from trainer.tasks.task import Tensors
from trainer.training.setup import Setup

_EMA_WARMUP_STEPS = 10

Schedule = keras.optimizers.schedules.LearningRateSchedule


@dataclass(frozen=True)
class TrainState:
    """The variables that training changes."""

    network: keras.Model
    optimizer: keras.Optimizer
    average: list[tf.Variable]
    """The moving average of the network's `weights`, normalisation's statistics included; empty if none is kept."""


@dataclass(frozen=True)
class Outcome:
    """The result of one block of steps."""

    losses: np.ndarray
    """float32 [steps]: the task's loss, summed over each batch, without smoothing and weights."""
    errors: int
    """Wrong units in all examples of the block, out of its `units`."""
    units: int
    stop_votes: int
    """How many workers want to stop."""
    chief_seconds: float
    """The chief's clock, which all workers use."""


class TrainSteps(Protocol):
    """The function that `make_train_steps` returns."""

    def __call__(self, block: StepBlock, schedule_progress: np.ndarray, wants_to_stop: bool, seconds: float) -> Outcome:
        """Runs the steps of `block`.

        `schedule_progress`, float32 [steps per execution]: where each step is on the schedule, 0 to 1.
        `wants_to_stop` and `seconds` are this worker's vote and clock, sent to the others.
        """
        ...


def make_train_steps(setup: Setup, train_state: TrainState, schedule: Schedule) -> TrainSteps:
    """Returns the function that runs a block of steps."""
    strategy = setup.strategy
    replica_step = _make_replica_step(setup, train_state)

    def total(per_replica: tf.Tensor) -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

    @tf.function
    def steps(
        examples: DistributedBatch,
        rows: tf.distribute.DistributedValues,
        first_step: tf.Tensor,
        count: tf.Tensor,
        schedule_progress: tf.Tensor,
        widths: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        losses = tf.TensorArray(tf.float32, size=count)
        counts = tf.zeros([2], tf.int64)
        for number in tf.range(count):
            step = first_step + tf.cast(number, tf.int64)
            train_state.optimizer.learning_rate.assign(schedule(schedule_progress[number]))
            width = None if widths is None else widths[number]
            loss, errors_and_units = strategy.run(replica_step, (examples, rows, number, step, width))
            losses = losses.write(number, total(loss))
            counts += total(errors_and_units)
            if train_state.average:
                _update_average(setup, train_state, step)
        return losses.stack(), counts

    agree = _make_agree(setup)

    def take(block: StepBlock, schedule_progress: np.ndarray, wants_to_stop: bool, seconds: float) -> Outcome:
        first_step, count = tf.constant(block.first_step, tf.int64), tf.constant(block.count)
        widths = None if block.widths is None else tf.constant(block.widths)
        losses, counts = steps(
            block.examples, block.rows, first_step, count, tf.constant(schedule_progress, tf.float32), widths
        )
        votes, chief_seconds = agree(wants_to_stop, seconds)
        errors, units = counts.numpy().tolist()
        return Outcome(losses.numpy(), errors, units, votes, chief_seconds)

    return take


def _make_replica_step(setup: Setup, train_state: TrainState) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Returns one replica's part of a step, which gives the sum of its losses, and errors and units, int64 [2]."""
    config, num_replicas = setup.config, setup.num_replicas
    replica_batch = config.global_batch_size // num_replicas
    augmentation = augmentation_steps.parse(config.augmentation.steps)
    variables = train_state.network.trainable_variables
    differentiate = _make_differentiate(setup, train_state)

    @tf.autograph.experimental.do_not_convert  # which would take a second of each start
    def replica_step(
        examples: Tensors, rows: tf.Tensor, number: tf.Tensor, step: tf.Tensor, width: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        context = tf.distribute.get_replica_context()
        first_row = tf.cast(context.replica_id_in_sync_group, tf.int32) * replica_batch
        batch = {name: tf.gather(values, rows[number]) for name, values in examples.items()}
        images = batch[IMAGE] if width is None else batch[IMAGE][:, :, :width]
        batch |= {IMAGE: tf.cast(images, tf.float32)}
        if augmentation:
            batch = setup.task.augment(batch, augmentation, StepRng(config.seed, step, first_row))
        gradients, loss, errors_and_units = differentiate(batch, step, first_row)
        if config.optimizer.clip_norm:
            # Keras would clip each replica's gradients before it sums them. So they are summed and clipped here, and
            # divided again, because its optimizer sums in any case.
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients, _ = tf.clip_by_global_norm(gradients, config.optimizer.clip_norm)
            gradients = [gradient / num_replicas for gradient in gradients]
        train_state.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss, errors_and_units

    return replica_step


def _make_differentiate(
    setup: Setup, train_state: TrainState
) -> Callable[..., tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]]:
    """Returns a function of batch, step and first row: gradients, sum of losses, and errors and units, int64 [2]."""
    config, task = setup.config, setup.task
    head, loss_of = task.head(train_state.network), task.make_loss(config, setup.dataset.manifest)

    def differentiate(
        batch: Tensors, step: tf.Tensor, first_row: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape, randomness.use_rng(StepRng(config.seed, step, first_row)):
            outputs = head(batch, True)
            objective, losses = loss_of(batch, outputs)
            # Divided by the global batch size, because gradients are summed over replicas.
            objective = tf.reduce_sum(objective) / config.global_batch_size
        gradients = tape.gradient(objective, train_state.network.trainable_variables)
        counts = tf.stack([tf.reduce_sum(part) for part in task.errors(batch, outputs)])
        return gradients, tf.reduce_sum(losses), counts

    return tf.function(differentiate, jit_compile=True) if setup.execution.jit_compile else differentiate


def _update_average(setup: Setup, train_state: TrainState, step: tf.Tensor) -> None:
    # The decay starts smaller, or the initial weights would stay in the average for long.
    steps_done = tf.cast(step, tf.float32) + 1
    decay = tf.minimum(setup.config.optimizer.ema_decay, (1 + steps_done) / (_EMA_WARMUP_STEPS + steps_done))
    for average, variable in zip(train_state.average, train_state.network.weights, strict=True):
        setup.strategy.extended.update(
            average, lambda old, new: old.assign_add((1 - decay) * (new - old)), args=(variable.value,)
        )


def _make_agree(setup: Setup) -> Callable[[bool, float], tuple[int, float]]:
    """Returns the function by which all workers agree on the number of votes to stop and on the chief's clock."""
    strategy = setup.strategy
    local_replicas = len(strategy.extended.worker_devices)

    @tf.function
    def add_up(sent: tf.Tensor) -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(tf.identity, (sent,)), axis=None)

    def agree(wants_to_stop: bool, seconds: float) -> tuple[int, float]:
        if setup.workers.is_alone:
            return int(wants_to_stop), seconds
        # Each replica sends its worker's vote, and only the sum over all replicas comes back.
        sent = np.array([wants_to_stop, seconds if setup.workers.is_chief else 0.0]) / local_replicas
        votes, chief_seconds = add_up(tf.constant(sent, tf.float64)).numpy()
        return round(votes), float(chief_seconds)

    return agree
