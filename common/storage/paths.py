"""Where files lie: a local folder or a `gs://` bucket, behind one kind of path object.

Everything that takes a path from a user turns it into a path object here. Those of buckets speak to `gcs`.
"""

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
"""Where downloads are kept, unless a flag says otherwise."""

BUCKET_NAME = r"[a-z0-9][-a-z0-9_.]{1,220}[a-z0-9]"
"""A regular expression (https://cloud.google.com/storage/docs/buckets#naming); the name is part of addresses."""


def to_path(location: "str | os.PathLike[str]") -> "AnyPath":
    """The path object for a local path or `gs://bucket/prefix`. Raises `InputError` for any other scheme."""
    text = os.fspath(location)
    if text.startswith("gs://"):
        check_bucket(text)
        return gcs_module().path(text)
    if "://" in text:
        raise InputError(f"{text}: cannot read or write there; give a local path or gs://bucket/prefix")
    return Path(text).expanduser()


def check_bucket(location: str) -> None:
    """Raises `InputError` if `location`, which begins with gs://, goes on with what is no name of a bucket."""
    bucket = location.removeprefix("gs://").partition("/")[0]
    if not re.fullmatch(BUCKET_NAME, bucket, re.ASCII):
        raise InputError(f"{shown(location)}: {shown(bucket)} is no name of a bucket; give gs://bucket/…")


def gcs_module() -> ModuleType:
    """The module of buckets; imported only where it is needed, since that takes a second."""
    from common.storage import gcs

    return gcs


def to_user_error(error: Exception) -> CommandError | None:
    """What to tell the user if `error` came from a bucket; None if it did not."""
    imported = sys.modules.get("common.storage.gcs")  # not imported, it made no error
    return imported.to_user_error(error) if imported else None


def read(path: "AnyPath") -> bytes:
    """As `path.read_bytes()`, but in one request where a path in a bucket makes several."""
    return path.read_bytes() if isinstance(path, Path) else gcs_module().read(path)


def write(path: "AnyPath", content: bytes) -> None:
    """As `path.write_bytes(content)`, but in one request where a path in a bucket makes several."""
    path.write_bytes(content) if isinstance(path, Path) else gcs_module().write(path, content)


def write_atomically(path: "AnyPath", content: bytes) -> None:
    """Writes `content` so that a reader, or a run started after a crash, sees the whole of it or nothing."""
    with writing(path) as file:
        file.write(content)


@contextmanager
def writing(path: "AnyPath") -> Iterator[BinaryIO]:
    """A binary file that becomes `path`, whole, when the block ends well, and otherwise leaves nothing.

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
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp leaves files that only their owner can read
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def make_folder(path: "AnyPath") -> None:
    """Makes a local folder with its parents; a bucket has no folders to make."""
    if isinstance(path, Path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot make this folder ({error.strerror})") from None


def checksums_below(folder: "AnyPath") -> dict[str, tuple[int, str]]:
    """Size in bytes and CRC32C, as a bucket writes it, of each file below `folder`, by its name there.

    Hidden files are left out.
    """
    if isinstance(folder, Path):
        contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in _files_below(folder)}
        checksums = {name: (len(content), crc32c(content)) for name, content in contents.items()}
    else:
        checksums = {name: (int(blob.size), blob.crc32c) for name, blob in objects_below(folder).items()}
    return {name: facts for name, facts in sorted(checksums.items()) if not name.rpartition("/")[2].startswith(".")}


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
    """A local folder that holds what the folder `path` does: itself, or for a bucket a copy that goes at the end."""
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
    """The objects in a folder of a bucket, by their names there, which are safe as names of local files below another.

    Raises `InputError` if one is not.
    """
    prefix = f"{folder.blob.rstrip('/')}/"
    objects = {}
    for blob in folder.client.client.list_blobs(folder.bucket, prefix=prefix):
        name = blob.name.removeprefix(prefix)
        if not name or name.endswith("/"):  # a mark of a folder, as some tools make them
            continue
        if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or "\0" in name:
            raise InputError(f"{folder}: holds an object named {name!r}, which is no name of a file; remove it")
        objects[name] = blob
    return objects


def move(source: "AnyPath", target: "AnyPath") -> None:
    """Moves a file over `target`. Done again after an interruption, it finds the file moved and does nothing."""
    try:
        if isinstance(source, Path):
            source.replace(target)
        else:
            source.client._move_file(source, target)
    except FileNotFoundError:
        if not target.exists():
            raise


def remove(path: "AnyPath") -> None:
    """Removes a file, or a folder with all that it holds; what is not there is no error."""
    if not isinstance(path, Path):
        path.client._remove(path)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
