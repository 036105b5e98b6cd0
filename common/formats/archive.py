"""Files in a folder or a zip archive (NIST's `gzip.zip`), local or in a bucket.

A file in an archive has the location `archive.zip::member` and is read in place, without unpacking the archive.
"""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO

from common.errors import InputError
from common.formats import kind
from common.storage import is_hidden, to_path, visible_files

GZIP_MAGIC = b"\x1f\x8b"
_SEPARATOR = "::"


def list_files(location: str) -> dict[str, str]:
    """The locations of all files at any depth of a folder or zip archive, but hidden ones, by their paths within it.

    A file that is no zip archive, or NumPy's (`.npz`), is itself the only one. Raises `InputError` if there is nothing
    at `location`, or if the archive cannot be read.
    """
    path = to_path(location)
    if path.is_dir():
        return {str(PurePosixPath(file.relative_to(path))): str(file) for file in visible_files(path)}
    if not path.is_file():
        raise InputError(f"{location}: no such folder or file")
    with path.open("rb") as raw:
        if kind.of(raw.read(kind.HEAD_BYTES)) != "zip":
            return {path.name: location}
        raw.seek(0)
        with _open_archive(raw, location) as archive:
            members = [member for member in archive.namelist() if not member.endswith("/")]
    if members and all(member.endswith(".npy") for member in members):
        return {path.name: location}
    return {member: f"{location}{_SEPARATOR}{member}" for member in members if not is_hidden(PurePosixPath(member))}


@contextmanager
def open_file(location: str) -> Iterator[BinaryIO]:
    """Opens the file at a location from `list_files` as a seekable binary stream."""
    path, _, member = location.partition(_SEPARATOR)
    with to_path(path).open("rb") as raw:
        if not member:
            yield raw
            return
        with _open_archive(raw, path) as archive:
            try:
                with archive.open(member) as file:
                    yield file
            except zipfile.BadZipFile as error:
                raise InputError(f"{location}: is damaged ({error}); fetch the archive again") from None


def version_of(location: str) -> tuple[int, float]:
    """The size of a file or of the archive that it is in, and when that was changed."""
    facts = to_path(location.partition(_SEPARATOR)[0]).stat()
    return facts.st_size, facts.st_mtime


@contextmanager
def unpacked(raw: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """The stream of a file's bytes, which may be gzipped; `raw` is a seekable binary file.

    Errors of the gzip stream inside the `with` block become an `InputError` that names the file.
    """
    start = raw.read(len(GZIP_MAGIC))
    raw.seek(0)
    if start != GZIP_MAGIC:
        yield raw
        return
    try:
        with gzip.GzipFile(fileobj=raw) as stream:
            yield stream
    except EOFError:
        raise InputError(f"{name}: the gzip stream is truncated; fetch the file again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{name}: the gzip stream is damaged ({error}); fetch the file again") from None


def name_of(location: str) -> str:
    """The bare name of the file at a location from `list_files`."""
    return PurePosixPath(location.partition(_SEPARATOR)[2] or location).name


@contextmanager
def _open_archive(raw: BinaryIO, name: str) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(raw)
    except zipfile.BadZipFile:
        raw.seek(0)
        kind = "an HTML page" if raw.read(64).lstrip()[:1] == b"<" else "not a complete zip archive"
        raise InputError(f"{name}: is {kind}; fetch it again") from None
    with archive:
        yield archive
