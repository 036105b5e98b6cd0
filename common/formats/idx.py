"""Codec for IDX files, the format of MNIST and EMNIST.

An IDX file is a header (two zero bytes, a byte for the data type, a byte for the number of dimensions, then each
dimension as a big-endian uint32) followed by the elements, big-endian, in row-major order. The header alone decides
how a file is read. Format: http://yann.lecun.com/exdb/mnist/ ("the IDX file format").
"""

import codecs
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from common.errors import InputError
from common.formats import archive

_DTYPES = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_READ_BYTES = 1 << 24


@dataclass(frozen=True)
class Header:
    """The header of an IDX file: the array's dtype and shape."""

    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes per entry along the first axis: one image or one label."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


@contextmanager
def open_stream(raw: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """The stream of an IDX file's bytes; `raw`, a seekable binary file, may be gzipped.

    Errors of the gzip stream inside the `with` block become an `InputError` that names the file.
    """
    start = raw.read(512)
    raw.seek(0)
    if start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"<":
        raise InputError(f"{name}: is an HTML or XML page, not an IDX file; download it from the right address")
    if not start:
        raise InputError(f"{name}: is empty; expected an IDX file, gzipped or not")
    if not start.startswith(archive.GZIP_MAGIC):
        if start[:2] != b"\0\0":
            raise InputError(f"{name}: is neither gzip nor IDX; it begins with {start[:4].hex(' ')}")
        yield raw
        return
    with archive.unpacked(raw, name) as stream:
        yield stream


def read_header(stream: BinaryIO, name: str) -> Header:
    """Reads the header and leaves `stream` at the first element. Raises `InputError` if it is invalid."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        raise InputError(
            f"{name}: wrong magic number {magic.hex(' ') or '(no bytes)'}; "
            "an IDX file of images begins with 00 00 08 03, one of labels with 00 00 08 01"
        )
    dimensions = stream.read(4 * magic[3])
    if len(dimensions) < 4 * magic[3]:
        raise InputError(f"{name}: ends inside its header, which announces {magic[3]} dimensions")
    return Header(_DTYPES[magic[2]], struct.unpack(f">{magic[3]}I", dimensions))


def read_blocks(stream: BinaryIO, header: Header, block_rows: int, name: str) -> Iterator[np.ndarray]:
    """The elements after `header`, as arrays of at most `block_rows` entries along the first axis.

    Only one block is in memory at a time. Raises `InputError` if fewer or more bytes follow than the header announces.
    """
    total = header.shape[0] if header.row_bytes else 0  # empty rows take no bytes, however many there are
    for start in range(0, total, block_rows):
        rows = min(block_rows, total - start)
        data = _read_at_most(stream, rows * header.row_bytes)
        if len(data) < rows * header.row_bytes:
            whole = start + len(data) // header.row_bytes
            raise InputError(f"{name}: the header announces shape {header.shape}, but the data ends after {whole} rows")
        yield np.frombuffer(data, header.dtype).reshape(rows, *header.shape[1:])
    if stream.read(1):
        raise InputError(f"{name}: more bytes follow than the header's shape {header.shape} announces")


def _read_at_most(stream: BinaryIO, size: int) -> bytes:
    """Up to `size` bytes. Allocates memory only for existing bytes, whatever a damaged header claims."""
    pieces = []
    while size > 0 and (piece := stream.read(min(size, _READ_BYTES))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


@contextmanager
def open_file(location: str) -> Iterator[tuple[BinaryIO, Header]]:
    """The stream of an IDX file, gzipped or not, positioned at the first element, and its header."""
    with archive.open_file(location) as raw, open_stream(raw, location) as stream:
        yield stream, read_header(stream, location)


def read_labels(location: str) -> np.ndarray:
    """All labels of an IDX label file, unchanged: uint8 [N]."""
    with open_file(location) as (stream, header):
        if header.dtype != np.uint8 or len(header.shape) != 1:
            raise InputError(f"{location}: holds {header.dtype} of shape {header.shape}; labels are uint8 [N]")
        return np.concatenate([*read_blocks(stream, header, 1 << 16, location), np.empty(0, np.uint8)])


def write(array: np.ndarray) -> bytes:
    """Encodes `array` as an IDX file, not gzipped. Its dtype must be one that IDX supports (uint8, …)."""
    dtype = array.dtype.newbyteorder(">")
    code = _CODES[dtype]
    header = bytes((0, 0, code, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(dtype, copy=False).tobytes()
