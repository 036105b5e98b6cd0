"""The interface of all kinds of sources: the result of inspecting one, and its blocks of examples."""

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath

import numpy as np

from common.dataset import hashing
from common.dataset.manifest import LineOptions, SourceFile
from common.dataset.schema import Batch, Schema
from common.errors import InputError
from common.formats import archive
from common.formats.table import Row
from preprocess.catalogue import KnownDataset, official_sha256
from preprocess.config import PreprocessConfig

SPLIT_NAMES = {
    "train": "train", "training": "train", "validation": "validation", "val": "validation", "valid": "validation",
    "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
"""The split for each name that people give it in folders and tables."""

_LEFT_OUT = {
    "hidden": "is hidden, or left by an operating system",
    "empty-folder": "is an empty folder",
    "locked": "is a folder that may not be read",
    "loop": "is a link to a folder that holds it",
    "no-file": "is no file",
    "no-class": "lies in no folder of a class",
    "beside-splits": "lies beside the folders of the splits",
    "no-picture": "is no picture, and its name does not say that it is one",
    "copy": "is a copy of another",
    "no-page": "is XML, but no page",
    "no-text": "has no text",
    "later-pages": "has several pages, of which the first is read",
    "link": "is a link in an archive, which is not followed",
    "replaced": "is replaced by a later file of its name in the archive",
    "beside-parquet": "lies beside Parquet files, of which the pictures are taken",
    "another-dataset": "is, by its name, no file of the dataset",
    "no-arrays": "holds no array of images or labels",
    "no-labels": "has no labels",
    "no-split": "is of no split, unlike others",
    "again": "holds what another file holds",
}


@dataclass(frozen=True)
class Wanted:
    """One requested `--source`. The kind of source that `holds` it can `inspect` it."""

    location: str
    dataset: KnownDataset | None
    """None for a custom dataset."""
    config: PreprocessConfig

    @cached_property
    def files(self) -> dict[str, str]:
        """The locations of the source's files by their paths within it, from `archive.list_files`."""
        return archive.list_files(self.location)


@dataclass(frozen=True)
class Block:
    """A block of examples in the source's schema, images upright, and their ids, uint64 [N] (see `hashing`)."""

    examples: Batch
    example_ids: np.ndarray
    notes: tuple[bytes, ...] = ()
    """The origin of each example, as a line of JSON, for `examples-<split>.jsonl.gz`; empty if the id says it all."""


@dataclass(frozen=True)
class Rejected:
    """A picture that is no example, and why."""

    path: str
    problem: str
    """A code of `common.normalize.problems`."""
    reason: str


def left_out(path: object, problem: str) -> Rejected:
    """What is no example without being wrong."""
    return Rejected(str(path), problem, _LEFT_OUT[problem])


def split_of(inside: PurePath) -> str:
    """The split of a file by the first folder of its path within the source; empty if that is none."""
    return SPLIT_NAMES.get(inside.parts[0].lower(), "") if len(inside.parts) > 1 else ""


def split_of_row(table: object, row: Row) -> str:
    """The split that a row of a table names, or empty. Raises `InputError` for a name that is none."""
    name = row.fields.get("split", "").strip()
    if name and name.lower() not in SPLIT_NAMES:
        raise InputError(f"{table}, line {row.number}: its split {name!r} is none of train, validation, test")
    return SPLIT_NAMES.get(name.lower(), "")


def in_words(rejected: Sequence[Rejected]) -> str:
    """How many were rejected for each problem, and the first of them."""
    if not rejected:
        return "the sources hold none"
    counts = ", ".join(f"{problem} {count:,}" for problem, count in Counter(one.problem for one in rejected).items())
    return f"{counts}; the first: {rejected[0].path}: {rejected[0].reason}"


@dataclass(frozen=True)
class SourceSplit(ABC):
    """A part of a source that one worker reads from beginning to end."""

    split: str
    """The split of all its examples: `train` or `test`; also `validation` if the source is divided already."""
    namespace: str
    """The namespace of its examples' keys (see `hashing`)."""

    is_divided = False
    """Whether the source has its validation split cut off, so that none is drawn from its training split."""

    @abstractmethod
    def example_ids(self) -> np.ndarray:
        """The ids of its examples, uint64 [N], known before any pixel is read."""

    def example_labels(self) -> np.ndarray | None:
        """The labels of these examples, as in the dataset, int [N]; None if they are not known without the pixels."""
        return None

    @abstractmethod
    def read(self, block_examples: int) -> Iterator[Block | Rejected]:
        """Its examples in blocks of at most `block_examples`. Raises `InputError` if the source is damaged."""


@dataclass(frozen=True)
class IndexedSplit(SourceSplit):
    """The first `num_examples` examples of a file; an example's id is its index in the file."""

    num_examples: int
    is_divided: bool = field(default=False, kw_only=True)

    def example_ids(self) -> np.ndarray:
        return np.arange(self.num_examples, dtype=np.uint64)


@dataclass(frozen=True)
class DrawnSplit(SourceSplit):
    """Those examples of another split that a hash draws for tests, or those that it leaves for training."""

    whole: SourceSplit
    fraction: float
    seed: int

    @property
    def is_divided(self) -> bool:
        return self.whole.is_divided

    def example_ids(self) -> np.ndarray:
        ids = self.whole.example_ids()
        return ids[self._is_mine(ids)]

    def example_labels(self) -> np.ndarray | None:
        labels = self.whole.example_labels()
        return None if labels is None else labels[self._is_mine(self.whole.example_ids())]

    def read(self, block_examples: int) -> Iterator[Block | Rejected]:
        for block in self.whole.read(block_examples):
            if isinstance(block, Rejected):
                yield block
            elif (mine := self._is_mine(block.example_ids)).any():
                examples = {name: values[mine] for name, values in block.examples.items()}
                yield Block(examples, block.example_ids[mine])

    def _is_mine(self, example_ids: np.ndarray) -> np.ndarray:
        draws = hashing.hashes(self.seed, "test", self.namespace, example_ids)
        return hashing.selected(draws, self.fraction) == (self.split == "test")


def divided(split: SourceSplit, config: PreprocessConfig) -> tuple[SourceSplit, ...]:
    """The training examples of a source without a split for tests, and the tests that `--test-fraction` draws."""
    if not config.test_fraction:
        return (split,)
    return tuple(
        DrawnSplit(name, split.namespace, split, config.test_fraction, config.seed) for name in ("train", "test")
    )


@dataclass(frozen=True)
class Source:
    """An inspected source, whose files fit together."""

    schema: Schema
    splits: tuple[SourceSplit, ...]
    files: tuple[SourceFile, ...]
    conversion: int | None = None
    """The version of the conversion, if its images are made from pictures."""
    lines: LineOptions | None = None
    """None for characters."""
    rejected: tuple[Rejected, ...] = ()
    """What was found to be no example before any pixel is read."""
    left_out: tuple[Rejected, ...] = ()
    """What is besides examples, and no mistake unless `--strict` makes it one."""
    counts: dict[str, int] = field(default_factory=dict)
    """What else is to be known of it, for the manifest."""
    warnings: tuple[str, ...] = ()
    """What is probably not meant."""


def describe(location: str) -> SourceFile:
    """Name, size and checksum of a file (at a location of `archive`), and whether it is the published one."""
    with archive.open_file(location) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    name = archive.name_of(location)
    return SourceFile(name, size, digest, digest == official_sha256().get(name))
