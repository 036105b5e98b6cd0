"""Paths, and atomic writes."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common import storage
from common.errors import InputError
from common.storage import Versioned, gcs


def test_a_local_path_is_a_path():
    assert storage.to_path("a/b") == Path("a/b")
    assert storage.to_path("~/x") == Path.home() / "x"


def test_a_bucket_path_behaves_like_a_path(bucket):
    path = storage.to_path(f"{bucket}/folder/file.txt")
    storage.write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
    assert gcs.find(path).content_type == "text/plain"
    assert storage.sha256_of(path) == "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    storage.move(path, path.parent / "moved.txt")
    storage.move(path, path.parent / "moved.txt")  # as after an interruption
    assert [child.name for child in path.parent.iterdir()] == ["moved.txt"]
    storage.remove(path.parent)
    storage.remove(path.parent)
    assert not (path.parent / "moved.txt").exists()


@pytest.mark.parametrize("location", ["s3://bucket/x", "http://host/x", "file:///x"])
def test_other_schemes_are_refused(location):
    with pytest.raises(InputError, match=r"give a local path or gs://bucket/prefix"):
        storage.to_path(location)


def test_a_home_folder_of_nobody_is_refused():
    with pytest.raises(InputError, match=r"~no-such-user/x: there is no home folder of that name"):
        storage.to_path("~no-such-user/x")


def test_an_interrupted_write_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    storage.write_atomically(path, b"old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        storage.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_that_was_to_be_written_is_named_when_the_disk_is_full(tmp_path, monkeypatch):
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left on device") as full:
        storage.write_atomically(tmp_path / "file", b"x")
    assert str(storage.to_user_error(full.value)) == f"{tmp_path / 'file'}: No space left on device"
    assert not list(tmp_path.iterdir())


def test_others_may_read_what_was_written(tmp_path):
    storage.write_atomically(tmp_path / "new/folder/file", b"x")
    assert (tmp_path / "new/folder/file").stat().st_mode & 0o777 == 0o644


@pytest.fixture(params=["disk", "bucket"])
def file(request, tmp_path):
    """A path on a disk, or in a bucket that keeps its preconditions."""
    if request.param == "disk":
        return tmp_path / "folder" / "file"
    request.getfixturevalue("faulty_bucket")
    return storage.to_path("gs://test/folder/file")


def test_a_file_is_replaced_only_if_it_is_what_was_seen(file):
    nothing = storage.read_versioned(file)
    assert nothing == Versioned(None)
    assert storage.compare_and_swap(file, b"one", nothing)
    assert not storage.compare_and_swap(file, b"two", nothing), "it is there by now"
    first = storage.read_versioned(file)
    assert first.content == b"one"
    second = storage.compare_and_swap(file, b"two", first)
    assert second == storage.read_versioned(file), "the next write goes by it"
    assert not storage.compare_and_swap(file, b"three", first)
    assert storage.read_versioned(file).content == b"two"


def test_a_file_that_was_removed_is_not_what_was_seen(file):
    storage.compare_and_swap(file, b"one", Versioned(None))
    first = storage.read_versioned(file)
    storage.remove(file)
    assert not storage.compare_and_swap(file, b"two", first)
    assert storage.read_versioned(file) == Versioned(None)


def test_of_many_that_saw_the_same_one_succeeds(file):
    storage.compare_and_swap(file, b"seen", Versioned(None))
    seen = storage.read_versioned(file)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: storage.compare_and_swap(file, b"%d" % number, seen), range(8)))
    (winner,) = filter(None, results)
    assert storage.read_versioned(file) == winner == results[int(winner.content)]


def test_files_have_the_same_checksums_on_a_disk_and_in_a_bucket(bucket, tmp_path):
    for folder in (tmp_path / "folder", storage.to_path(f"{bucket}/folder")):
        storage.write_atomically(folder / "a" / "file", b"123456789")
        storage.write_atomically(folder / ".hidden", b"")
        assert storage.checksums_below(folder) == {"a/file": (9, "4waSgw==")}


def test_a_lock_can_be_looked_at(tmp_path):
    folder = tmp_path / "folder"
    assert not storage.is_locked(folder)
    with storage.lock(folder):
        assert storage.is_locked(folder)
    assert not storage.is_locked(folder)
