"""What all kinds of sources have in common: what was found when they were looked at, and blocks of examples."""

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
    """One `--source` of a request. A kind of source `holds` it or not, and can then `inspect` it."""

    location: str
    dataset: KnownDataset | None
    """None for a dataset of one's own."""
    config: PreprocessConfig

    @cached_property
    def files(self) -> dict[str, str]:
        """The locations of the files there by their bare names, as `archive.list_files` gives them."""
        return archive.list_files(self.location)


@dataclass(frozen=True)
class Block:
    """Some examples, as the source's schema has them, images upright; example_ids uint64 [N] (see `hashing`)."""

    examples: Batch
    example_ids: np.ndarray


@dataclass(frozen=True)
class Rejected:
    """A picture that could not be read, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class SourceSplit(ABC):
    """A part of a source that one worker reads from beginning to end."""

    split: str
    """`train` or `test`; all of it."""
    namespace: str
    """That of the keys of its examples."""

    @abstractmethod
    def example_ids(self) -> np.ndarray:
        """The example_ids, uint64 [N], of its examples; known before any pixel is read."""

    @abstractmethod
    def read(self, block_examples: int) -> Iterator[Block | Rejected]:
        """Its examples in blocks of at most `block_examples`. Raises `InputError` where the source is damaged."""


@dataclass(frozen=True)
class IndexedSplit(SourceSplit):
    """The first `num_examples` of a file; the identity of an example is its index there."""

    num_examples: int

    def example_ids(self) -> np.ndarray:
        return np.arange(self.num_examples, dtype=np.uint64)


@dataclass(frozen=True)
class Source:
    """A source that was looked at and found to fit together."""

    schema: Schema
    splits: tuple[SourceSplit, ...]
    files: tuple[SourceFile, ...]


def describe(location: str) -> SourceFile:
    """Name, size and checksum of a file (at a location of `archive`), and whether it is the published one."""
    with archive.open_file(location) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    name = archive.name_of(location)
    return SourceFile(name, size, digest, digest == official_sha256().get(name))
