"""Random numbers depend on seed, purpose, step and row, not on the division of rows among devices."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.distributed import randomness
from trainer.distributed.randomness import Dropout, StepRng


def rng(seed: int = 0, step: int = 0, first_row: int = 0) -> StepRng:
    return StepRng(seed, tf.constant(step, tf.int64), tf.constant(first_row))


@pytest.mark.parametrize("shape", [(), (2,), (5, 5, 3)])
def test_a_part_of_the_rows_has_the_numbers_it_has_in_the_whole(shape):
    whole = rng().uniform("x", 12, shape).numpy()
    parts = [rng(first_row=first).uniform("x", 4, shape).numpy() for first in (0, 4, 8)]
    assert whole.shape == (12, *shape)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_seed_purpose_and_step_each_give_other_numbers():
    numbers = {
        rng(*where).uniform(purpose, 1).numpy().item()
        for where in ((0, 0), (1, 0), (0, 1), (2**32 - 1, 10**9))
        for purpose in ("x", "y")
    }
    assert len(numbers) == 8


def test_numbers_are_uniform_and_independent():
    numbers = rng().uniform("x", 1000, (100,)).numpy()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    np.testing.assert_allclose(np.histogram(numbers, 10, (0, 1))[0] / numbers.size, 0.1, atol=0.005)
    neighbours = np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1], np.corrcoef(numbers[:, :2].T)[0, 1]
    assert np.abs(neighbours).max() < 0.1


def test_dropout_drops_its_share_and_keeps_the_mean_while_training_only():
    layer, ones = Dropout(0.25, "drop"), tf.ones((400, 50))
    np.testing.assert_array_equal(layer(ones, training=False), ones)
    with randomness.use_rng(rng()):
        once = layer(ones, training=True).numpy()
        again = layer(ones, training=True).numpy()
    with randomness.use_rng(rng(step=1)):
        later = layer(ones, training=True).numpy()
    np.testing.assert_array_equal(once, again)
    assert (once == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert set(np.unique(once)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (once != later).mean() > 0.2
