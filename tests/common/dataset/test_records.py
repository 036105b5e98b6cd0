"""The record schema, against TensorFlow's own reader (which verifies the checksums) and protocol buffers."""

import numpy as np
import pytest
import tensorflow as tf

from common.dataset import records


@pytest.mark.parametrize("num_classes", [10, 128, 129, 3000])
def test_tensorflow_reads_what_was_encoded(tmp_path, num_classes):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, num_classes, 40)
    labels[0], labels[1] = 0, num_classes - 1
    path = tmp_path / "shard"
    path.write_bytes(records.encode(images, labels, num_classes))
    examples = [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    assert len(examples) == 40
    for example, image, label in zip(examples, images, labels, strict=True):
        assert sorted(example.features.feature) == ["image", "label"]
        assert example.features.feature["image"].bytes_list.value == [image.tobytes()]
        assert example.features.feature["label"].int64_list.value == [label]


@pytest.mark.parametrize("num_classes", [62, 200])
def test_decoding_gives_back_what_was_encoded(num_classes):
    images = np.random.default_rng(1).integers(0, 256, (9, 28, 28), dtype=np.uint8)
    labels = np.arange(9) * (num_classes // 9)
    found_images, found_labels = records.decode(records.encode(images, labels, num_classes), num_classes)
    np.testing.assert_array_equal(found_images, images)
    np.testing.assert_array_equal(found_labels, labels)


def test_a_transposed_view_is_encoded_as_it_looks():
    images = np.random.default_rng(2).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    found, _ = records.decode(records.encode(images.transpose(0, 2, 1), np.zeros(3, int), 10), 10)
    np.testing.assert_array_equal(found, images.swapaxes(1, 2))


def test_no_example_is_no_byte():
    assert records.encode(np.empty((0, 28, 28), np.uint8), np.empty(0, int), 10) == b""
