"""Folders of pictures, with which people add their own handwriting.

A folder holds a sub-folder for each class (see `class_folders`), or a `labels.csv` with the columns `file`, `label` and
maybe `split`. If they are not divided into splits, a test split is drawn.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.dataset import hashing
from common.dataset.manifest import SourceFile
from common.dataset.schema import IMAGE, LABEL, ImageSize, characters
from common.errors import InputError
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

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture(Listed):
    """A file that is an example, or is rejected when it is decoded."""

    size_bytes: int
    sha256: bytes
    num_pages: int = 1

    @property
    def example_id(self) -> int:
        """The first 64 bits of the SHA-256 of its bytes."""
        return int.from_bytes(self.sha256[:8], "big")


@dataclass(frozen=True)
class PictureSplit(SourceSplit):
    """Some pictures of one split."""

    pictures: tuple[Picture, ...]
    labels: tuple[int, ...]
    image_size: ImageSize
    is_divided: bool = False

    def example_ids(self) -> np.ndarray:
        return np.array([picture.example_id for picture in self.pictures], np.uint64)

    def example_labels(self) -> np.ndarray:
        return np.array(self.labels)

    def read(self, block_examples: int) -> Iterator[Block | Rejected]:
        for start in range(0, len(self.pictures), block_examples):
            good, images, labels = [], [], []
            some = slice(start, start + block_examples)
            for picture, label in zip(self.pictures[some], self.labels[some], strict=True):
                try:
                    image, problem = picture_images.read(_content(picture.path), self.image_size)
                except PictureError as error:
                    yield Rejected(picture.path, error.problem, str(error))
                    continue
                if problem:
                    yield Rejected(picture.path, problem, problems.MESSAGES[problem])
                    continue
                images.append(image)
                labels.append(label)
                good.append(picture)
            if good:
                example_ids = np.array([picture.example_id for picture in good], np.uint64)
                yield Block({IMAGE: np.stack(images)[..., None], LABEL: np.array(labels)}, example_ids)


def holds(wanted: Wanted) -> bool:
    """Whether the source is a folder that could hold pictures."""
    root = to_path(wanted.location)
    return root.is_dir() and ((root / LABELS_FILE).is_file() or any(path.is_dir() for path in root.iterdir()))


def inspect(wanted: Wanted) -> Source:
    """Lists and hashes the pictures in a folder; they are not decoded yet.

    The classes are those of the known dataset; for a custom one, those of the folder, in the order of their code
    points. Raises `InputError` for a class that the dataset does not have, one picture in two classes or splits, an
    invalid line of `labels.csv`, or a folder without pictures.
    """
    config, known = wanted.config, wanted.dataset
    if config.classes is not None:
        raise InputError(f"--classes: does not apply to pictures; the folders in {wanted.location} name the classes")
    listing = _list_pictures(to_path(wanted.location), config)
    if listing.top:
        _log.info("%s: the folders of the classes are those in %s", wanted.location, listing.top)
    for name, folders in listing.merged.items():
        _log.warning("%s: the folders %s are one class, %s", wanted.location, " and ".join(map(repr, folders)), name)
    inspected = [_inspect(wanted.location, file) for file in listing.files]
    pictures, copies = _without_copies([one for one in inspected if isinstance(one, Picture)])
    others = [*listing.left_out, *(one for one in inspected if isinstance(one, Rejected))]
    others += [left_out(copy.path, "copy") for copy in copies]
    others += [left_out(picture.path, "later-pages") for picture in pictures if picture.num_pages > 1]
    if not pictures:
        besides = f"; besides: {in_words(others)}" if others else ""
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
        digest.update(f"{picture.split}\0{picture.name}\0{picture.sha256.hex()}\n".encode())
    size_bytes = sum(picture.size_bytes for picture in [*pictures, *copies])
    folder = SourceFile(to_path(wanted.location).name, size_bytes, digest.hexdigest(), official=False)
    splits = _divide(pictures, label_of, f"{config.dataset}/pictures", config)
    schema = characters(class_names, *image_size(config))
    return Source(schema, tuple(splits), (folder,), picture_images.VERSION, left_out=tuple(others))


def _list_pictures(root: "AnyPath", config: PreprocessConfig) -> Listing:
    table = root / LABELS_FILE
    return _read_table(table, config.encoding) if table.is_file() else class_folders.list_files(root)


def _inspect(root: str, file: Listed) -> Picture | Rejected:
    """What is to be known of a file before its pixels; what neither is a picture nor is named as one is left out."""
    try:
        content = _content(file.path)
    except PictureError:  # it is rejected when it is to be decoded; until then its name stands for its bytes
        inside = os.path.relpath(file.path, to_path(root))
        return Picture(file.path, file.split, file.name, 0, hashlib.sha256(os.fsencode(inside)).digest())
    is_named = file.path.lower().endswith(picture_files.SUFFIXES)
    if not is_named and not picture_files.is_picture(content):
        return left_out(file.path, "no-picture")
    sha256, pages = hashlib.sha256(content).digest(), picture_files.count_pages(content)
    return Picture(file.path, file.split, file.name, len(content), sha256, pages)


def _content(path: str) -> bytes:
    """The bytes of a file. Raises `PictureError` if the disk does not give them; a bucket's errors end the job."""
    location = to_path(path)
    try:
        return read(location)
    except (FileNotFoundError, PermissionError) as error:
        if not isinstance(location, Path):
            raise
        raise PictureError("cannot-decode", f"cannot be read ({error.strerror})") from None


def _without_copies(pictures: list[Picture]) -> tuple[list[Picture], list[Picture]]:
    """The pictures, each once, in the order of their ids, which depends on no name and no other picture; and copies."""
    firsts: dict[int, Picture] = {}
    copies = []
    for picture in pictures:
        first = firsts.setdefault(picture.example_id, picture)
        if (first.split, first.name) != (picture.split, picture.name):
            raise InputError(f"{picture.path}: is the same picture as {first.path}, in another class or split")
        if first is not picture:
            copies.append(picture)
    return [firsts[identity] for identity in sorted(firsts)], copies


def _divide(
    pictures: list[Picture], label_of: Mapping[str, int], namespace: str, config: PreprocessConfig
) -> Iterator[PictureSplit]:
    """The splits, in parts for one worker each; draws a test split if the pictures are not divided."""
    example_ids = np.array([picture.example_id for picture in pictures], np.uint64)
    is_test = hashing.selected(hashing.hashes(config.seed, "test", namespace, example_ids), config.test_fraction)
    members: dict[str, list[Picture]] = {"train": [], "validation": [], "test": []}
    for picture, cut in zip(pictures, is_test, strict=True):
        members[picture.split or ("test" if cut else "train")].append(picture)
    for split, every in members.items():
        chosen = every[: config.max_examples_per_split]
        for start in range(0, len(chosen), _PICTURES_PER_PART):
            part = tuple(chosen[start : start + _PICTURES_PER_PART])
            labels = tuple(label_of[picture.name] for picture in part)
            yield PictureSplit(split, namespace, part, labels, image_size(config), bool(members["validation"]))


def _read_table(table: "AnyPath", encoding: str) -> Listing:
    """The pictures in `labels.csv`."""
    files = []
    for row in tables.read(read(table), str(table), (tables.FILE, "label"), ("split",), encoding):
        path = tables.picture_below(table, row)
        if not path.is_file():
            raise InputError(f"{table}, line {row.number}: {row.fields[tables.FILE]}: no such file")
        name = class_folders.normalized(row.fields["label"])
        if not name or not name.isprintable():
            raise InputError(f"{table}, line {row.number}: needs a label of printable characters")
        files.append(Listed(str(path), split_of_row(table, row), name))
    return Listing(tuple(sorted(files, key=lambda file: file.path)))
