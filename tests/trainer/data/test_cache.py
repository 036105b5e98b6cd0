"""Datasets in a bucket are read through a local cache."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common import storage
from common.dataset import manifest as manifests
from common.errors import InputError
from trainer.data import cache
from trainer.data.cache import MovingWindow
from trainer.data.examples import open_examples, open_shard, open_split
from trainer.data.order import make_order


@pytest.fixture
def remote(bucket, synthetic_digits):
    """The drawn digits in a bucket: the dataset folder there and its manifest."""
    folder = storage.to_path(f"{bucket}/digits")
    folder.upload_from(synthetic_digits)
    return folder, manifests.read(folder)


def stage(remote, place: Path, limit_bytes: float = 1e9, splits=("train", "test")) -> Path:
    return cache.stage(*remote, splits, place, limit_bytes)


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_what_is_asked_for_is_fetched_and_right(remote, synthetic_digits, tmp_path):
    local = stage(remote, tmp_path, splits=("test",))
    names = sorted(path.name for path in local.iterdir())
    assert names == [shard.name for shard in remote[1].splits["test"].shards]
    for name in names:
        assert (local / name).read_bytes() == (synthetic_digits / name).read_bytes()


def test_over_a_bad_network_all_arrives_whole(faulty_bucket, quick_retries, remote, synthetic_digits, tmp_path):
    faulty_bucket.rate = 0.2
    folder, manifest = storage.to_path(str(remote[0])), remote[1]  # now over that network
    local = stage((folder, manifest), tmp_path)
    for path in local.iterdir():
        assert path.read_bytes() == (synthetic_digits / path.name).read_bytes()
    assert sum(faulty_bucket.happened.values()) > 2


def test_what_is_there_is_not_fetched_again(remote, tmp_path, caplog):
    before = stamps(stage(remote, tmp_path))
    with caplog.at_level("INFO", "trainer"):
        assert stamps(stage(remote, tmp_path)) == before
    assert "0 MB of them fetched" in caplog.text


def test_what_has_been_damaged_is_fetched_again(remote, synthetic_digits, tmp_path):
    local = stage(remote, tmp_path)
    damaged = sorted(local.iterdir())[0]
    content = bytearray(damaged.read_bytes())
    content[100] ^= 1
    damaged.write_bytes(content)
    before = stamps(local)
    after = stamps(stage(remote, tmp_path))
    assert [name for name in before if before[name] != after[name]] == [damaged.name]
    assert damaged.read_bytes() == (synthetic_digits / damaged.name).read_bytes()


def test_a_local_dataset_is_used_where_it_is(synthetic_digits, tmp_path):
    manifest = manifests.read(synthetic_digits)
    assert stage((synthetic_digits, manifest), tmp_path) == synthetic_digits
    assert not list(tmp_path.iterdir())


def test_a_shard_that_is_missing_or_wrong_in_the_bucket_is_named(remote, tmp_path):
    folder, manifest = remote
    shard = folder / manifest.splits["test"].shards[0].name
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=f"{shard}: the shard is damaged"):
        stage(remote, tmp_path)
    shard.unlink()
    with pytest.raises(InputError, match=f"{shard}: the shard is missing"):
        stage(remote, tmp_path)
    left = [path.name for path in next((tmp_path / "datasets").iterdir()).iterdir()]
    assert shard.name not in left
    assert not any("fetching" in name for name in left)


def test_datasets_that_leave_no_room_go_the_longest_unused_first(remote, tmp_path):
    datasets, now = tmp_path / "datasets", time.time()
    for name, hours in (("recent", 1), ("old", 5), ("older", 9)):
        (datasets / name).mkdir(parents=True)
        (datasets / name / "shard").write_bytes(bytes(1_000_000))
        os.utime(datasets / name, (now - 3600 * hours,) * 2)
    size = sum(shard.size_bytes for split in remote[1].splits.values() for shard in split.shards)
    local = stage(remote, tmp_path, limit_bytes=size + 1_500_000)
    assert sorted(path.name for path in datasets.iterdir()) == sorted(["recent", local.name])


def test_a_split_larger_than_the_cache_passes_through_it(remote, synthetic_digits, tmp_path):
    folder, manifest = remote
    local = open_split(synthetic_digits, manifest, "train")
    limit = 5 * max(shard.size_bytes for shard in manifest.splits["train"].shards)
    window = MovingWindow(
        *(folder, manifest, "train", tmp_path, limit),
        lambda path, shard: open_shard(path, shard, manifest.schema),
    )
    streamed = open_examples(window, manifest, "train")
    order = make_order(streamed.shard_sizes, 300, seed=0)
    largest = 0
    for start in range(0, 2 * streamed.num_examples, 100):
        streamed.expect(lambda first, _: order(first, first + 300), start)
        numbers = order(start, start + 100)
        np.testing.assert_equal(streamed.take(numbers), local.take(numbers))
        largest = max(largest, cache._size_of(next((tmp_path / "datasets").iterdir())))
    assert largest <= 2 * limit  # what is being read, and what comes next, may be more than the limit for a moment
    assert largest < local.num_examples * 800, "never all of it"


def test_a_manifest_that_names_files_elsewhere_is_refused(synthetic_digits, tmp_path):
    shutil.copytree(synthetic_digits, tmp_path / "data")
    path = tmp_path / "data" / "manifest.json"
    loaded = manifests.read(tmp_path / "data")
    test = loaded.splits["test"]
    for name in ("../outside", "/etc/passwd", "folder/shard"):
        shards = (replace(test.shards[0], name=name), *test.shards[1:])
        path.write_bytes(manifests.to_json(replace(loaded, splits={"test": replace(test, shards=shards)})))
        with pytest.raises(InputError, match="names a shard that is not a file in this folder"):
            manifests.read(tmp_path / "data")
    path.write_bytes(manifests.to_json(replace(loaded, data_fingerprint="../../etc")))
    with pytest.raises(InputError, match="its data_fingerprint is wrong"):
        manifests.read(tmp_path / "data")
