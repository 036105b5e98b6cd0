"""Folders of pictures, with which people add their own handwriting.

A folder holds one sub-folder for each class, or a `labels.csv` with the columns `file` and `label`. Sub-folders are
named by the character (`A`, `7`), or `lower_a`, `upper_A`, `digit_7` where a file system ignores case.
They may lie in `train/` and `test/` (in `labels.csv`: a column `split`); otherwise a test split is drawn.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.dataset import hashing
from common.dataset.manifest import SourceFile
from common.dataset.schema import IMAGE, LABEL, ImageSize, characters
from common.errors import InputError
from common.formats import table as tables
from common.formats.picture import PictureError
from common.normalize import picture as picture_images
from common.normalize import problems
from common.storage import read, to_path
from preprocess.config import PreprocessConfig, image_size
from preprocess.sources.base import Block, Rejected, Source, SourceSplit, Wanted

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

LABELS_FILE = "labels.csv"
_SPLITS = ("train", "test")
_CASE_PREFIXES = ("lower_", "upper_", "digit_")
_PICTURES_PER_PART = 512  # what one worker reads at a time


@dataclass(frozen=True)
class Picture:
    path: str
    split: str
    """`train`, `test`, or empty if the pictures are not divided yet."""
    label: int
    size_bytes: int
    sha256: bytes

    @property
    def example_id(self) -> int:
        """The first 64 bits of the SHA-256 of its bytes."""
        return int.from_bytes(self.sha256[:8], "big")


@dataclass(frozen=True)
class PictureSplit(SourceSplit):
    """Some pictures of one split."""

    pictures: tuple[Picture, ...]
    image_size: ImageSize

    def example_ids(self) -> np.ndarray:
        return np.array([picture.example_id for picture in self.pictures], np.uint64)

    def read(self, block_examples: int) -> Iterator[Block | Rejected]:
        for start in range(0, len(self.pictures), block_examples):
            good, images = [], []
            for picture in self.pictures[start : start + block_examples]:
                try:
                    image, problem = picture_images.read(_content(picture.path), self.image_size)
                except PictureError as error:
                    yield Rejected(picture.path, error.problem, str(error))
                    continue
                if problem:
                    yield Rejected(picture.path, problem, problems.MESSAGES[problem])
                    continue
                images.append(image)
                good.append(picture)
            if good:
                labels = np.array([picture.label for picture in good])
                example_ids = np.array([picture.example_id for picture in good], np.uint64)
                yield Block({IMAGE: np.stack(images)[..., None], LABEL: labels}, example_ids)


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
    listed = _list_pictures(to_path(wanted.location))
    class_names = known.class_names if known else tuple(sorted({name for _, _, name in listed}))
    # If a dataset merges cases, a picture of either case belongs to the class.
    groups = known.classes if known else [(name,) for name in class_names]
    label_of = {character: label for label, characters in enumerate(groups) for character in characters}
    for _, path, name in listed:
        if name not in label_of:
            raise InputError(f"{path}: class {name!r} is none of {config.dataset}; known: {' '.join(label_of)}")
    pictures = [_hash(wanted.location, split, path, label_of[name]) for split, path, name in listed]
    digest = hashlib.sha256()
    for picture, (split, _, name) in zip(pictures, listed, strict=True):
        digest.update(f"{split}\0{name}\0{picture.sha256.hex()}\n".encode())
    size_bytes = sum(picture.size_bytes for picture in pictures)
    folder = SourceFile(to_path(wanted.location).name, size_bytes, digest.hexdigest(), official=False)
    splits = _divide(_without_copies(pictures), f"{config.dataset}/pictures", config)
    schema = characters(class_names, *image_size(config))
    return Source(schema, tuple(splits), (folder,), picture_images.VERSION)


def _list_pictures(root: "AnyPath") -> list[tuple[str, str, str]]:
    """(split or "", path, class name) of each picture, sorted."""
    table = root / LABELS_FILE
    listed = sorted(_read_table(table) if table.is_file() else _read_folders(root))
    if not listed:
        raise InputError(f"{root}: holds no picture in a sub-folder named by its character")
    return listed


def _hash(root: str, split: str, path: str, label: int) -> Picture:
    try:
        content = _content(path)
    except PictureError:  # it is rejected when it is to be decoded; until then its name stands for its bytes
        inside = os.path.relpath(path, to_path(root))
        return Picture(path, split, label, 0, hashlib.sha256(os.fsencode(inside)).digest())
    return Picture(path, split, label, len(content), hashlib.sha256(content).digest())


def _content(path: str) -> bytes:
    """The bytes of a file. Raises `PictureError` if the disk does not give them; a bucket's errors end the job."""
    location = to_path(path)
    try:
        return read(location)
    except (FileNotFoundError, PermissionError) as error:
        if not isinstance(location, Path):
            raise
        raise PictureError("cannot-decode", f"cannot be read ({error.strerror})") from None


def _without_copies(pictures: list[Picture]) -> list[Picture]:
    """The pictures, each once, in the order of their ids, which depends on no name and no other picture."""
    firsts: dict[int, Picture] = {}
    for picture in pictures:
        first = firsts.setdefault(picture.example_id, picture)
        if (first.split, first.label) != (picture.split, picture.label):
            raise InputError(f"{picture.path}: is the same picture as {first.path}, in another class or split")
    return [firsts[identity] for identity in sorted(firsts)]


def _divide(pictures: list[Picture], namespace: str, config: PreprocessConfig) -> Iterator[PictureSplit]:
    """The splits, in parts for one worker each; draws a test split if the pictures are not divided."""
    example_ids = np.array([picture.example_id for picture in pictures], np.uint64)
    is_test = hashing.selected(hashing.hashes(config.seed, "test", namespace, example_ids), config.test_fraction)
    members: dict[str, list[Picture]] = {"train": [], "test": []}
    for picture, cut in zip(pictures, is_test, strict=True):
        members[picture.split or ("test" if cut else "train")].append(picture)
    for split, every in members.items():
        chosen = every[: config.max_examples_per_split]
        for start in range(0, len(chosen), _PICTURES_PER_PART):
            part = tuple(chosen[start : start + _PICTURES_PER_PART])
            yield PictureSplit(split, namespace, part, image_size(config))


def _read_folders(root: "AnyPath") -> Iterator[tuple[str, str, str]]:
    """(split or "", path, class name) of each picture in sub-folders."""
    split_folders = {folder.name: folder for folder in root.iterdir() if folder.name in _SPLITS and folder.is_dir()}
    for split, folder in split_folders.items() or [("", root)]:
        for class_folder in folder.iterdir():
            if class_folder.is_dir() and not class_folder.name.startswith("."):
                name = class_folder.name
                if name.startswith(_CASE_PREFIXES) and len(name.partition("_")[2]) == 1:
                    name = name[-1]
                for path in class_folder.iterdir():
                    if path.name.startswith("."):  # operating systems leave hidden files beside pictures
                        continue
                    if isinstance(path, Path) and path.is_dir():  # in a bucket, this would be a request for each
                        raise InputError(f"{path}: is a folder; the folder of a character holds only pictures")
                    yield split, str(path), name


def _read_table(table: "AnyPath") -> Iterator[tuple[str, str, str]]:
    """(split or "", path, class name) of each picture in `labels.csv`."""
    for row in tables.read(read(table), str(table), ("file", "label"), ("split",)):
        name, split = row.fields["label"], row.fields.get("split", "")
        path = tables.picture_below(table, row)
        if not path.is_file():
            raise InputError(f"{table}, line {row.number}: {row.fields['file']}: no such file")
        if not name or split not in ("", *_SPLITS):
            raise InputError(f"{table}, line {row.number}: needs a label, and train, test or nothing as its split")
        yield split, str(path), name
