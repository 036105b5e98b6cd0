"""The interface of all kinds of sources: the result of inspecting one, and its blocks of examples."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.dataset.manifest import SourceFile
from common.dataset.schema import Batch, Schema
from common.formats import archive
from preprocess.catalogue import KnownDataset, official_sha256
from preprocess.config import PreprocessConfig


@dataclass(frozen=True)
class Wanted:
    """One requested `--source`. The kind of source that `holds` it can `inspect` it."""

    location: str
    dataset: KnownDataset | None
    """None for a custom dataset."""
    config: PreprocessConfig

    @cached_property
    def files(self) -> dict[str, str]:
        """The locations of the source's files by bare name, from `archive.list_files`."""
        return archive.list_files(self.location)


@dataclass(frozen=True)
class Block:
    """A block of examples in the source's schema, images upright, and their ids, uint64 [N] (see `hashing`)."""

    examples: Batch
    example_ids: np.ndarray


@dataclass(frozen=True)
class Rejected:
    """A picture that is no example, and why."""

    path: str
    problem: str
    """A code of `common.normalize.problems`."""
    reason: str


@dataclass(frozen=True)
class SourceSplit(ABC):
    """A part of a source that one worker reads from beginning to end."""

    split: str
    """The split of all its examples: `train` or `test`."""
    namespace: str
    """The namespace of its examples' keys (see `hashing`)."""

    @abstractmethod
    def example_ids(self) -> np.ndarray:
        """The ids of its examples, uint64 [N], known before any pixel is read."""

    @abstractmethod
    def read(self, block_examples: int) -> Iterator[Block | Rejected]:
        """Its examples in blocks of at most `block_examples`. Raises `InputError` if the source is damaged."""


@dataclass(frozen=True)
class IndexedSplit(SourceSplit):
    """The first `num_examples` examples of a file; an example's id is its index in the file."""

    num_examples: int

    def example_ids(self) -> np.ndarray:
        return np.arange(self.num_examples, dtype=np.uint64)


@dataclass(frozen=True)
class Source:
    """An inspected source, whose files fit together."""

    schema: Schema
    splits: tuple[SourceSplit, ...]
    files: tuple[SourceFile, ...]
    conversion: int | None = None
    """The version of the conversion, if its images are made from pictures."""


def describe(location: str) -> SourceFile:
    """Name, size and checksum of a file (at a location of `archive`), and whether it is the published one."""
    with archive.open_file(location) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    name = archive.name_of(location)
    return SourceFile(name, size, digest, digest == official_sha256().get(name))
