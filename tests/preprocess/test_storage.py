"""Paths, and writes that are whole or not at all."""

import os
from pathlib import Path

import pytest

from preprocess import bucket_client, storage
from preprocess.errors import InputError


def test_a_local_path_is_a_path():
    assert storage.to_path("a/b") == Path("a/b")
    assert storage.to_path("~/x") == Path.home() / "x"


def test_a_bucket_path_behaves_like_a_path(bucket):
    path = storage.to_path(f"{bucket}/folder/file.txt")
    storage.write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
    assert bucket_client.find(path).content_type == "text/plain"
    assert storage.sha256_of(path) == "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    storage.move(path, path.parent / "moved.txt")
    storage.move(path, path.parent / "moved.txt")  # as after an interruption
    assert [found.name for found in path.parent.iterdir()] == ["moved.txt"]
    storage.remove(path.parent)
    storage.remove(path.parent)
    assert not (path.parent / "moved.txt").exists()


@pytest.mark.parametrize("location", ["s3://bucket/x", "http://host/x", "file:///x"])
def test_other_schemes_are_refused(location):
    with pytest.raises(InputError, match=r"give a local path or gs://bucket/prefix"):
        storage.to_path(location)


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


def test_others_may_read_what_was_written(tmp_path):
    storage.write_atomically(tmp_path / "new/folder/file", b"x")
    assert (tmp_path / "new/folder/file").stat().st_mode & 0o777 == 0o644
