"""Files in a folder or in an archive, zip or tar, local or in a bucket.

A file in an archive has the location `archive.zip::member` and is read in place, without unpacking the archive: nothing
is written to disk, so that no name can lead out of a folder. A tar may be packed by gzip, bzip2 or xz; such a stream
cannot be entered in the middle.

Sources: PKWARE's APPNOTE.TXT (zip); POSIX.1-2001, pax (tar).
"""

import bz2
import errno
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO

from common.errors import InputError
from common.formats import kind
from common.formats.picture import MAX_PIXELS
from common.storage import is_hidden, to_path, visible_files

MOST_BYTES = MAX_PIXELS * 8
"""The largest member that is read at once, since a small archive can claim any size: four channels of 16 bits."""
GZIP_MAGIC = b"\x1f\x8b"

_SEPARATOR = "::"
_UNPACKERS = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_IS_ENCRYPTED, _IS_UTF_8 = 1, 1 << 11  # flags of a member of a zip archive
_MS_DOS = 0
_READ_BYTES = 1 << 20
_OF_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    UnicodeError,
)


@dataclass(frozen=True)
class Member:
    """What an archive holds: a file, if `problem` is empty."""

    name: str
    """Its path within the archive."""
    place: int
    """Where to find it again (see `read`)."""
    problem: str = ""
    """"folder", "link", "no-file" (a device or a pipe), "too-large"."""


@dataclass(frozen=True)
class _Packing:
    """How an archive is packed."""

    kind: str
    """"zip", "tar"; empty for what is no archive."""
    unpacker: str = ""
    """What a tar is packed by, a key of `_UNPACKERS`; empty if by nothing."""


def is_archive(location: str) -> bool:
    """Whether there is a zip or tar archive, by its first bytes."""
    path = to_path(location)
    if not path.is_file():
        return False
    with path.open("rb") as raw:
        return bool(_packing(raw).kind)


def can_be_entered(location: str) -> bool:
    """Whether members of an archive can be read without those before them."""
    with to_path(location).open("rb") as raw:
        return not _packing(raw).unpacker


def list_files(location: str) -> dict[str, str]:
    """The locations of all files at any depth of a folder or archive, but hidden ones, by their paths within it.

    A file that is no archive, or NumPy's (`.npz`), is itself the only one. Raises `InputError` if there is nothing
    at `location`, or if the archive cannot be read.
    """
    path = to_path(location)
    if path.is_dir():
        return {str(PurePosixPath(file.relative_to(path))): str(file) for file in visible_files(path)}
    if not path.is_file():
        raise InputError(f"{location}: no such folder or file")
    names = [member.name for member, _ in scan(location) if not member.problem] if is_archive(location) else []
    if all(name.endswith(".npy") for name in names):
        return {path.name: location}
    return {name: member_of(location, name) for name in names if not is_hidden(PurePosixPath(name))}


def member_of(location: str, name: str) -> str:
    """The location of a member of an archive."""
    return f"{location}{_SEPARATOR}{name}"


def scan(location: str) -> Iterator[tuple[Member, Callable[..., bytes]]]:
    """The members of an archive in their order, each with a function that reads it before the next one is asked for.

    It takes how many bytes to read; all if it gets no number.

    Raises `InputError` for what is no archive, and for one that is damaged or encrypted.
    """
    with to_path(location).open("rb") as raw:
        if (packing := _packing(raw)).kind == "zip":
            with _open_zip(raw, location) as archive:
                for number, info in enumerate(archive.infolist()):
                    member = Member(_zip_name(info), number, _zip_problem(info))
                    yield member, partial(_read_zipped, archive, info, location)
            return
        if not packing.kind:
            raise InputError(f"{location}: {_no_archive(raw)}")
        with _naming(location), _unpacked(raw, packing) as stream:
            for info, load in _tar_members(stream, location):
                if name := _clean(info.name):
                    yield Member(name, info.offset, _tar_problem(info)), load
            while packing.unpacker and stream.read(_READ_BYTES):
                pass  # the checksum of a packed stream is at its end


def read(location: str, places: Sequence[int]) -> Iterator[bytes]:
    """The content of the members that `scan` found at `places`, which ascend. A packed tar is read from its start."""
    with to_path(location).open("rb") as raw:
        if (packing := _packing(raw)).kind == "zip":
            with _open_zip(raw, location) as archive:
                infos = archive.infolist()
                for place in places:
                    yield _read_zipped(archive, infos[place], location)
            return
        start = 0 if packing.unpacker else places[0]
        raw.seek(start)
        wanted = iter(places)
        place = next(wanted)
        with _naming(location), _unpacked(raw, packing) as stream:
            for info, load in _tar_members(stream, location):
                if start + info.offset == place:
                    yield load()
                    if (place := next(wanted, None)) is None:
                        return
    raise InputError(f"{location}: has changed since it was listed; start again")


@contextmanager
def open_file(location: str) -> Iterator[BinaryIO]:
    """Opens the file at a location from `list_files` as a seekable binary stream."""
    path, _, member = location.partition(_SEPARATOR)
    with to_path(path).open("rb") as raw:
        if not member:
            yield raw
            return
        if (packing := _packing(raw)).kind == "zip":
            with open_zipped(raw, path, member) as file:
                yield file
            return
        with (
            _naming(location),
            _unpacked(raw, packing) as stream,
            tarfile.open(fileobj=stream, mode="r:", tarinfo=_Header) as archive,
            archive.extractfile([info for info in archive if _clean(info.name) == member][-1]) as file,
        ):
            yield file


def names_in_zip(raw: BinaryIO, location: str) -> list[str]:
    """The names of all members of the zip archive `raw`, which is called `location` in errors."""
    with _open_zip(raw, location) as archive:
        return list(map(_zip_name, archive.infolist()))


@contextmanager
def open_zipped(raw: BinaryIO, location: str, name: str) -> Iterator[BinaryIO]:
    """Opens a member of the zip archive `raw`, which is called `location` in errors."""
    with _open_zip(raw, location) as archive:
        info = next(info for info in reversed(archive.infolist()) if _zip_name(info) == name)
        with _naming(member_of(location, name)), _open_zipped(archive, info, location) as file:
            yield file


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


class _Header(tarfile.TarInfo):
    """A header of a tar; a damaged one is an error, which `tarfile` takes for the end, as it does the end of a file."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "tarfile.TarInfo":
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def _packing(raw: BinaryIO) -> _Packing:
    """How the archive is packed; leaves `raw` at its beginning."""
    found = kind.of(raw.read(kind.HEAD_BYTES))
    raw.seek(0)
    if found not in _UNPACKERS:
        return _Packing(found if found in ("zip", "tar") else "")
    try:
        with _UNPACKERS[found](raw) as stream:
            within = kind.of(stream.read(kind.HEAD_BYTES))
    except (*_OF_DAMAGE, OSError):
        within = "tar"  # as far as can be told; whoever reads it learns of the damage
    raw.seek(0)
    return _Packing("tar", found) if within == "tar" else _Packing("")


def _no_archive(raw: BinaryIO) -> str:
    found = kind.of(raw.read(kind.HEAD_BYTES))
    if found in _UNPACKERS:
        return f"is packed by {found}, but holds no tar archive"
    return kind.cause(found) if found else "is no zip or tar archive"


@contextmanager
def _unpacked(raw: BinaryIO, packing: _Packing) -> Iterator[BinaryIO]:
    if not packing.unpacker:
        yield raw
        return
    with _UNPACKERS[packing.unpacker](raw) as stream:
        yield stream


@contextmanager
def _naming(location: str) -> Iterator[None]:
    """Turns what libraries raise for damage into an error that names the archive or its member."""
    try:
        yield
    except (*_OF_DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's; bz2 has no class of its own, and a wrong offset in a zip is an invalid argument
        where, cause = (
            " ".join(str(part).split()) for part in (location, error)
        )  # names of members may be damaged, too
        raise InputError(f"{where}: is damaged ({cause}); fetch it again") from None


@contextmanager
def _open_zip(raw: BinaryIO, location: str) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(raw)
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        raise InputError(f"{location}: is not a complete zip archive; fetch it again") from None
    with archive:
        yield archive


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, location: str, size: int = -1) -> bytes:
    with _naming(member_of(location, _zip_name(info))), _open_zipped(archive, info, location) as file:
        return file.read(size)


def _open_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, location: str) -> BinaryIO:
    where = member_of(location, _zip_name(info))
    if info.flag_bits & _IS_ENCRYPTED:
        raise InputError(f"{where}: is encrypted; unpack the archive with its password")
    try:
        return archive.open(info)
    except NotImplementedError as error:
        raise InputError(f"{where}: is packed in a way that is not read ({error}); unpack the archive") from None


def _zip_name(info: zipfile.ZipInfo) -> str:
    """A member's name; some programs write UTF-8 without saying so, and those of Windows divide it by backslashes."""
    name = info.orig_filename
    if not info.flag_bits & _IS_UTF_8:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = info.orig_filename
    return _clean(name.replace("\\", "/") if info.create_system == _MS_DOS else name)


def _clean(name: str) -> str:
    """A path within an archive, without what says nothing; empty for the archive itself."""
    path = str(PurePosixPath(name.lstrip("/")))
    return "" if path == "." else path


def _zip_problem(info: zipfile.ZipInfo) -> str:
    if info.is_dir():
        return "folder"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "link"
    return "too-large" if info.file_size > MOST_BYTES else ""


def _tar_problem(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return "folder"
    if info.issym() or info.islnk():
        return "link"
    if not info.isreg():
        return "no-file"
    return "too-large" if info.size > MOST_BYTES else ""


def _tar_members(stream: BinaryIO, location: str) -> Iterator[tuple[tarfile.TarInfo, Callable[..., bytes]]]:
    """The headers from where the stream is, each with a function that reads what follows it."""
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive:
        while (info := archive.next()) is not None:
            yield info, partial(_read_tarred, archive, info, location)
            archive.members.clear()  # else it keeps all headers


def _read_tarred(archive: tarfile.TarFile, info: tarfile.TarInfo, location: str, size: int = -1) -> bytes:
    with _naming(location):
        return archive.extractfile(info).read(size)
