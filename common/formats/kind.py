"""What a file is, by its first bytes and never by its name."""

import codecs
import tarfile

from common.storage import to_path

HEAD_BYTES = 512
"""As many bytes tell the kind of a file."""

_BEGINNINGS = (
    ("zip", b"PK\3\4"),
    ("zip", b"PK\5\6"),  # without a member
    ("gzip", b"\x1f\x8b"),
    ("bzip2", b"BZh"),
    ("xz", b"\xfd7zXZ\0"),
    ("zstd", b"\x28\xb5\x2f\xfd"),
    ("rar", b"Rar!\x1a\7"),
    ("7z", b"7z\xbc\xaf\x27\x1c"),
    ("parquet", b"PAR1"),
    ("encrypted parquet", b"PARE"),
    ("arrow", b"ARROW1"),
    ("arrow", b"\xff\xff\xff\xff"),
    ("npy", b"\x93NUMPY"),
    ("matlab", b"MATLAB 5.0 MAT-file"),
    ("matlab 7.3", b"MATLAB 7.3 MAT-file"),
    ("hdf5", b"\x89HDF\r\n\x1a\n"),
    ("sqlite", b"SQLite format 3\0"),
    ("git lfs", b"version https://git-lfs.github.com/spec/"),
    *(("pickle", bytes((0x80, protocol))) for protocol in range(2, 6)),
    *(("idx", bytes((0, 0, code))) for code in (0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E)),
)
_CAUSES = {
    "": "is of no kind that is read",
    "empty": "is empty; fetch it again",
    "html": "is an HTML page; download the file itself",
    "xml": "is XML",
    "zstd": "is packed with Zstandard; unpack it",
    "rar": "is a RAR archive; unpack it",
    "7z": "is a 7z archive; unpack it",
    "encrypted parquet": "is an encrypted Parquet file; save it without encryption",
    "arrow": "is an Arrow file; save it as Parquet",
    "matlab 7.3": "is a MATLAB file of version 7.3; save it with -v7",
    "hdf5": "is an HDF5 file; save its images as pictures, IDX or .npz",
    "sqlite": "is an SQLite database; save its images as pictures",
    "git lfs": "is a pointer of Git LFS; fetch the file itself with `git lfs pull`",
    "pickle": "is a pickle, which can run code and is never read; save it as .npz",
}


def of(head: bytes) -> str:
    """The kind of a file that begins with `head`, all of it or `HEAD_BYTES`; empty if it is none of those known here.

    Of those that are read: "zip" (also .npz), "gzip", "bzip2", "xz" (what is within is not told), "tar", "parquet",
    "npy", "matlab", "idx". Pictures are known by `picture.is_picture`.
    """
    if not head:
        return "empty"
    if name := next((name for name, beginning in _BEGINNINGS if head.startswith(beginning)), ""):
        return name
    text = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if text.startswith(b"<"):
        return "html" if text.startswith((b"<!doctype html", b"<html")) else "xml"
    return "tar" if _is_tar(head) else ""


def of_file(location: str) -> str:
    """The kind of a file, local or in a bucket."""
    with to_path(location).open("rb") as file:
        return of(file.read(HEAD_BYTES))


def cause(kind: str) -> str:
    """Why a file of this kind (see `of`) is not read, and what to do, for a message that names the file."""
    return _CAUSES.get(kind, f"is of the kind {kind}, which is not read here")


def is_refused(kind: str) -> bool:
    """Whether files of this kind (see `of`) are never read, and `cause` says what to do."""
    return bool(kind) and kind in _CAUSES


def _is_tar(head: bytes) -> bool:
    """By the checksum of its first header, since the oldest form has no mark."""
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
