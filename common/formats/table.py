"""Tables of what is written on pictures: TSV and CSV files with a header, and lists of a path, a tab and a text.

Columns are divided by tabs, commas or semicolons, whichever the header has. With tabs, fields are taken as they are, so
that quotation marks belong to the text; otherwise they are quoted as in RFC 4180.
"""

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

from common.errors import InputError, shown

FILE, TEXT = "file", "text"
_DIVIDERS = "\t", ";", ","


@dataclass(frozen=True)
class Row:
    """A row: the number of its line in the file, from 1, and its fields by the name of their column."""

    number: int
    fields: dict[str, str]


def decode(content: bytes, name: str, encoding: str = "utf-8") -> str:
    """The text of a file; marks of UTF-8 and UTF-16 at its beginning count more than `encoding`."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: is not {encoding.removesuffix('-sig').upper()} text at byte {error.start}") from None
    except LookupError:
        raise InputError(f"{name}: {encoding!r} is no encoding; for example utf-8, latin-1, cp1252") from None


def lines_of(text: str) -> list[str]:
    """The lines of a text, their ends included. What `str.splitlines` also takes for an end may stand in a field."""
    return io.StringIO(text, newline="").readlines()


def read(
    content: bytes, name: str, required: Collection[str], optional: Collection[str] = (), encoding: str = "utf-8"
) -> tuple[Row, ...]:
    """The rows of a table whose header names at least the columns `required`; of others, those that are `optional`.

    A list without a header, each line a path, a tab and a text, has the columns `FILE` and `TEXT`. Fields that are
    absent are empty. Raises `InputError`, naming the file and the line.
    """
    lines = lines_of(decode(content, name, encoding))
    header = next((line for line in lines if line.strip()), "")
    divider = next((mark for mark in _DIVIDERS if set(required) <= set(_fields(header, mark))), None)
    if divider is None:
        if set(required) == {FILE, TEXT} and _is_pair(header):
            return tuple(_pair(line, number, name) for number, line in enumerate(lines, start=1) if line.strip())
        raise InputError(
            f"{name}: the first line must name the columns {' and '.join(required)}"
            + (f" (and may name {', '.join(optional)})" if optional else "")
            + f"; it is {shown(header.strip())}"
        )
    columns = _fields(header, divider)
    if twice := sorted({column for column in columns if columns.count(column) > 1} & {*required, *optional}):
        raise InputError(f"{name}: has two columns named {twice[0]}")
    rows = []
    reader = csv.reader(io.StringIO("".join(lines), newline=""), **_form(divider))
    began = 0
    try:
        for fields in reader:
            began, number = reader.line_num, began + 1
            if not any(field.strip() for field in fields) or (not rows and number == lines.index(header) + 1):
                continue
            # Spreadsheets leave out what is empty at the end of a row.
            if len(fields) > len(columns) or not set(required) <= set(columns[: len(fields)]):
                raise InputError(f"{name}, line {number}: has {len(fields)} fields; the header names {len(columns)}")
            wanted = {*required, *optional}
            rows.append(
                Row(number, {column: field for column, field in zip(columns, fields, strict=False) if column in wanted})
            )
    except csv.Error as error:
        raise InputError(f"{name}, line {reader.line_num}: {error}") from None
    return tuple(rows)


def path_below(table: object, row: Row) -> PurePosixPath:
    """The path, from the table's folder, of the picture that a row names. Raises `InputError` if it leads out of it."""
    inside = PurePosixPath(row.fields[FILE])
    if not inside.parts or inside.is_absolute() or ".." in inside.parts or "\0" in row.fields[FILE]:
        raise InputError(f"{table}, line {row.number}: {row.fields[FILE]!r} is not a path below this folder")
    return inside


def _form(divider: str) -> dict:
    return {"delimiter": divider, "quoting": csv.QUOTE_NONE if divider == "\t" else csv.QUOTE_MINIMAL}


def _fields(line: str, divider: str) -> list[str]:
    return [field.strip().lower() for field in next(csv.reader([line], **_form(divider)), [])]


def _is_pair(line: str) -> bool:
    path, divider, _ = line.partition("\t")
    return bool(divider) and bool(PurePosixPath(path.strip()).suffix)


def _pair(line: str, number: int, name: str) -> Row:
    if not _is_pair(line):
        raise InputError(f"{name}, line {number}: must be the path of a picture, a tab and its text")
    path, _, text = line.rstrip("\r\n").partition("\t")
    return Row(number, {FILE: path.strip(), TEXT: text})
