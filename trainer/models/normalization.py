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


class Unmasked:
    """Keras' own layer in the place of `MaskedBatchNormalization`: once trained, it needs no mask."""

    def __init__(self, momentum: float, name: str) -> None:
        self._layer = keras.layers.BatchNormalization(momentum=momentum, name=name)

    def __call__(self, inputs: keras.KerasTensor, mask: keras.KerasTensor) -> keras.KerasTensor:
        return self._layer(inputs)


class MaskedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation whose statistics count only what a mask lets through, on all devices together.

    Of inputs [N, H, W, C] and a mask [N, 1, W, 1], 1 inside the lines and 0 right of them, where inputs are anything.
    """

    def __init__(self, momentum: float, name: str) -> None:
        super().__init__(momentum=momentum, name=name, dtype="float32", autocast=False)

    def build(self, input_shape: tuple[int | None, ...], *_: object) -> None:
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, inside: tf.Tensor, training: bool = False) -> tf.Tensor:
        mean, variance = self.moving_mean.value, self.moving_variance.value
        if training:
            mean, variance = self._moments(tf.cast(inputs, tf.float32), tf.cast(inside, tf.float32))
            for moving, current in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + current * (1 - self.momentum))
        scale = self.gamma * tf.math.rsqrt(variance + self.epsilon)
        return inputs * tf.cast(scale, inputs.dtype) + tf.cast(self.beta - mean * scale, inputs.dtype)

    def _moments(self, inputs: tf.Tensor, inside: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The mean and the biased variance of each channel, float32 [C]."""
        # As products of matrices, which are several times as fast as sums of masked values.
        rows = tf.reshape(inputs, [-1, inputs.shape[-1]])
        weights = tf.reshape(tf.broadcast_to(inside, tf.shape(inputs[..., :1])), [1, -1])
        sums = [tf.reduce_sum(weights), tf.matmul(weights, rows)[0], tf.matmul(weights, tf.square(rows))[0]]
        if (context := tf.distribute.get_replica_context()) and context.num_replicas_in_sync > 1:
            sums = context.all_reduce(tf.distribute.ReduceOp.SUM, sums)
        count, values, squares = sums
        mean = values / count
        return mean, tf.maximum(squares / count - tf.square(mean), 0)
