"""A model's predictions on a split."""

import numpy as np
import tensorflow as tf

from common.dataset import manifest
from common.dataset.schema import IMAGE, LABEL
from tests.support.datasets import read_split
from trainer.data.examples import open_split
from trainer.evaluation import inference


def test_predictions_come_in_the_order_of_the_examples_without_the_padding(synthetic_digits):
    def mean_ink(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"labels": batch[LABEL], "ink": tf.reduce_mean(batch[IMAGE], axis=(1, 2, 3))}

    predict = inference.make_predict(mean_ink, tf.distribute.OneDeviceStrategy("/cpu:0"))
    examples = open_split(synthetic_digits, manifest.read(synthetic_digits), "train")
    assert examples.num_examples % 1024
    predictions = predict(examples)
    images, expected_labels = read_split(synthetic_digits, "train")
    np.testing.assert_array_equal(predictions["labels"], expected_labels)
    np.testing.assert_allclose(predictions["ink"], images.mean(axis=(1, 2)), rtol=1e-5)
