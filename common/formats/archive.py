"""Files by name in a folder or a zip archive (NIST's `gzip.zip`), local or in a bucket.

A file in an archive has the location `archive.zip::member` and is read in place, without unpacking the archive.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO

from common.errors import InputError
from common.storage import to_path

_SEPARATOR = "::"


def list_files(location: str) -> dict[str, str]:
    """The locations of all files in a folder or zip archive, by bare name.

    Raises `InputError` if `location` is neither, or if the archive cannot be read.
    """
    path = to_path(location)
    if path.is_dir():
        return {file.name: str(file) for file in path.iterdir() if file.is_file()}
    if not path.is_file():
        raise InputError(f"{location}: no such folder or archive")
    with path.open("rb") as raw, _open_archive(raw, location) as archive:
        members = [member for member in archive.namelist() if not member.endswith("/")]
    return {PurePosixPath(member).name: f"{location}{_SEPARATOR}{member}" for member in members}


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
