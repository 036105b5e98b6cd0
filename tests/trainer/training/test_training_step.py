"""A step on one device equals Keras' own; its additions are checked against NumPy."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.dataset.schema import IMAGE, LABEL
from tests.support.datasets import DIGITS
from tests.support.settings import train_config
from trainer.data.feeds import StepBlock
from trainer.distributed import devices, randomness
from trainer.distributed.cluster import ALONE
from trainer.distributed.devices import ExecutionPlan
from trainer.models import networks
from trainer.runs.ancestry import Ancestry
from trainer.tasks import characters
from trainer.training import optimizers, training_step
from trainer.training.setup import Setup
from trainer.training.training_step import TrainState

BATCH, STEPS = 20, 4
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (BATCH * STEPS, 28, 28, 1), dtype=np.uint8)
LABELS = RANDOM.integers(0, 10, BATCH * STEPS)


class Steps:
    """A network and what takes steps with it, on the same batches in every test."""

    def __init__(
        self, class_histogram: tuple[int, ...] = (1,) * 10, steps_per_execution: int = STEPS, **settings
    ) -> None:
        settings = {"model": "dense", "global_batch_size": BATCH, "learning_rate": 0.01} | settings
        self.config = train_config("d", "r", **settings)
        self.strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
        keras.utils.set_random_seed(0)
        with self.strategy.scope():
            network = networks.build(self.config, DIGITS, networks.LayerFactory(randomness.Dropout))
            optimizer = optimizers.make_optimizer(self.config.optimizer)
            optimizer.build(network.trainable_variables)
            average = [tf.Variable(weight.value) for weight in network.weights]
        self.initial = [weight.numpy() for weight in network.trainable_variables]
        self.trained = TrainState(network, optimizer, average if self.config.optimizer.ema_decay else [])
        described = SimpleNamespace(schema=DIGITS, splits={"train": SimpleNamespace(class_histogram=class_histogram)})
        dataset = SimpleNamespace(manifest=described, schema=DIGITS)
        execution = ExecutionPlan("float32", False, steps_per_execution)
        setup = Setup(
            self.config, dataset, characters.TASK, ALONE, self.strategy, execution, Path("nowhere"), Ancestry()
        )
        schedule = optimizers.make_schedule(self.config.schedule, self.config.optimizer.learning_rate)
        self._take = training_step.make_train_steps(setup, self.trained, schedule)
        self._steps_per_execution = steps_per_execution

    def blocks(self) -> Iterator[StepBlock]:
        replicas = devices.local_replicas(self.strategy)
        values = replicas[0].strategy.experimental_distribute_values_from_function
        for first in range(0, STEPS, self._steps_per_execution):
            rows = np.arange(first * BATCH, (first + self._steps_per_execution) * BATCH, dtype=np.int32).reshape(
                -1, BATCH
            )
            images, labels, rows = (values(lambda _, part=part: tf.constant(part)) for part in (IMAGES, LABELS, rows))
            yield StepBlock(first, self._steps_per_execution, {IMAGE: images, LABEL: labels}, rows)

    def take(self) -> list[training_step.Outcome]:
        schedule_progress = np.zeros(self._steps_per_execution, np.float32)
        return [self._take(block, schedule_progress, False, 5.0) for block in self.blocks()]

    def weights(self) -> list[np.ndarray]:
        return [weight.numpy() for weight in self.trained.network.trainable_variables]


def test_steps_are_those_of_keras_fit():
    ours = Steps()
    outcomes = ours.take()
    keras.utils.set_random_seed(0)
    theirs = networks.build(ours.config, DIGITS)
    theirs.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = theirs.fit(IMAGES, LABELS, batch_size=BATCH, shuffle=False, verbose=0).history
    for own, expected in zip(ours.weights(), theirs.trainable_variables, strict=True):
        np.testing.assert_allclose(own, expected.numpy(), atol=2e-6)
    assert sum(outcomes[0].losses) / len(LABELS) == pytest.approx(history["loss"][0], rel=1e-5)
    assert 1 - outcomes[0].errors / outcomes[0].units == pytest.approx(history["accuracy"][0])


def test_how_steps_are_divided_into_blocks_changes_nothing():
    settings = {"model": "cnn", "augmentation": ("rotate", "erase"), "ema_decay": 0.9}
    one_step, four_steps = Steps(steps_per_execution=1, **settings), Steps(steps_per_execution=4, **settings)
    by_one = np.concatenate([outcome.losses for outcome in one_step.take()])
    by_four = np.concatenate([outcome.losses for outcome in four_steps.take()])
    np.testing.assert_array_equal(by_one, by_four)
    for weight, other in zip(one_step.weights(), four_steps.weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


def first_gradient(**settings) -> tuple[list[np.ndarray], "Steps"]:
    """From a plain gradient step of size 1, without momentum."""
    steps = Steps(steps_per_execution=1, optimizer="sgd", learning_rate=1.0, **settings)
    steps.trained.optimizer.momentum = 0.0
    steps.trained.optimizer.nesterov = False
    steps._take(next(steps.blocks()), np.zeros(1, np.float32), False, 0.0)
    return [before - after for before, after in zip(steps.initial, steps.weights(), strict=True)], steps


def expected_gradient(steps: Steps, targets: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
    network = steps.trained.network
    for weight, value in zip(network.trainable_variables, steps.initial, strict=True):
        weight.assign(value)
    with tf.GradientTape() as tape:
        probabilities = network(IMAGES[:BATCH].astype(np.float32))
        loss = -tf.reduce_mean(weights[:, None] * targets * tf.math.log(probabilities)) * 10
    return [gradient.numpy() for gradient in tape.gradient(loss, [v.value for v in network.trainable_variables])]


def test_label_smoothing_and_class_weights_are_in_the_gradient():
    histogram = tuple(range(5, 15))
    class_weights = characters.balanced_class_weights(histogram)
    gradient, steps = first_gradient(label_smoothing=0.2)
    targets = 0.8 * np.eye(10, dtype=np.float32)[LABELS[:BATCH]] + 0.02
    for own, expected in zip(gradient, expected_gradient(steps, targets, np.ones(BATCH, np.float32)), strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-5)
    steps = Steps(histogram, steps_per_execution=1, optimizer="sgd", learning_rate=1.0, class_weights="balanced")
    steps.trained.optimizer.momentum, steps.trained.optimizer.nesterov = 0.0, False
    steps._take(next(steps.blocks()), np.zeros(1, np.float32), False, 0.0)
    gradient = [before - after for before, after in zip(steps.initial, steps.weights(), strict=True)]
    targets = np.eye(10, dtype=np.float32)[LABELS[:BATCH]]
    for own, expected in zip(gradient, expected_gradient(steps, targets, class_weights[LABELS[:BATCH]]), strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-5)


def test_a_long_gradient_is_cut_and_a_short_one_is_not():
    whole, _ = first_gradient()
    norm = np.sqrt(sum((part**2).sum() for part in whole))
    cut, _ = first_gradient(clip_norm=float(norm) / 4)
    same, _ = first_gradient(clip_norm=float(norm) * 4)
    for part, cut_part, same_part in zip(whole, cut, same, strict=True):
        np.testing.assert_allclose(cut_part, part / 4, atol=1e-5)
        np.testing.assert_allclose(same_part, part, atol=1e-6)


def test_the_average_forgets_the_first_steps_faster():
    steps = Steps(steps_per_execution=1, ema_decay=0.5)
    expected = [value.copy() for value in steps.initial]
    for number, block in enumerate(steps.blocks(), start=1):
        steps._take(block, np.zeros(1, np.float32), False, 0.0)
        decay = min(0.5, (1 + number) / (10 + number))
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, steps.weights(), strict=True)]
    for average, value in zip(steps.trained.average, expected, strict=True):
        np.testing.assert_allclose(average.numpy(), value, atol=1e-6)


def test_the_learning_rate_follows_the_schedule_within_a_block():
    steps = Steps(schedule="cosine")
    steps._take(next(steps.blocks()), np.array([0, 0.25, 0.5, 1.0], np.float32), False, 0.0)
    assert steps.trained.optimizer.learning_rate.numpy() == pytest.approx(0, abs=1e-8)


def test_votes_and_the_chiefs_clock_come_back():
    steps = Steps()
    outcome = steps._take(next(steps.blocks()), np.zeros(STEPS, np.float32), True, 7.5)
    assert (outcome.stop_votes, outcome.chief_seconds) == (1, 7.5)


def test_balanced_weights_make_all_classes_count_the_same():
    weights = characters.balanced_class_weights((10, 0, 30, 60))
    np.testing.assert_allclose(weights * np.array([10, 0, 30, 60]), [100 / 3, 0, 100 / 3, 100 / 3], rtol=1e-6)
