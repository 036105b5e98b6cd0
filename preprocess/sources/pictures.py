"""Pictures of characters, with which people add their own handwriting: folders of them, and what all sources share.

A folder holds a sub-folder for each class (see `class_folders`), or a `labels.csv` with the columns `file`, `label` and
maybe `split`. If they are not divided into splits, a test split is drawn. The same pictures give the same examples, in
whatever they lie: another kind of source lists them and says how to fetch their bytes (`Found`).
"""

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from common.dataset import hashing
from common.dataset.manifest import SourceFile
from common.dataset.schema import IMAGE, LABEL, ImageSize, characters
from common.errors import InputError, shown
from common.formats import picture as picture_files
from common.formats import table as tables
from common.formats.picture import PictureError
from common.normalize import picture as picture_images
from common.normalize import problems
from common.storage import read, to_path
from preprocess.config import PreprocessConfig, image_size
from preprocess.sources import class_folders
from preprocess.sources.base import (
    Block,
    Rejected,
    Source,
    SourceSplit,
    Wanted,
    in_words,
    left_out,
    split_of_row,
)
from preprocess.sources.class_folders import Listed, Listing

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

LABELS_FILE = "labels.csv"
_PICTURES_PER_PART = 512  # what one worker reads at a time
_PAIRS_SHOWN = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Content:
    """What the bytes of a file tell before its pixels are decoded."""

    size_bytes: int
    sha256: bytes
    is_picture: bool = True
    num_pages: int = 1


@dataclass(frozen=True)
class Picture(Listed):
    """A file that is an example, or is rejected when it is decoded."""

    content: Content
    place: tuple[int, ...]
    """Where it lies. What differs in the last number alone is best read one after another, by one worker."""
    index: int | None = None
    """Its number in the file, if that holds many."""

    @property
    def example_id(self) -> int:
        """The first 64 bits of the SHA-256 of its bytes."""
        return int.from_bytes(self.content.sha256[:8], "big")

    @property
    def origin(self) -> str:
        """Where it lies within the source."""
        return self.inside if self.index is None else f"{self.inside}#{self.index}"

    @property
    def note(self) -> bytes:
        """Where it comes from, as a line of JSON."""
        return json.dumps({"source": self.origin}).encode()


Fetch = Callable[[Sequence[Picture]], Iterator[bytes | PictureError]]
"""Gives the bytes of pictures that are sorted by their places, or why there are none."""


@dataclass(frozen=True)
class Found:
    """The pictures of a source."""

    pictures: Sequence[Picture]
    fetch: Fetch
    left_out: Sequence[Rejected] = ()
    rejected: Sequence[Rejected] = ()
    most_parts: int | None = None
    """In how many parts of a split they are read at most; None if a part costs nothing."""


@dataclass(frozen=True)
class PictureSplit(SourceSplit):
    """Some pictures of one split."""

    pictures: tuple[Picture, ...]
    labels: tuple[int, ...]
    image_size: ImageSize
    fetch: Fetch
    is_divided: bool = False

    def example_ids(self) -> np.ndarray:
        return np.array([picture.example_id for picture in self.pictures], np.uint64)

    def example_labels(self) -> np.ndarray:
        return np.array(self.labels)

    def read(self, block_examples: int) -> Iterator[Block | Rejected]:
        good: list[tuple[Picture, int, np.ndarray]] = []
        for picture, label, content in zip(self.pictures, self.labels, self.fetch(self.pictures), strict=True):
            try:
                if isinstance(content, PictureError):
                    raise content
                image, problem = picture_images.read(content, self.image_size)
            except PictureError as error:
                yield Rejected(picture.path, error.problem, str(error))
                continue
            if problem:
                yield Rejected(picture.path, problem, problems.MESSAGES[problem])
                continue
            good.append((picture, label, image))
            if len(good) == block_examples:
                yield _block(good)
                good = []
        if good:
            yield _block(good)


def _block(good: list[tuple[Picture, int, np.ndarray]]) -> Block:
    pictures, labels, images = zip(*good, strict=True)
    example_ids = np.array([picture.example_id for picture in pictures], np.uint64)
    examples = {IMAGE: np.stack(images)[..., None], LABEL: np.array(labels)}
    return Block(examples, example_ids, tuple(picture.note for picture in pictures))


def holds(wanted: Wanted) -> bool:
    """Whether the source is a folder that could hold pictures."""
    root = to_path(wanted.location)
    return root.is_dir() and ((root / LABELS_FILE).is_file() or any(path.is_dir() for path in root.iterdir()))


def inspect(wanted: Wanted) -> Source:
    """Lists and hashes the pictures in a folder; they are not decoded yet.

    Raises `InputError` as `assemble` does, and for an invalid line of `labels.csv`.
    """
    refuse_classes(wanted)
    root = to_path(wanted.location)
    listing = _list_pictures(root, wanted.config)
    log_listing(wanted.location, listing)
    inspected = [_inspect(file, number) for number, file in enumerate(listing.files)]
    pictures = [one for one in inspected if isinstance(one, Picture)]
    others = [*listing.left_out, *(one for one in inspected if isinstance(one, Rejected))]
    return assemble(wanted, Found(pictures, _fetch_files, others))


def refuse_classes(wanted: Wanted) -> None:
    if wanted.config.classes is not None:
        raise InputError(f"--classes: does not apply to pictures; the folders in {wanted.location} name the classes")


def log_listing(location: str, listing: Listing) -> None:
    """Says how the folders' names are meant."""
    if listing.top:
        _log.info("%s: the folders of the classes are those in %s", location, listing.top)
    for name, folders in listing.merged.items():
        _log.warning("%s: the folders %s are one class, %s", location, " and ".join(map(repr, folders)), name)


def assemble(wanted: Wanted, found: Found) -> Source:
    """The source of these pictures.

    The classes are those of the known dataset; for a custom one, those of the pictures, in the order of their code
    points. Raises `InputError` for a class that the dataset does not have, for pictures in two classes or splits, and
    if there is no picture.
    """
    config, known = wanted.config, wanted.dataset
    pictures, copies = _without_copies(wanted.location, found.pictures)
    others = [*found.left_out, *(left_out(copy.path, "copy") for copy in copies)]
    others += [left_out(picture.path, "later-pages") for picture in pictures if picture.content.num_pages > 1]
    if not pictures:
        unread = [*found.rejected, *others]
        besides = f"; besides: {in_words(unread)}" if unread else ""
        raise InputError(f"{wanted.location}: holds no picture in a sub-folder named by its character{besides}")
    class_names = known.class_names if known else tuple(sorted({picture.name for picture in pictures}))
    # If a dataset merges cases, a picture of either case belongs to the class.
    groups = known.classes if known else [(name,) for name in class_names]
    label_of = {character: label for label, characters in enumerate(groups) for character in characters}
    for picture in sorted(pictures, key=lambda picture: picture.path):
        if picture.name not in label_of:
            raise InputError(
                f"{picture.path}: class {picture.name!r} is none of {config.dataset}; known: {' '.join(label_of)}"
            )
    digest = hashlib.sha256()
    for picture in sorted([*pictures, *copies], key=lambda one: (one.split, one.path)):
        digest.update(f"{picture.split}\0{picture.name}\0{picture.content.sha256.hex()}\n".encode())
    size_bytes = sum(picture.content.size_bytes for picture in [*pictures, *copies])
    file = SourceFile(to_path(wanted.location).name, size_bytes, digest.hexdigest(), official=False)
    splits = _divide(pictures, label_of, found, config)
    schema = characters(class_names, *image_size(config))
    return Source(
        *(schema, tuple(splits), (file,), picture_images.VERSION),
        rejected=tuple(found.rejected),
        left_out=tuple(others),
    )


def _list_pictures(root: "AnyPath", config: PreprocessConfig) -> Listing:
    table = root / LABELS_FILE
    if not table.is_file():
        return class_folders.list_files(root)
    return read_table(table, read(table), config.encoding, PurePath(), lambda inside: _location(root / inside))


def _location(path: "AnyPath") -> str:
    return str(path) if path.is_file() else ""


def examine(content: bytes) -> Content:
    """What the bytes of a file tell."""
    is_picture, num_pages = picture_files.is_picture(content), picture_files.count_pages(content)
    return Content(len(content), hashlib.sha256(content).digest(), is_picture, num_pages)


def is_named_as_picture(path: str) -> bool:
    return path.lower().endswith(picture_files.SUFFIXES)


def to_picture(file: Listed, content: Content, place: tuple[int, ...]) -> Picture | Rejected:
    """A file as a picture; what neither is one nor is named as one is left out."""
    if not content.is_picture and not is_named_as_picture(file.path):
        return left_out(file.path, "no-picture")
    return Picture(*(file.path, file.inside, file.split, file.name), content, place)


def _inspect(file: Listed, number: int) -> Picture | Rejected:
    try:
        content = examine(_content(file.path))
    except PictureError:  # it is rejected when it is to be decoded; until then its name stands for its bytes
        content = Content(0, hashlib.sha256(os.fsencode(file.inside)).digest())
    return to_picture(file, content, (number, 0))


def _fetch_files(pictures: Sequence[Picture]) -> Iterator[bytes | PictureError]:
    for picture in pictures:
        try:
            yield _content(picture.path)
        except PictureError as error:
            yield error


def _content(path: str) -> bytes:
    """The bytes of a file. Raises `PictureError` if the disk does not give them; a bucket's errors end the job."""
    location = to_path(path)
    try:
        return read(location)
    except (FileNotFoundError, PermissionError) as error:
        if not isinstance(location, Path):
            raise
        raise PictureError("cannot-decode", f"cannot be read ({error.strerror})") from None


def _without_copies(location: str, pictures: Sequence[Picture]) -> tuple[list[Picture], list[Picture]]:
    """The pictures, each once, in the order of their ids, which depends on no name and no other picture; and copies."""
    firsts: dict[int, Picture] = {}
    copies, torn = [], []
    for picture in pictures:
        first = firsts.setdefault(picture.example_id, picture)
        if (first.split, first.name) != (picture.split, picture.name):
            torn.append((first, picture))
        elif first is not picture:
            copies.append(picture)
    if torn:
        pairs = "; ".join(" and ".join(shown(one.origin) for one in pair) for pair in torn[:_PAIRS_SHOWN])
        more = ", the first" if len(torn) > _PAIRS_SHOWN else ""
        raise InputError(
            f"{location}: pictures that lie in two classes or splits: {len(torn):,}{more}: {pairs}; remove one of each"
        )
    return [firsts[identity] for identity in sorted(firsts)], copies


def _divide(
    pictures: list[Picture], label_of: Mapping[str, int], found: Found, config: PreprocessConfig
) -> Iterator[PictureSplit]:
    """The splits, in parts for one worker each; draws a test split of those for training if there is none."""
    namespace = f"{config.dataset}/pictures"
    example_ids = np.array([picture.example_id for picture in pictures], np.uint64)
    is_test = hashing.selected(hashing.hashes(config.seed, "test", namespace, example_ids), config.test_fraction)
    members: dict[str, list[Picture]] = {"train": [], "validation": [], "test": []}
    is_test &= not any(picture.split == "test" for picture in pictures)
    for picture, is_drawn in zip(pictures, is_test, strict=True):
        split = picture.split or "train"
        members["test" if is_drawn and split == "train" else split].append(picture)
    for split, every in members.items():
        for part in _parts(every[: config.max_examples_per_split], found.most_parts):
            labels = tuple(label_of[picture.name] for picture in part)
            is_divided = bool(members["validation"])
            yield PictureSplit(split, namespace, part, labels, image_size(config), found.fetch, is_divided)


def _parts(pictures: Sequence[Picture], most_parts: int | None) -> Iterator[tuple[Picture, ...]]:
    """The pictures in the order of their places, cut where a worker can begin to read."""
    least = max(_PICTURES_PER_PART, math.ceil(len(pictures) / (most_parts or len(pictures) or 1)))
    part: list[Picture] = []
    for _, together in groupby(sorted(pictures, key=lambda picture: picture.place), lambda picture: picture.place[:-1]):
        part.extend(together)
        if len(part) >= least:
            yield tuple(part)
            part = []
    if part:
        yield tuple(part)


def read_table(
    table: object, content: bytes, encoding: str, folder: PurePath, find: Callable[[PurePath], str]
) -> Listing:
    """The pictures in a `labels.csv`, which lies in a `folder` of its source.

    `find` gives the location of a path within the source, or an empty text if there is no such file.
    """
    files = []
    for row in tables.read(content, str(table), (tables.FILE, "label"), ("split",), encoding):
        inside = folder / tables.path_below(table, row)
        path = find(inside)
        if not path:
            raise InputError(f"{table}, line {row.number}: {row.fields[tables.FILE]}: no such file")
        name = class_folders.normalized(row.fields["label"])
        if not name or not name.isprintable():
            raise InputError(f"{table}, line {row.number}: needs a label of printable characters")
        files.append(Listed(path, str(inside), split_of_row(table, row), name))
    return Listing(tuple(sorted(files, key=lambda file: file.path)))
