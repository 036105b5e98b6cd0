"""What happens in a training step, and how several of them become one call.

The loop is our own because Keras' `fit` does not work under every strategy (keras#20585). Each step divides its global
batch among the replicas; what they compute is the same as if one had computed all of it: normalisation and gradients
are over the whole batch, and random numbers belong to a row of it.
"""

from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from common.dataset.schema import IMAGE, LABEL
from trainer.config import TrainConfig
from trainer.data import augmentation_steps
from trainer.data.augmentation import augment
from trainer.data.input_pipeline import Call, DistributedBatch
from trainer.distributed import randomness
from trainer.distributed.devices import Speed
from trainer.distributed.randomness import Draws

_EMA_WARMUP_STEPS = 10


@dataclass(frozen=True)
class Trained:
    """The variables that training changes."""

    network: keras.Model
    """Up to the probabilities, with a layer called `logits`."""
    optimizer: keras.Optimizer
    average: list[tf.Variable]
    """The moving average of the network's `weights`, normalisation's statistics included; empty where none is kept."""


@dataclass(frozen=True)
class Outcome:
    """What one call gave."""

    losses: np.ndarray
    """float32 [steps]: the sum over each batch of the cross-entropy in nats, without smoothing and weights."""
    num_correct: int
    stop_votes: int
    """How many workers want to stop."""
    chief_seconds: float
    """What the chief has said: all workers go by its clock."""


class TakeSteps(Protocol):
    """What `make_steps` makes."""

    def __call__(self, call: Call, positions: np.ndarray, wants_to_stop: bool, seconds: float) -> Outcome:
        """Takes the steps of `call`.

        `positions`, float32 [steps per call], is where each step is on the schedule; `wants_to_stop` and `seconds` are
        what this worker tells the others.
        """
        ...


def make_steps(
    trained: Trained,
    schedule: keras.optimizers.schedules.LearningRateSchedule,
    class_weights: np.ndarray | None,
    config: TrainConfig,
    speed: Speed,
    strategy: tf.distribute.Strategy,
    is_chief: bool,
) -> TakeSteps:
    """A function that takes the steps of a call. `class_weights`, float32 [C], multiply the loss."""
    network, optimizer = trained.network, trained.optimizer
    to_logits = keras.Model(network.input, network.get_layer("logits").output)
    variables = network.trainable_variables
    num_replicas = strategy.num_replicas_in_sync
    replica_batch = config.global_batch_size // num_replicas
    num_classes = network.output.shape[-1]
    augmentation = augmentation_steps.parse(config.augmentation)
    weights_of_classes = None if class_weights is None else tf.constant(class_weights, tf.float32)

    def differentiate(
        images: tf.Tensor, labels: tf.Tensor, step: tf.Tensor, first_row: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape, randomness.in_use(Draws(config.seed, step, first_row)):
            logits = to_logits(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            objective = losses
            if config.label_smoothing:
                targets = tf.one_hot(labels, num_classes) * (1 - config.label_smoothing)
                targets += config.label_smoothing / num_classes
                objective = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            if weights_of_classes is not None:
                objective *= tf.gather(weights_of_classes, labels)
            # Divided by the global batch size, because gradients are summed over replicas.
            objective = tf.reduce_sum(objective) / config.global_batch_size
        gradients = tape.gradient(objective, variables)
        num_correct = tf.reduce_sum(tf.cast(tf.argmax(logits, axis=1) == labels, tf.int64))
        return gradients, tf.reduce_sum(losses), num_correct

    if speed.jit_compile:
        differentiate = tf.function(differentiate, jit_compile=True)

    def replica_step(
        examples: dict[str, tf.Tensor], rows: tf.Tensor, number: tf.Tensor, step: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        context = tf.distribute.get_replica_context()
        first_row = tf.cast(context.replica_id_in_sync_group, tf.int32) * replica_batch
        batch = {name: tf.gather(values, rows[number]) for name, values in examples.items()}
        images = tf.cast(batch[IMAGE], tf.float32)
        if augmentation:
            images = augment(images, augmentation, Draws(config.seed, step, first_row))
        gradients, loss, num_correct = differentiate(images, batch[LABEL], step, first_row)
        if config.clip_norm:
            # Keras would cut each replica's gradients before it sums them. What is summed here is divided again,
            # because its optimizer sums in any case.
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            gradients, _ = tf.clip_by_global_norm(gradients, config.clip_norm)
            gradients = [gradient / num_replicas for gradient in gradients]
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss, num_correct

    def update_average(step: tf.Tensor) -> None:
        # At first it forgets faster, or the initial weights would stay in it for long.
        steps_done = tf.cast(step, tf.float32) + 1
        decay = tf.minimum(config.ema_decay, (1 + steps_done) / (_EMA_WARMUP_STEPS + steps_done))
        for average, variable in zip(trained.average, network.weights, strict=True):
            strategy.extended.update(
                average, lambda old, new: old.assign_add((1 - decay) * (new - old)), args=(variable.value,)
            )

    def total(per_replica: tf.Tensor) -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

    @tf.function
    def steps(
        examples: DistributedBatch,
        rows: tf.distribute.DistributedValues,
        first_step: tf.Tensor,
        count: tf.Tensor,
        positions: tf.Tensor,
        said: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        losses = tf.TensorArray(tf.float32, size=count)
        num_correct = tf.constant(0, tf.int64)
        for number in tf.range(count):
            step = first_step + tf.cast(number, tf.int64)
            optimizer.learning_rate.assign(schedule(positions[number]))
            loss, correct = strategy.run(replica_step, (examples, rows, number, step))
            losses = losses.write(number, total(loss))
            num_correct += total(correct)
            if trained.average:
                update_average(step)
        return losses.stack(), num_correct, total(strategy.run(tf.identity, (said,))) if num_replicas > 1 else said

    local_replicas = len(strategy.extended.worker_devices)

    def take(call: Call, positions: np.ndarray, wants_to_stop: bool, seconds: float) -> Outcome:
        # All replicas of a worker say the same, and only the sum over all replicas is heard.
        said = np.array([wants_to_stop, seconds if is_chief else 0.0]) / local_replicas
        losses, num_correct, heard = steps(
            call.examples,
            call.rows,
            tf.constant(call.first_step, tf.int64),
            tf.constant(call.count),
            tf.constant(positions, tf.float32),
            tf.constant(said, tf.float64),
        )
        votes, chief_seconds = heard.numpy()
        return Outcome(losses.numpy(), int(num_correct), round(votes), float(chief_seconds))

    return take


def balanced_class_weights(class_histogram: tuple[int, ...]) -> np.ndarray:
    """float32 [C]: inversely proportional to a class' examples, 1 on average over examples; 0 for a class without."""
    counts = np.array(class_histogram, np.float64)
    present = counts > 0
    weights = np.zeros(len(counts))
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights.astype(np.float32)
