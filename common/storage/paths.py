"""Path objects for local folders and `gs://` buckets, and operations on both.

Code that takes a path from a user converts it with `to_path`. Bucket paths use the client in `gcs`.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO

from common.errors import CommandError, InputError, shown
from common.storage.checksums import crc32c

if TYPE_CHECKING:
    from cloudpathlib import GSPath
    from google.cloud.storage import Blob

    AnyPath = Path | GSPath

CACHE_DIR = "~/.cache/handwriting-trainer"
"""The default folder for downloads."""

BUCKET_NAME = r"[a-z0-9][-a-z0-9_.]{1,220}[a-z0-9]"
"""Regular expression (https://cloud.google.com/storage/docs/buckets#naming), since URLs contain the name."""

_OF_THE_DISK = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),  # the user may not
    *(errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),  # such a path cannot be
    *(errno.ENOSPC, errno.EDQUOT),  # there is no space
}


def to_path(location: "str | os.PathLike[str]") -> "AnyPath":
    """The path object for a local path or `gs://bucket/prefix`.

    Raises `InputError` for any other scheme, and for `~name` if there is no such user.
    """
    text = os.fspath(location)
    if text.startswith("gs://"):
        check_bucket(text)
        return gcs_module().path(text)
    if "://" in text:
        raise InputError(f"{text}: cannot read or write there; give a local path or gs://bucket/prefix")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InputError(f"{text}: there is no home folder of that name; give a path without ~") from None


def check_bucket(location: str) -> None:
    """Raises `InputError` if `location`, which begins with gs://, has no valid bucket name."""
    bucket = location.removeprefix("gs://").partition("/")[0]
    if not re.fullmatch(BUCKET_NAME, bucket, re.ASCII):
        raise InputError(f"{shown(location)}: {shown(bucket)} is not a valid bucket name; give gs://bucket/…")


def gcs_module() -> ModuleType:
    """The module for buckets, imported on first use because the import takes a second."""
    from common.storage import gcs

    return gcs


def to_user_error(error: Exception) -> CommandError | None:
    """The error to show to the user if `error` came from a bucket, or says what a disk refuses; None for others."""
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return InputError(f"{error.filename or 'the disk'}: {error.strerror}")
    imported = sys.modules.get("common.storage.gcs")  # if not imported, it raised nothing
    return imported.to_user_error(error) if imported else None


def read(path: "AnyPath") -> bytes:
    """Like `path.read_bytes()`, but with one request to a bucket instead of several."""
    return path.read_bytes() if isinstance(path, Path) else gcs_module().read(path)


def write(path: "AnyPath", content: bytes) -> None:
    """Like `path.write_bytes(content)`, but with one request to a bucket instead of several."""
    path.write_bytes(content) if isinstance(path, Path) else gcs_module().write(path, content)


def write_atomically(path: "AnyPath", content: bytes) -> None:
    """Writes `content` so that a reader, or a run started after a crash, sees all of it or nothing."""
    with writing(path) as file:
        file.write(content)


@contextmanager
def writing(path: "AnyPath") -> Iterator[BinaryIO]:
    """A binary file that replaces `path` atomically when the block succeeds, and is discarded if it raises.

    Raises `InputError` if `path` is a folder.
    """
    if not isinstance(path, Path):
        with tempfile.NamedTemporaryFile() as file:
            yield file
            file.flush()
            gcs_module().upload(Path(file.name), path)
        return
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file")
    make_folder(path.parent)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        error.filename = str(path)  # which the user knows, unlike the temporary file
        raise
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp leaves files that only their owner can read
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink()
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            error.filename = error.filename or str(path)  # a full disk names no file
        raise


def make_folder(path: "AnyPath") -> None:
    """Makes a local folder with its parents; a bucket has no folders to make."""
    if isinstance(path, Path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot make this folder ({error.strerror})") from None


def checksums_below(folder: "AnyPath") -> dict[str, tuple[int, str]]:
    """Size in bytes and CRC32C (see `crc32c`) of each file below `folder`, by relative path.

    Hidden files are skipped.
    """
    if isinstance(folder, Path):
        contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in _files_below(folder)}
        checksums = {name: (len(content), crc32c(content)) for name, content in contents.items()}
    else:
        checksums = {name: (int(blob.size), blob.crc32c) for name, blob in objects_below(folder).items()}
    return {name: facts for name, facts in sorted(checksums.items()) if not name.rpartition("/")[2].startswith(".")}


def fingerprint_below(folder: "AnyPath", leaving_out: str) -> str:
    """64 hexadecimal digits that depend on every file below `folder`, but for hidden ones and those in a sub-folder."""
    files = {name: facts for name, facts in checksums_below(folder).items() if not name.startswith(f"{leaving_out}/")}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def download(path: "AnyPath", target: Path) -> None:
    """Copies one file, checked by its CRC32C if it comes from a bucket. Raises `FileNotFoundError`."""
    if isinstance(path, Path):
        shutil.copyfile(path, target)
    else:
        gcs_module().download(path, target)


@contextmanager
def local_copy(path: "AnyPath") -> Iterator[Path]:
    """A local folder with the files of folder `path`: `path` itself, or a temporary copy if it is in a bucket."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory() as place:
        for name in objects_below(path):
            target = Path(place) / name
            make_folder(target.parent)
            download(path / name, target)
        yield Path(place)


def objects_below(folder: "GSPath") -> "dict[str, Blob]":
    """The objects in a folder of a bucket, by relative path.

    Raises `InputError` for a path that would be unsafe in a local folder.
    """
    prefix = f"{folder.blob.rstrip('/')}/"
    objects = {}
    for blob in folder.client.client.list_blobs(folder.bucket, prefix=prefix):
        name = blob.name.removeprefix(prefix)
        if not name or name.endswith("/"):  # a folder marker, as some tools write
            continue
        if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or "\0" in name:
            raise InputError(f"{folder}: holds an object named {name!r}, which cannot be a file name; remove it")
        objects[name] = blob
    return objects


def move(source: "AnyPath", target: "AnyPath") -> None:
    """Moves a file over `target`. Idempotent: does nothing if an interrupted call has already moved the file."""
    try:
        if isinstance(source, Path):
            source.replace(target)
        else:
            source.client._move_file(source, target)
    except FileNotFoundError:
        if not target.exists():
            raise


def remove(path: "AnyPath") -> None:
    """Removes a file, or a folder with its content; a missing path is no error."""
    if not isinstance(path, Path):
        path.client._remove(path)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
