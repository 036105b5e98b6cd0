"""Every example reaches training once an epoch and evaluation once, unchanged, in memory or streamed."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.dataset import manifest
from common.dataset.schema import IMAGE, LABEL
from common.errors import InputError
from tests.support.datasets import as_set, read_split
from trainer.data import feeds
from trainer.data.examples import Examples, open_split
from trainer.data.feeds import Feed
from trainer.data.order import make_order
from trainer.distributed import devices

BATCH, STEPS_PER_EXECUTION = 250, 4


@pytest.fixture(scope="module")
def examples(synthetic_digits) -> Examples:
    return open_split(synthetic_digits, manifest.read(synthetic_digits), "train")


@pytest.fixture(scope="module")
def replicas() -> list[devices.LocalReplica]:
    return devices.local_replicas(tf.distribute.MirroredStrategy(["/cpu:0"]))


def seen(
    feed, examples: Examples, replicas, num_steps: int, first_step: int = 0, shuffle_window: int = 10**6, seed: int = 0
):
    """The images and labels of steps `first_step` … `num_steps`, as the training function gathers them."""
    order = make_order(examples.shard_sizes, shuffle_window, seed)
    starts = range(first_step, num_steps, STEPS_PER_EXECUTION)
    blocks = [(start, min(STEPS_PER_EXECUTION, num_steps - start)) for start in starts]
    images, labels = [], []
    for block in feed(Feed(examples, order, BATCH, STEPS_PER_EXECUTION, replicas), blocks):
        values = (block.rows, block.examples[IMAGE], block.examples[LABEL])
        (rows,), (all_images,), (all_labels,) = map(replicas[0].strategy.experimental_local_results, values)
        assert (all_images.dtype, all_labels.dtype, rows.shape) == (tf.uint8, tf.int64, (STEPS_PER_EXECUTION, BATCH))
        for row in rows[: block.count]:
            images.append(tf.gather(all_images, row).numpy())
            labels.append(tf.gather(all_labels, row).numpy())
    return np.concatenate(images)[..., 0], np.concatenate(labels)


FEEDS = [(Feed.in_memory, 10**6), (Feed.streamed, 10**6), (Feed.streamed, 500)]


@pytest.mark.parametrize(("feed", "shuffle_window"), FEEDS)
def test_an_epoch_holds_each_training_example_once_and_batches_run_on(
    synthetic_digits, examples, replicas, feed, shuffle_window
):
    count = examples.num_examples
    assert count % BATCH, "the end of an epoch should fall inside a batch"
    images, labels = seen(feed, examples, replicas, 2 * count // BATCH, shuffle_window=shuffle_window)
    whole = as_set(*read_split(synthetic_digits, "train"))
    assert len(whole) == count
    assert as_set(images[:count], labels[:count]) == whole
    assert len(as_set(images[count:], labels[count:])) == len(labels) - count


def test_memory_and_stream_give_the_same_in_the_same_order(examples, replicas):
    for shuffle_window in (10**6, 500):
        in_memory = seen(Feed.in_memory, examples, replicas, 20, shuffle_window=shuffle_window)
        streamed = seen(Feed.streamed, examples, replicas, 20, shuffle_window=shuffle_window)
        np.testing.assert_array_equal(in_memory[0], streamed[0])
        np.testing.assert_array_equal(in_memory[1], streamed[1])


@pytest.mark.parametrize(("feed", "shuffle_window"), FEEDS)
def test_any_step_can_be_the_first(examples, replicas, feed, shuffle_window):
    whole, _ = seen(feed, examples, replicas, 20, shuffle_window=shuffle_window)
    rest, _ = seen(feed, examples, replicas, 20, first_step=13, shuffle_window=shuffle_window)
    np.testing.assert_array_equal(rest, whole[13 * BATCH :])


def test_order_is_decided_by_the_seed_and_differs_between_epochs():
    sizes = (40, 0, 35, 25)
    for shuffle_window in (100, 30):
        order = make_order(sizes, shuffle_window, 0)
        np.testing.assert_array_equal(order(0, 250), make_order(sizes, shuffle_window, 0)(0, 250))
        assert not np.array_equal(order(0, 100), make_order(sizes, shuffle_window, 1)(0, 100))
        assert not np.array_equal(order(0, 100), order(100, 200))
        for epoch in range(2):
            assert sorted(order(100 * epoch, 100 * epoch + 100)) == list(range(100))


def test_in_a_stream_shards_follow_each_other_and_neighbours_are_shuffled():
    order = make_order((1000,) * 5, 200, 0)(0, 5000)
    shards = (order // 1000).reshape(5, 1000)
    assert (shards == shards[:, :1]).all()
    assert sorted(shards[:, 0]) == [0, 1, 2, 3, 4]
    assert (np.diff(order) != 1).mean() > 0.98


def test_examples_are_taken_by_number_from_any_shard(synthetic_digits, examples):
    images, labels = read_split(synthetic_digits, "train")
    numbers = np.random.default_rng(0).integers(0, len(labels), 1000)
    taken = examples.take(numbers)
    np.testing.assert_array_equal(taken[IMAGE][..., 0], images[numbers])
    np.testing.assert_array_equal(taken[LABEL], labels[numbers])


def test_a_split_can_be_cut_off(synthetic_digits):
    few = open_split(synthetic_digits, manifest.read(synthetic_digits), "train", max_examples=100)
    assert (few.num_examples, few.shard_sizes) == (100, (100,))


def test_records_of_another_length_are_refused(synthetic_digits):
    loaded = manifest.read(synthetic_digits)
    train = loaded.splits["train"]
    longer = replace(train, shards=(replace(train.shards[0], size_bytes=train.shards[0].size_bytes + 1),))
    with pytest.raises(InputError, match=r"records are not \d+ bytes long"):
        open_split(synthetic_digits, replace(loaded, splits={"train": longer}), "train")


def test_evaluation_gives_each_example_once_in_order_and_marks_what_is_none(synthetic_digits, replicas):
    test = open_split(synthetic_digits, manifest.read(synthetic_digits), "test")
    local = replicas[0].strategy.experimental_local_results
    batches = [
        tuple(local(part)[0].numpy() for part in (batch.examples[IMAGE], batch.examples[LABEL], batch.is_example))
        for batch in feeds.evaluation_batches(test, 300, replicas)
    ]
    assert [images.shape for images, _, _ in batches] == [(300, 28, 28, 1)] * 2
    images, labels = read_split(synthetic_digits, "test")
    is_example = np.concatenate([mask for _, _, mask in batches])
    assert is_example.tolist() == [True] * len(labels) + [False] * (600 - len(labels))
    np.testing.assert_array_equal(np.concatenate([part for part, _, _ in batches])[is_example][..., 0], images)
    np.testing.assert_array_equal(np.concatenate([part for _, part, _ in batches])[is_example], labels)


def test_workers_get_rows_of_their_own_that_together_are_the_batch(examples):
    """As one process would see it: replicas 0, 1 on the first worker and 2, 3 on the second."""
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    order = make_order(examples.shard_sizes, 10**6, 0)
    whole, parts = None, []
    for number in range(4):
        replicas = [devices.LocalReplica(number, 4, "/cpu:0", strategy)]
        (block,) = Feed(examples, order, 400, 1, replicas).streamed([(5, 1)])
        parts.append(strategy.experimental_local_results(block.examples[IMAGE])[0].numpy()[:100])
        batches = list(feeds.evaluation_batches(examples, 400, replicas))
        counted = sum(strategy.experimental_local_results(batch.is_example)[0].numpy().sum() for batch in batches)
        whole = counted if whole is None else whole + counted
    np.testing.assert_array_equal(np.concatenate(parts), examples.take(order(2000, 2400))[IMAGE])
    assert whole == examples.num_examples


def test_an_empty_shard_is_passed_over(synthetic_digits, tmp_path: Path):
    data = tmp_path / "data"
    shutil.copytree(synthetic_digits, data)
    loaded = manifest.read(data)
    train = loaded.splits["train"]
    (data / "empty").touch()
    empty = replace(train.shards[0], name="empty", num_examples=0, size_bytes=0)
    with_empty = replace(loaded, splits={"train": replace(train, shards=(empty, *train.shards))})
    assert open_split(data, with_empty, "train").num_examples == train.num_examples
