"""TFRecords, checked with TensorFlow's own reader (which verifies checksums) and protocol buffers."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from common.dataset import records
from common.dataset.schema import IMAGE, LABEL, Batch, Feature, Schema, characters

LINES = Schema(
    "lines",
    (
        Feature(IMAGE, "uint8", (5, 12, 1)),
        Feature("width", "int64", bound=13),
        Feature("text", "int64", (4,), 300),
        Feature("group", "int64", bound=20_000),
    ),
    tuple(map(chr, range(300))),
)


def of_classes(num_classes: int, **size: int) -> Schema:
    return characters(tuple(map(str, range(num_classes))), **size)


def random_batch(schema: Schema, count: int, seed: int = 0) -> Batch:
    """Each feature's first two values are its smallest and its largest."""
    random = np.random.default_rng(seed)
    batch = {
        feature.name: random.integers(0, feature.bound, (count, *feature.shape)).astype(feature.dtype)
        for feature in schema.features
    }
    for feature in schema.features:
        batch[feature.name][0], batch[feature.name][1] = 0, feature.bound - 1
    return batch


SCHEMAS = {
    "10 classes": of_classes(10),
    "128 classes": of_classes(128),
    "129 classes": of_classes(129),
    "3000 classes": of_classes(3000),
    "20,000 classes": of_classes(20_000),
    "one class": of_classes(1),
    "15×9": of_classes(10, height=15, width=9),
    "lines": LINES,
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_tensorflow_reads_what_was_encoded(tmp_path, schema):
    batch = random_batch(schema, 40)
    path = tmp_path / "shard"
    path.write_bytes(records.encode(batch, schema))
    assert path.stat().st_size == 40 * records.record_bytes(schema)
    examples = [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    assert len(examples) == 40
    for number, example in enumerate(examples):
        features = example.features.feature
        assert set(features) == {feature.name for feature in schema.features}
        for feature in schema.features:
            value = batch[feature.name][number]
            if feature.dtype == "uint8":
                assert features[feature.name].bytes_list.value == [value.tobytes()]
            else:
                assert features[feature.name].int64_list.value == value.ravel().tolist()


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_decoding_gives_back_what_was_encoded(schema):
    batch = random_batch(schema, 9, seed=1)
    np.testing.assert_equal(records.decode(records.encode(batch, schema), schema), batch)


@pytest.mark.parametrize(
    ("num_classes", "sha256"),
    [
        (10, "70a9823d91e07eebaef3ca05a5bb126612a916a25e63e4e5aadff40d5ca77995"),
        (128, "6ddd78fec5092525ac169838bb3a71e6f4e794b932bd7feb81db143c25caf469"),
        (129, "04b34c4de57348aa068e0c1a95843efee42740f27aaf55db24498c698625f755"),
        (3000, "b9e90370158d320799235627a396e147822fafddda486803fe38ffeb7264f75e"),
    ],
)
def test_characters_are_the_bytes_that_they_were_before_there_was_a_schema(num_classes, sha256):
    random = np.random.default_rng([num_classes])
    batch = {IMAGE: random.integers(0, 256, (50, 28, 28, 1), np.uint8), LABEL: random.integers(0, num_classes, 50)}
    assert hashlib.sha256(records.encode(batch, of_classes(num_classes))).hexdigest() == sha256


def test_a_transposed_view_is_encoded_as_it_looks():
    images = np.random.default_rng(2).integers(0, 256, (3, 28, 28, 1), dtype=np.uint8)
    schema = of_classes(10)
    batch = {IMAGE: images.transpose(0, 2, 1, 3), LABEL: np.zeros(3, int)}
    decoded = records.decode(records.encode(batch, schema), schema)
    np.testing.assert_array_equal(decoded[IMAGE], images.swapaxes(1, 2))


def test_no_example_is_no_byte():
    schema = of_classes(10)
    assert records.encode(schema.empty(0), schema) == b""
    assert records.decode(b"", schema)[IMAGE].shape == (0, 28, 28, 1)


def test_a_number_that_no_record_can_hold_is_refused():
    with pytest.raises(ValueError, match="label: the bound 3000000 is above 2097152"):
        records.record_bytes(Schema("characters", (Feature(LABEL, "int64", bound=3_000_000),), ()))
