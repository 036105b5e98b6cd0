"""Normalisation in one operation gives the same results as Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.models.normalization import BatchNormalization


@pytest.fixture
def layers_and_inputs() -> tuple[keras.Layer, keras.Layer, tf.Tensor]:
    """Ours and Keras', with the same weights, and a small batch: there, a wrong variance shows."""
    generator = np.random.default_rng(0)
    inputs = tf.constant(generator.normal(3, 2, (2, 4, 3, 5)), tf.float32)
    ours, theirs = BatchNormalization(0.9, "ours"), keras.layers.BatchNormalization(momentum=0.9)
    for layer in (ours, theirs):
        layer.build(inputs.shape)
        layer.set_weights([np.linspace(low, low + 1, 5) for low in (0.5, -1, 0, 1)])
    return ours, theirs, inputs


def test_outputs_gradients_and_moving_statistics_are_those_of_keras(layers_and_inputs):
    *layers, inputs = layers_and_inputs
    results = []
    for layer in layers:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(outputs**3)
        gradients = tape.gradient(loss, [inputs, *layer.trainable_variables])
        results.append([outputs, *gradients, *layer.non_trainable_variables, layer(inputs, training=False)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_activations_may_be_bfloat16_while_statistics_stay_float32(layers_and_inputs):
    ours, theirs, inputs = layers_and_inputs
    expected = theirs(inputs, training=True)
    outputs = ours(tf.cast(inputs, tf.bfloat16), training=True)
    assert outputs.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, atol=0.05)
    assert {weight.dtype for weight in ours.weights} == {"float32"}
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, atol=0.01)
    assert ours(tf.cast(inputs, tf.bfloat16), training=False).dtype == tf.bfloat16
