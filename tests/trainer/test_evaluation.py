"""Figures of a model on a split, checked by hand."""

import numpy as np
import pytest
import tensorflow as tf

from preprocess import manifest
from tests.preprocess.test_pipeline import read_split
from trainer import evaluation, input_pipeline


def test_metrics_are_those_of_the_definition():
    labels = np.array([0, 1, 1, 2])
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.0, 0.0, 1.0]], np.float32)
    found = evaluation.compute_metrics(labels, probabilities)
    assert found.num_examples == 4
    assert found.accuracy == 0.75
    assert found.loss == pytest.approx(-(np.log(0.5) + np.log(0.8) + np.log(0.3)) / 4)


def test_a_probability_of_zero_gives_a_finite_loss():
    assert np.isfinite(evaluation.compute_metrics(np.array([1]), np.array([[1.0, 0.0]], np.float32)).loss)


def test_predictions_come_in_the_order_of_the_examples_without_the_padding(synthetic_digits):
    def mean_ink(pixels: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(pixels, axis=(1, 2))

    predict = evaluation.make_predict(mean_ink, tf.distribute.OneDeviceStrategy("/cpu:0"))
    examples = input_pipeline.open_split(synthetic_digits, manifest.read(synthetic_digits), "train")
    assert examples.num_examples % evaluation.BATCH_SIZE
    labels, values = predict(examples)
    images, expected_labels = read_split(synthetic_digits, "train")
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_allclose(values[:, 0], images.mean(axis=(1, 2)), rtol=1e-5)
