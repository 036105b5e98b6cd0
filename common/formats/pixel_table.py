"""Tables of pixels, as Kaggle has MNIST and EMNIST: in each row the label of an image and its pixels, H·W of them.

They are CSV with or without a header, divided by commas, semicolons or tabs. A column named `label` (or `class`,
`target`) at either end holds the labels; without a header, or one of numbers alone, the first one does, if the others
are the pixels of a square. A numbering of the rows is passed over.
"""

import codecs
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import numpy as np

from common.errors import InputError

_LABEL_NAMES = {"label", "labels", "class", "target"}
_NUMBERING = {"", "id", "index", "unnamed: 0"}
_LEAST_PIXELS = 64
_COLUMNS_IN_HEAD = 16  # of 512 bytes, so that names of columns may be long
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Columns:
    """What the columns of a table hold."""

    delimiter: str
    count: int
    has_header: bool
    label: int | None
    """None if the images have no labels."""
    pixels: range
    side: int
    """The height and width of the images, which are squares."""


def may_begin(head: bytes) -> bool:
    """Whether a file that begins so may be a table of pixels: its first line is one, or longer and of many columns."""
    line, end, _ = head.partition(b"\n")
    if end:
        return find_columns(line) is not None
    return max(line.count(delimiter.encode()) for delimiter in _DELIMITERS) >= _COLUMNS_IN_HEAD


def find_columns(line: bytes) -> Columns | None:
    """The columns by the first line of a table; None if it is that of no table of pixels."""
    delimiter, fields = _fields(line)
    if len(fields) < _LEAST_PIXELS:
        return None
    first, last = int(fields[0] in _NUMBERING), len(fields)
    is_of_names = not all(map(_is_number, fields[first:]))
    is_count = fields[first:] == list(map(str, range(last - first)))
    is_distinct = len(set(fields)) == last and not all(map(str.isdecimal, fields[first:]))
    has_header = is_of_names or is_count or is_distinct  # the latter two by pandas, of a table without names
    named = [place for place, field in enumerate(fields) if is_of_names and field in _LABEL_NAMES]
    if not is_of_names and not _is_square(last - first):
        named = [first]
    label = named[0] if len(named) == 1 else None
    if label == first:
        first += 1
    elif label == last - 1:
        last -= 1
    side = math.isqrt(last - first)
    is_apart = label is None or not first <= label < last
    return (
        Columns(delimiter, len(fields), has_header, label, range(first, last), side)
        if is_apart and _is_square(last - first)
        else None
    )


def _fields(line: bytes) -> tuple[str, list[str]]:
    """The mark that divides the columns, and the fields of a line, in lower case."""
    text = line.decode("utf-8-sig", "replace").rstrip("\r\n")
    delimiter = max(_DELIMITERS, key=text.count)
    return delimiter, [field.strip().strip('"').lower() for field in text.split(delimiter)]


def read_images(stream: BinaryIO, columns: Columns, block_rows: int, name: str) -> Iterator[np.ndarray]:
    """The images, uint8 [n, side, side], at most `block_rows` at a time. Raises `InputError`, naming the line."""
    what = f"{len(columns.pixels)} pixels, whole numbers from 0 to 255"
    for pixels in _read(stream, columns, columns.pixels, np.uint8, block_rows, name, what):
        yield pixels.reshape(-1, columns.side, columns.side)


def read_labels(stream: BinaryIO, columns: Columns, block_rows: int, name: str) -> Iterator[np.ndarray]:
    """The labels, int64 [n], at most `block_rows` at a time. Raises `InputError`, naming the line."""
    what = "a label that is a whole number"
    for labels in _read(stream, columns, [columns.label], np.int64, block_rows, name, what):
        yield labels[:, 0]


def count_rows(stream: BinaryIO, columns: Columns) -> int:
    return sum(1 for line in stream if line.strip()) - columns.has_header


def _read(
    stream: BinaryIO, columns: Columns, chosen: Sequence[int], dtype: type, block_rows: int, name: str, what: str
) -> Iterator[np.ndarray]:
    """Some columns of all rows, [n, K]. Raises `InputError` for the first row that does not hold `what`."""
    delimiter = columns.delimiter.encode()
    rows = ((number, line) for number, line in enumerate(_without_mark(stream), start=1) if line.strip())
    if columns.has_header:
        next(rows)
    while block := list(islice(rows, block_rows)):
        for number, line in block:
            if line.count(delimiter) != columns.count - 1:
                counts = f"has {line.count(delimiter) + 1} columns; the first line has {columns.count}"
                raise InputError(f"{name}: line {number}: {counts}")
        try:
            yield _parse([line for _, line in block], columns.delimiter, chosen, dtype)
        except ValueError:
            wrong = next(number for number, line in block if not _fits(line, columns.delimiter, chosen, dtype))
            raise InputError(f"{name}: line {wrong}: needs {what}") from None


def _without_mark(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream, without the mark of UTF-8 at its beginning."""
    yield stream.readline().removeprefix(codecs.BOM_UTF8)
    yield from stream


def _parse(lines: list[bytes], delimiter: str, chosen: Sequence[int], dtype: type) -> np.ndarray:
    return np.loadtxt(lines, dtype, comments=None, delimiter=delimiter, quotechar='"', usecols=chosen, ndmin=2)


def _fits(line: bytes, delimiter: str, chosen: Sequence[int], dtype: type) -> bool:
    try:
        _parse([line], delimiter, chosen, dtype)
    except ValueError:
        return False
    return True


def _is_number(field: str) -> bool:
    return re.fullmatch(r"-?\d*\.?\d*(e-?\d+)?", field) is not None


def _is_square(count: int) -> bool:
    return math.isqrt(count) ** 2 == count
