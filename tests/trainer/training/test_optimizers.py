"""Schedules and optimizers do what their names say."""

import keras
import numpy as np
import pytest

from trainer.training import optimizers
from trainer.training.settings import OptimizerConfig, ScheduleConfig


def rates(**settings) -> np.ndarray:
    schedule = optimizers.make_schedule(ScheduleConfig(**settings), 0.1)
    return np.array([float(schedule(np.float32(place))) for place in np.linspace(0, 1, 101)])


def test_a_constant_rate_is_constant():
    np.testing.assert_array_equal(rates(), np.float32(0.1))


def test_a_warm_up_rises_linearly():
    np.testing.assert_allclose(rates(warmup_fraction=0.2)[:21], np.linspace(0, 0.1, 21), atol=1e-7)
    np.testing.assert_allclose(rates(warmup_fraction=0.2)[20:], 0.1, rtol=1e-6)


def test_a_cosine_falls_to_nothing():
    places = np.linspace(0, 1, 101)
    np.testing.assert_allclose(rates(name="cosine"), 0.05 * (1 + np.cos(np.pi * places)), atol=1e-7)


@pytest.mark.parametrize(("settings", "peak"), [({}, 30), ({"warmup_fraction": 0.5}, 50)])
def test_one_cycle_rises_from_a_25th_and_falls_to_nothing(settings, peak):
    learning_rates = rates(name="one_cycle", **settings)
    assert learning_rates[0] == pytest.approx(0.1 / 25)
    assert learning_rates.argmax() == peak
    assert learning_rates.max() == pytest.approx(0.1)
    assert learning_rates[-1] == pytest.approx(0, abs=1e-7)
    assert (np.diff(learning_rates[:peak]) > 0).all()
    assert (np.diff(learning_rates[peak:]) < 0).all()


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW"), ("sgd", "SGD")])
def test_biases_and_normalisation_do_not_decay(name, kind):
    layers = [keras.layers.Dense(3, name="dense"), keras.layers.BatchNormalization(name="norm")]
    network = keras.Sequential([keras.Input((2,)), *layers])
    optimizer = optimizers.make_optimizer(OptimizerConfig(name, learning_rate=0.1, weight_decay=0.5))
    assert type(optimizer).__name__ == kind
    optimizer.build(network.trainable_variables)
    before = [variable.numpy() for variable in network.trainable_variables]
    for variable in network.trainable_variables:
        variable.assign(before[0].mean() + np.ones(variable.shape, np.float32))
    before = [variable.numpy() for variable in network.trainable_variables]
    optimizer.apply([np.zeros(variable.shape, np.float32) for variable in network.trainable_variables])
    after = [variable.numpy() for variable in network.trainable_variables]
    np.testing.assert_allclose(after[0], before[0] * (1 - 0.1 * 0.5), rtol=1e-6)
    for was, now in zip(before[1:], after[1:], strict=True):
        np.testing.assert_array_equal(was, now)
