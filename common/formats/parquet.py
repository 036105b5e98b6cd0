"""Parquet files of encoded pictures with labels, as Hugging Face's `datasets` stores them, read by groups of rows.

A picture is a structure with the field `bytes`, or the bytes themselves. A label is a text, or a number whose name
stands in the schema's metadata, under `huggingface`. A column is found by that metadata, or else by its type.

Source: https://huggingface.co/docs/datasets/image_dataset#parquet, and `datasets`' `Features.arrow_schema`.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.errors import InputError, shown
from common.storage import to_path

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

_IMAGE, _LABEL, _BYTES = "image", "label", "bytes"
_AT_ONCE = 256
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Layout:
    """What a file holds."""

    image: str
    """The column of the pictures."""
    label: str
    """The column of the labels."""
    are_numbers: bool
    """Whether labels are numbers, and no texts."""
    class_names: tuple[str, ...]
    """The names of labels that are numbers, in their order; empty if the file does not tell."""
    num_groups: int
    """Groups of rows."""


@dataclass(frozen=True)
class Row:
    """A picture with its label; None for what is absent."""

    number: int
    """Its number in the file, from 0."""
    group: int
    """The number of its group of rows, which is read as a whole."""
    image: bytes | None
    label: int | str | None


def layout(location: str) -> Layout:
    """What a file holds. Raises `InputError` if it is damaged or its columns are not those of pictures and labels."""
    with _open(location) as file:
        schema = file.schema_arrow
        features = _features(schema)
        image = _column_of_pictures(schema, location)
        label = _choose(location, "labels", _LABEL, _marked(features, "ClassLabel"), filter(_has_labels, schema))
        names = features.get(label, {}).get("names") or ()
        are_numbers = not _is_text(schema.field(label).type)
        return Layout(image, label, are_numbers, tuple(map(str, names)) if are_numbers else (), file.num_row_groups)


def rows(location: str, found: Layout, groups: Collection[int]) -> Iterator[Row]:
    """The rows of some groups, in their order. Few are in memory at a time."""
    with _open(location) as file:
        number = 0
        for group in range(file.num_row_groups):
            if group not in groups:
                number += file.metadata.row_group(group).num_rows
                continue
            columns = {found.image, found.label}
            for batch in file.iter_batches(_AT_ONCE, [group], [*columns], use_threads=False):
                labels = batch.column(found.label).to_pylist()
                for image, label in zip(_encoded(batch.column(found.image)), labels, strict=True):
                    yield Row(number, group, image, label)
                    number += 1


def pictures(location: str) -> Iterator[bytes | None]:
    """The encoded pictures of a file, which needs no labels; None for what is absent. Few are in memory at a time."""
    with _open(location) as file:
        column = _column_of_pictures(file.schema_arrow, location)
        for batch in file.iter_batches(_AT_ONCE, columns=[column], use_threads=False):
            yield from _encoded(batch.column(column))


def _encoded(images: "pa.Array") -> list[bytes | None]:
    from pyarrow import compute

    return (images if _is_bytes(images.type) else compute.struct_field(images, _BYTES)).to_pylist()


def _column_of_pictures(schema: "pa.Schema", location: str) -> str:
    marked = _marked(_features(schema), "Image")
    return _choose(location, "pictures", _IMAGE, marked, filter(_has_pictures, schema))


@contextmanager
def _open(location: str) -> "Iterator[parquet.ParquetFile]":
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise InputError(f"{location}: Parquet needs pyarrow; install this package's extra preprocess") from None

    with to_path(location).open("rb") as raw:
        try:
            with parquet.ParquetFile(raw, buffer_size=_BUFFER_BYTES) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk's
                raise
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{location}: is no complete Parquet file ({reason}); fetch it again") from None


def _features(schema: "pa.Schema") -> dict[str, Any]:
    """What `datasets` says of each column; empty if it wrote none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    if not isinstance(features, dict):
        return {}
    return {name: about for name, about in features.items() if isinstance(about, dict) and name in schema.names}


def _marked(features: dict[str, Any], kind: str) -> list[str]:
    return [name for name, about in features.items() if about.get("_type") == kind]


def _choose(location: str, what: str, name: str, marked: list[str], fields: "Iterator[pa.Field]") -> str:
    """The column that `datasets` marks so, or else the one of such a type; of several, that of the usual name."""
    candidates = marked or [field.name for field in fields]
    if len(candidates) == 1:
        return candidates[0]
    if candidates.count(name) == 1:
        return name
    if not candidates:
        raise InputError(f"{location}: has no column of {what}; {_EXPECTED}")
    columns = ", ".join(map(shown, candidates))
    raise InputError(f"{location}: which column holds the {what}? It may be {columns}; name it {name!r}")


_EXPECTED = "a dataset of pictures has a column of encoded pictures and one of labels, numbers or texts"


def _has_pictures(field: "pa.Field") -> bool:
    import pyarrow as pa

    kind = field.type
    if pa.types.is_struct(kind):
        return any(part.name == _BYTES and _is_bytes(part.type) for part in kind)
    return _is_bytes(kind)


def _is_bytes(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _has_labels(field: "pa.Field") -> bool:
    import pyarrow as pa

    return pa.types.is_integer(field.type) or _is_text(field.type)


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
