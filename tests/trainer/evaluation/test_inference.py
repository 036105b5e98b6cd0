"""A model's predictions on a split."""

import numpy as np
import tensorflow as tf

from common.dataset import manifest
from tests.support.datasets import read_split
from trainer.data import input_pipeline
from trainer.evaluation import inference


def test_predictions_come_in_the_order_of_the_examples_without_the_padding(synthetic_digits):
    def mean_ink(pixels: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(pixels, axis=(1, 2))

    predict = inference.make_predict(mean_ink, tf.distribute.OneDeviceStrategy("/cpu:0"))
    examples = input_pipeline.open_split(synthetic_digits, manifest.read(synthetic_digits), "train")
    assert examples.num_examples % 1024
    labels, values = predict(examples)
    images, expected_labels = read_split(synthetic_digits, "train")
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_allclose(values[:, 0], images.mean(axis=(1, 2)), rtol=1e-5)
