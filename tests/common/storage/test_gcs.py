"""Nothing that is written to a bucket or read from it over a bad network is lost or damaged."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from google.api_core import exceptions
from google.api_core.exceptions import PreconditionFailed

from common import storage
from common.errors import FailedError, InputError, TemporaryError
from common.storage import gcs
from tests.support import faulty_bucket as faults

MB = 1 << 20
FILES = 60


def content(seed: int, size: int = 5000) -> bytes:
    return random.Random(seed).randbytes(size)


def write(path, tmp_path):
    storage.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def write_much(path, tmp_path):
    """So much that it is an upload in parts."""
    storage.write_atomically(path, content(1, 9 * MB))
    assert path.read_bytes() == content(1, 9 * MB)


def write_as_a_path_does(path, tmp_path):
    path.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def download(path, tmp_path):
    storage.download(path, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content(0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["copy"]


def look(path, tmp_path):
    assert path.exists()
    assert path.stat().st_size == len(content(0))
    assert not (path.parent / "other").exists()
    assert path.parent.is_dir()
    assert not path.is_dir()


def list_names(path, tmp_path):
    assert list(storage.objects_below(path.parent)) == [path.name]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def copy_folder(path, tmp_path):
    with storage.local_copy(path.parent) as local:
        assert (local / path.name).read_bytes() == content(0)


def move(path, tmp_path):
    storage.write_atomically(path.parent / "moved", b"old")
    storage.move(path, path.parent / "moved")
    assert not path.exists()
    assert (path.parent / "moved").read_bytes() == content(0)


def remove(path, tmp_path):
    storage.remove(path)
    assert not path.exists()


def remove_folder(path, tmp_path):
    storage.remove(path.parent)
    assert not storage.objects_below(path.parent)


@pytest.mark.parametrize("fault", [*faults.PASSING, "408"])
@pytest.mark.parametrize(
    "do",
    [
        *(write, write_much, write_as_a_path_does, download, look, list_names, copy_folder, move, remove),
        remove_folder,
    ],
)
def test_what_goes_wrong_once_goes_well_in_the_end(faulty_bucket, quick_retries, tmp_path, do: Callable, fault: str):
    path = storage.to_path("gs://test/folder/file")
    storage.write_atomically(path, content(0))
    for method in ("GET", "POST", "PUT", "DELETE"):  # the first of each
        faulty_bucket.spoil(fault, method)
    faulty_bucket.happened.clear()
    do(path, tmp_path)
    assert fault == faults.FLIP or faulty_bucket.happened[fault]


@pytest.mark.parametrize("way", ["GET", "POST", "PUT"])
def test_a_flipped_bit_is_found_on_the_way_there_and_back(faulty_bucket, quick_retries, way):
    path = storage.to_path("gs://test/file")
    faulty_bucket.spoil(faults.FLIP, way, times=3)
    storage.write_atomically(path, content(1, 9 * MB if way == "PUT" else 5000))
    assert path.read_bytes() == content(1, 9 * MB if way == "PUT" else 5000)
    assert faulty_bucket.happened[faults.FLIP] == 3


def test_what_broke_off_is_checked_as_a_whole(faulty_bucket, quick_retries, tmp_path):
    """google-cloud-storage goes on where it was, and then checks nothing."""
    path = storage.to_path("gs://test/file")
    storage.write_atomically(path, content(1, 100_000))
    faulty_bucket.spoil("cut", "GET", "alt=media")
    faulty_bucket.spoil(faults.FLIP, "GET", "alt=media")
    storage.download(path, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content(1, 100_000)


@pytest.mark.parametrize("size", [5000, 9 * MB])
def test_an_object_is_written_and_removed_only_in_the_generation_one_means(faulty_bucket, size):
    path = storage.to_path("gs://test/file")
    first = gcs.write(path, content(1, size), generation=0)
    for generation in (0, first.generation + 1):
        with pytest.raises(PreconditionFailed):
            gcs.write(path, content(2, size), generation)
    second = gcs.write(path, content(3, size), first.generation)
    with pytest.raises(PreconditionFailed):
        gcs.delete(gcs.blob(path), first.generation)
    assert path.read_bytes() == content(3, size)
    gcs.delete(gcs.blob(path), second.generation)
    assert gcs.find(path) is None
    assert any(request.startswith("PUT") for request in faulty_bucket.asked) == (size > 8 * MB), "in parts, also here"


def test_a_download_that_fails_leaves_nothing(faulty_bucket, quick_retries, tmp_path, monkeypatch):
    monkeypatch.setattr(gcs, "_SECONDS_OF_RETRIES", 0.2)
    path = storage.to_path("gs://test/file")
    storage.write_atomically(path, content(1))
    faulty_bucket.spoil("cut", "GET", "alt=media", times=float("inf"))
    with pytest.raises(Exception) as failure:
        storage.download(path, tmp_path / "copy")
    user_error = storage.to_user_error(failure.value)
    assert isinstance(user_error, TemporaryError)
    assert str(user_error).startswith("the bucket cannot be reached (")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (requests.ConnectionError("refused"), TemporaryError, "the bucket cannot be reached (refused)"),
        (requests.exceptions.SSLError("EOF"), TemporaryError, "the bucket cannot be reached (EOF)"),
        (
            requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"),
            InputError,
            "the bucket: its certificate is not trusted here",
        ),
        (requests.exceptions.InvalidSchema("No connection adapters"), FailedError, "the bucket cannot be reached"),
        (exceptions.RetryError("Timeout", cause=exceptions.ServiceUnavailable("down")), TemporaryError, "503 down"),
        (exceptions.TooManyRequests("slow down"), TemporaryError, "the bucket cannot be reached (429 slow down)"),
        (exceptions.MethodNotImplemented("501"), FailedError, "the bucket cannot be reached"),
    ],
)
def test_only_what_may_pass_is_told_to_be_tried_again(error, kind, message):
    user_error = storage.to_user_error(error)
    assert type(user_error) is kind
    assert message in str(user_error)


def test_none_of_many_files_is_lost_or_damaged_while_a_fifth_of_all_requests_fail(
    faulty_bucket, quick_retries, tmp_path
):
    folder = storage.to_path("gs://test/folder")
    faulty_bucket.rate = 0.2

    def life(number: int) -> None:
        path = folder / f"new-{number}"
        storage.write_atomically(path, content(number))
        assert path.exists()
        storage.move(path, folder / f"file-{number}")
        storage.download(folder / f"file-{number}", tmp_path / str(number))
        if number % 3 == 0:
            storage.remove(folder / f"file-{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(life, range(FILES)))
    assert sorted(storage.objects_below(folder)) == sorted(f"file-{number}" for number in range(FILES) if number % 3)
    for number in range(FILES):
        assert (tmp_path / str(number)).read_bytes() == content(number)
        if number % 3:
            assert (folder / f"file-{number}").read_bytes() == content(number)
    assert set(faulty_bucket.happened) == set(faults.PASSING)
    assert sum(faulty_bucket.happened.values()) > 0.15 * len(faulty_bucket.asked)
