"""Looks at source files before any work is done: are they all there, what do they hold, do they fit together?"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from preprocess import idx
from preprocess.catalogue import KnownDataset, official_sha256
from preprocess.errors import InputError
from preprocess.records import IMAGE_SIDE
from preprocess.storage import sha256_of, to_path

if TYPE_CHECKING:
    from preprocess.storage import AnyPath

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceFile:
    """A file that a dataset was made from."""

    name: str
    size_bytes: int
    sha256: str
    official: bool
    """Whether it is, byte for byte, the file that NIST publishes under this name."""


@dataclass(frozen=True)
class SourceSplit:
    """One official split: a file of images, a file of labels, and how many examples to take from their beginning."""

    name: str
    images: str
    labels: str
    num_examples: int


@dataclass(frozen=True)
class Source:
    """Source files that were looked at and found to fit together."""

    id: str
    """What example keys begin with; it does not depend on where the files lie."""
    class_names: tuple[str, ...]
    first_label: int
    transposed: bool
    splits: tuple[SourceSplit, ...]
    files: tuple[SourceFile, ...]


def inspect_idx_folder(dataset: KnownDataset, folder: str, max_examples_per_split: int | None) -> Source:
    """Checks the IDX files of `dataset` in `folder`: all headers, all labels, but no pixels yet.

    Raises `InputError` for a missing file, a damaged label file, a header that is not that of 28×28 uint8 images,
    counts that differ between images and labels, and a label that the mapping does not know.
    """
    root = to_path(folder)
    if not root.exists():
        raise InputError(f"{folder}: no such folder; --source takes one that holds {dataset.images_file('train')} etc.")
    read = []
    class_names, first_label = dataset.class_names, dataset.first_label
    if dataset.mapping_file:
        mapping = _existing(root, dataset.mapping_file)
        class_names, first_label = parse_mapping(mapping.read_text(encoding="utf-8"), str(mapping))
        read.append(mapping)
    splits = []
    for split in ("train", "test"):
        images, labels = _existing(root, dataset.images_file(split)), _existing(root, dataset.labels_file(split))
        read += [images, labels]
        count = _check_pair(images, labels, class_names, first_label)
        official = dataset.official_examples.get(split, count)
        if count != official:
            _log.info("%s holds %s examples; the official file holds %s", images.name, f"{count:,}", f"{official:,}")
        wanted = count if max_examples_per_split is None else min(count, max_examples_per_split)
        splits.append(SourceSplit(split, str(images), str(labels), wanted))
    return Source(
        id=dataset.name,
        class_names=class_names,
        first_label=first_label,
        transposed=dataset.transposed,
        splits=tuple(splits),
        files=tuple(map(_describe, read)),
    )


def parse_mapping(text: str, name: str) -> tuple[tuple[str, ...], int]:
    """The class names in label order and the first label, from an `emnist-<split>-mapping.txt`.

    Each line gives a label and the code points of its characters; the first of them names the class. Labels begin at 0,
    or at 1 in Letters. Raises `InputError` where a line cannot be read or labels are missing.
    """
    try:
        rows = [tuple(map(int, line.split())) for line in text.splitlines() if line.strip()]
        names = {label: chr(code_points[0]) for label, *code_points in rows}
    except (ValueError, IndexError, OverflowError):
        raise InputError(f"{name}: each line must be a label and one or more code points, as in '10 65'") from None
    labels = sorted(names)
    if not labels or labels[0] not in (0, 1) or labels != list(range(labels[0], labels[0] + len(rows))):
        raise InputError(f"{name}: labels must run from 0 or 1 without a gap or a repetition")
    if len(set(names.values())) < len(names):
        raise InputError(f"{name}: two labels name the same character")
    return tuple(names[label] for label in labels), labels[0]


@contextmanager
def open_idx(location: str) -> Iterator[tuple[BinaryIO, idx.Header]]:
    """The IDX file at `location`, gzipped or not: its stream, placed at the first element, and its header."""
    with to_path(location).open("rb") as raw, idx.open_stream(raw, location) as stream:
        yield stream, idx.read_header(stream, location)


def read_labels(location: str) -> np.ndarray:
    """All labels of an IDX label file: uint8 [N], as they stand in the file."""
    with open_idx(location) as (stream, header):
        if header.dtype != np.uint8 or len(header.shape) != 1:
            raise InputError(f"{location}: holds {header.dtype} of shape {header.shape}; labels are uint8 [N]")
        # One read past the end makes the codec check length and checksum.
        return np.concatenate([*idx.read_blocks(stream, header, 1 << 16, location), np.empty(0, np.uint8)])


def _existing(root: "AnyPath", name: str) -> "AnyPath":
    """`name` in `root`, or its unpacked twin without `.gz`."""
    for candidate in (root / name, root / name.removesuffix(".gz")):
        if candidate.is_file():
            return candidate
    raise InputError(f"{root / name}: no such file")


def _check_pair(images: "AnyPath", labels: "AnyPath", class_names: tuple[str, ...], first_label: int) -> int:
    """How many examples a pair of files holds, after checking all that can be known without reading pixels."""
    with open_idx(str(images)) as (_, header):
        if header.dtype != np.uint8 or header.shape[1:] != (IMAGE_SIDE, IMAGE_SIDE):
            raise InputError(f"{images}: holds {header.dtype} of shape {header.shape}; images are uint8 [N, 28, 28]")
    values = read_labels(str(labels))
    if len(values) != header.shape[0]:
        raise InputError(f"{images}: {header.shape[0]} images, but {labels.name} holds {len(values)} labels")
    if not len(values):
        raise InputError(f"{images}: holds no image")
    last_label = first_label + len(class_names) - 1
    outside = np.flatnonzero((values < first_label) | (values > last_label))
    if len(outside):
        raise InputError(
            f"{labels}: label {values[outside[0]]} of example {outside[0]} is outside the mapping, "
            f"which runs from {first_label} to {last_label}"
        )
    return len(values)


def _describe(path: "AnyPath") -> SourceFile:
    digest = sha256_of(path)
    return SourceFile(path.name, path.stat().st_size, digest, digest == official_sha256().get(path.name))
