"""Arrays in files of any form that people have: IDX, NumPy's, EMNIST's MATLAB structs, and tables of pixels.

What a file is, its content says and not its name. Files and members may be gzipped, and lie in a zip archive.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO, Literal

import numpy as np

from common.errors import InputError
from common.formats import archive, idx, kind, matlab, npy, pixel_table

Form = Literal["IDX", "NumPy", "MATLAB", "CSV"]
_LABELS, _IMAGES = "labels", "images"
_MEMBER = ".npy"
_LEAST_PIXELS = 64  # of a flat image; a shorter row is no image
_LABEL_COLUMNS = 8  # in QMNIST, whose first is the class
_KINDS = ("idx", "npy", "zip", "matlab", "gzip")
_NAMED_IDX = re.compile(r"(idx\d*-ubyte|\.idx\d?)(\.gz)?$")
_NAMED = re.compile(rf"({_NAMED_IDX.pattern}|\.(npy|npz|mat)(\.gz)?$)")
_ROWS_AT_ONCE = 1 << 16
_LONGEST_ROW = 1 << 24  # bytes of a table's first line


@dataclass(frozen=True)
class Array:
    """An array in a file."""

    location: str
    """A location of `archive`."""
    name: str
    """What a file of several arrays calls it; empty if the file is the array."""
    form: Form
    dtype: str
    shape: tuple[int, ...]

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width if it holds images: [N, H, W], with an axis for one colour, or flat squares [N, H·H]."""
        sides = self.shape[1:]
        if len(sides) == 3 and 1 in (sides[0], sides[-1]):
            sides = sides[:-1] if sides[-1] == 1 else sides[1:]
        if len(sides) == 1 and sides[0] >= _LEAST_PIXELS and math.isqrt(sides[0]) ** 2 == sides[0]:
            sides = (math.isqrt(sides[0]),) * 2
        return sides if len(sides) == 2 else None

    @property
    def is_of_labels(self) -> bool:
        """Whether it may hold labels: whole numbers, [N] or [N, 1], or [N, 8] as in QMNIST."""
        is_list = len(self.shape) == 1 or (len(self.shape) == 2 and self.shape[1] in (1, _LABEL_COLUMNS))
        return is_list and np.dtype(self.dtype).kind in "iu"

    @property
    def is_named_emnist(self) -> bool:
        """Whether its file is called as EMNIST's, in which height and width are swapped."""
        return archive.name_of(self.location).lower().startswith("emnist")

    def read(self, block_rows: int) -> Iterator[np.ndarray]:
        """The array in blocks along its first axis. Raises `InputError` where the file is damaged."""
        match self.form:
            case "IDX":
                with idx.open_file(self.location) as (stream, header):
                    yield from idx.read_blocks(stream, header, block_rows, self.location)
            case "NumPy":
                with _open(self.location) as file, _array_of(file, self.location, self.name) as stream:
                    header, is_fortran = npy.read_header(stream, str(self))
                    yield from npy.read_blocks(stream, header, is_fortran, block_rows, str(self))
            case "MATLAB":
                split, _, kind_of = self.name.partition("/")
                whole = matlab.read(self.location)[split][kind_of == _LABELS]
                yield from (whole[start : start + block_rows] for start in range(0, len(whole), block_rows))
            case "CSV":
                with _open(self.location) as stream:
                    columns = pixel_table.find_columns(stream.readline(_LONGEST_ROW))
                    stream.seek(0)
                    read = pixel_table.read_labels if self.name == _LABELS else pixel_table.read_images
                    yield from read(stream, columns, block_rows, self.location)

    def read_labels(self) -> np.ndarray:
        """All labels, int64 [N]. Raises `InputError` if it holds none.

        The last ones stay in memory, since they are asked for several times and a table takes seconds to read.
        """
        return _read_labels(self, archive.version_of(self.location))

    def __str__(self) -> str:
        return f"{self.location}: {self.name}" if self.name else self.location


@lru_cache(maxsize=4)
def _read_labels(array: Array, _version: tuple[int, float]) -> np.ndarray:
    values = None
    if array.is_of_labels:
        values = np.concatenate([*array.read(_ROWS_AT_ONCE), np.empty((0, *array.shape[1:]), array.dtype)])
        if values.shape[1:] == (_LABEL_COLUMNS,) and values.size and values.max() <= 1:
            values = None  # one column for each of eight classes
    if values is None:
        shown = f"{array.dtype} of shape {array.shape}"
        raise InputError(f"{array}: holds {shown}; labels are whole numbers [N], or [N, 8] as in QMNIST")
    return values.reshape(len(values), -1)[:, 0].astype(np.int64)


def find(location: str) -> tuple[Array, ...]:
    """The arrays in a file, known from headers; of a table, all rows are counted. Empty if the file holds none.

    Raises `InputError` for a damaged file.
    """
    with _open(location) as file:
        head = file.read(kind.HEAD_BYTES)
        file.seek(0)
        match kind.of(head):
            case "idx":
                header = idx.read_header(file, location)
                return (Array(location, "", "IDX", str(header.dtype), header.shape),)
            case "npy":
                return (_numpy_array(location, "", file),)
            case "zip":
                return tuple(_numpy_array(location, name, file) for name in _members(file, location))
            case "matlab":
                return _matlab_arrays(location)
            case "" if columns := pixel_table.find_columns(file.readline(_LONGEST_ROW)):
                file.seek(0)
                return _table_arrays(location, columns, pixel_table.count_rows(file, columns))
            case other:
                _check_is_not_named(location, other)
    return ()


def may_hold(name: str, head: bytes) -> bool:
    """Whether `find` may find arrays in a file, or say why not, by its name and its first `kind.HEAD_BYTES`."""
    return kind.of(head) in _KINDS or bool(_NAMED.search(name.lower())) or pixel_table.may_begin(head)


def _check_is_not_named(location: str, found: str) -> None:
    """Raises `InputError` for a file that has the name of one of arrays and holds none."""
    name = archive.name_of(location).lower()
    if _NAMED_IDX.search(name):
        with idx.open_file(location):  # says what is wrong
            pass
    if _NAMED.search(name):
        raise InputError(f"{location}: {kind.cause(found)}")


@contextmanager
def _open(location: str) -> Iterator[BinaryIO]:
    with archive.open_file(location) as raw, archive.unpacked(raw, location) as stream:
        yield stream


@contextmanager
def _array_of(file: BinaryIO, location: str, array: str) -> Iterator[BinaryIO]:
    """The stream of an array in an `.npz` file, or of the only one of an `.npy` file, which has no name."""
    if not array:
        yield file
        return
    with archive.open_zipped(file, location, array + _MEMBER) as stream:
        yield stream


def _members(file: BinaryIO, location: str) -> list[str]:
    """The names of the arrays in an `.npz` file; none if it is another zip archive."""
    names = archive.names_in_zip(file, location)
    return [name.removesuffix(_MEMBER) for name in names] if all(name.endswith(_MEMBER) for name in names) else []


def _numpy_array(location: str, name: str, file: BinaryIO) -> Array:
    shown = f"{location}: {name}" if name else location
    with _array_of(file, location, name) as stream:
        header, _ = npy.read_header(stream, shown)
    return Array(location, name, "NumPy", str(header.dtype), header.shape)


def _matlab_arrays(location: str) -> tuple[Array, ...]:
    content = matlab.read(location)
    return tuple(
        Array(location, f"{split}/{name}", "MATLAB", str(array.dtype), array.shape)
        for split in ("train", "test")
        for name, array in zip((_IMAGES, _LABELS), content[split], strict=True)
    )


def _table_arrays(location: str, columns: pixel_table.Columns, count: int) -> tuple[Array, ...]:
    images = Array(location, _IMAGES, "CSV", "uint8", (count, columns.side, columns.side))
    return (images,) if columns.label is None else (images, Array(location, _LABELS, "CSV", "int64", (count,)))
