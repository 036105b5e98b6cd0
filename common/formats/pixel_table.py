"""Tables of pixels, as Kaggle has MNIST and EMNIST: in each row the label of an image and its pixels, H·W of them.

They are CSV, divided by commas, semicolons or tabs, with or without a header. A column named `label` (or `class`,
`target`) at either end holds the labels; without a header the first one does, if the others are the pixels of a square.
A numbering of the rows is passed over.
"""

import codecs
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import numpy as np

from common.errors import InputError, shown

_LABEL_NAMES = {"label", "labels", "class", "target"}
_NUMBERING = {"", "id", "index", "unnamed: 0"}
_LEAST_PIXELS = 64
_DIVIDERS = ",;\t"


@dataclass(frozen=True)
class Columns:
    """What the columns of a table hold."""

    divider: str
    count: int
    has_header: bool
    label: int | None
    """None if the images have no labels."""
    pixels: range
    side: int
    """The height and width of the images, which are squares."""


def find_columns(line: bytes) -> Columns | None:
    """The columns by the first line of a table; None if it is that of no table of pixels."""
    divider, fields = _fields(line)
    if len(fields) < _LEAST_PIXELS:
        return None
    has_header = not all(field.isdecimal() for field in fields)
    named = [place for place, field in enumerate(fields) if has_header and field in _LABEL_NAMES]
    first, last = int(has_header and fields[0] in _NUMBERING), len(fields)
    if not has_header and not _is_square(last):
        named = [0]
    label = named[0] if len(named) == 1 else None
    if label == first:
        first += 1
    elif label == last - 1:
        last -= 1
    if not _is_square(last - first) or (label is not None and first <= label < last):
        return None
    return Columns(divider, len(fields), has_header, label, range(first, last), math.isqrt(last - first))


def problem_of(line: bytes) -> str:
    """Why a table with this first line is not read, though it has as many columns as one of pixels; or empty."""
    _, fields = _fields(line)
    if len(fields) < _LEAST_PIXELS or find_columns(line):
        return ""
    return (
        f"has {len(fields)} columns in its first line, {shown(','.join(fields[:3]))}…: a table of pixels has those of "
        "a square, whole numbers, and one more for labels, the first one or one with the name label"
    )


def _fields(line: bytes) -> tuple[str, list[str]]:
    """The mark that divides the columns, and the fields of a line, in lower case."""
    text = line.decode("utf-8-sig", "replace").strip("\r\n")
    divider = max(_DIVIDERS, key=text.count)
    return divider, [field.strip().strip('"').lower() for field in text.split(divider)]


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
    divider = columns.divider.encode()
    rows = ((number, line) for number, line in enumerate(stream, start=1) if line.strip())
    if columns.has_header:
        next(rows)
    while block := list(islice(rows, block_rows)):
        for number, line in block:
            if line.count(divider) != columns.count - 1:
                counts = f"has {line.count(divider) + 1} columns; the first line has {columns.count}"
                raise InputError(f"{name}: line {number}: {counts}")
        try:
            yield _parse([line for _, line in block], columns, chosen, dtype)
        except ValueError:
            wrong = next(number for number, line in block if not _fits(line, columns, chosen, dtype))
            raise InputError(f"{name}: line {wrong}: needs {what}") from None


def _parse(lines: list[bytes], columns: Columns, chosen: Sequence[int], dtype: type) -> np.ndarray:
    lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
    form = {"comments": None, "delimiter": columns.divider, "quotechar": '"'}
    return np.loadtxt(lines, dtype, usecols=chosen, ndmin=2, **form)


def _fits(line: bytes, columns: Columns, chosen: Sequence[int], dtype: type) -> bool:
    try:
        _parse([line], columns, chosen, dtype)
    except ValueError:
        return False
    return True


def _is_square(count: int) -> bool:
    return math.isqrt(count) ** 2 == count
