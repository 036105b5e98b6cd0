"""Fused batch normalisation for training on one device: one operation where Keras uses some ten.

Each of these reads and writes all activations. On a CPU, that takes as long as the convolutions of a small network.
"""

import keras
import tensorflow as tf


class BatchNormalization(keras.layers.BatchNormalization):
    """Equals Keras' layer over the last axis of [N, H, W, C], up to rounding. For training on one device only."""

    def __init__(self, momentum: float, name: str) -> None:
        # Parameters and statistics stay float32, even if activations are bfloat16.
        super().__init__(momentum=momentum, name=name, dtype="float32", autocast=False)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return tf.cast(super().call(tf.cast(inputs, tf.float32), training=False), inputs.dtype)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        # The operation gives the unbiased variance; Keras keeps the biased one.
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        for moving, current in ((self.moving_mean, mean), (self.moving_variance, variance * (count - 1) / count)):
            moving.assign(moving * self.momentum + current * (1 - self.momentum))
        return outputs
