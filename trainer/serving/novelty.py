"""`trainer.evaluation.novelty` in a TensorFlow graph."""

import tensorflow as tf

from trainer.evaluation.novelty import Novelty


def score(novelty: Novelty, features: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The probability that each image shows one character, float32 [N], from features [N, F] and logits [N, C]."""
    whitened = tf.linalg.matmul(features, novelty.whitening) - novelty.offset
    products = tf.linalg.matmul(whitened, novelty.centres, transpose_b=True)
    lengths = tf.reduce_sum(whitened**2, axis=1, keepdims=True)
    distances = lengths - 2 * products + (novelty.centres**2).sum(axis=1)
    distance_weight, energy_weight = novelty.weights
    evidence = distance_weight * tf.reduce_min(distances, axis=1) + energy_weight * tf.reduce_logsumexp(logits, axis=1)
    return tf.sigmoid(evidence + novelty.bias)


def soften(probabilities: tf.Tensor, is_character: tf.Tensor) -> tf.Tensor:
    """Probabilities [N, C], the less certain the less an image is a character; the order of classes stays."""
    is_character = is_character[:, None]
    return is_character * probabilities + (1 - is_character) / probabilities.shape[1]
