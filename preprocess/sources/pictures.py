"""Folders of pictures: how people add their own handwriting.

A folder holds one sub-folder for each class, or a `labels.csv` with the columns `file` and `label`. Sub-folders are
named by the character (`A`, `7`), or `lower_a`, `upper_A`, `digit_7` where a file system does not tell cases apart.
There may be `train/` and `test/` above them (in `labels.csv`, a column `split`); otherwise a test split is cut.
"""

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from common.dataset import hashing
from common.dataset.manifest import SourceFile
from common.dataset.schema import IMAGE, LABEL, characters
from common.errors import InputError
from common.normalize.character import read_picture, to_image
from common.storage import read, to_path
from preprocess.catalogue import KnownDataset
from preprocess.sources.base import Block, Rejected, Source, SourceSplit

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

LABELS_FILE = "labels.csv"
_SPLITS = ("train", "test")
_CASE_PREFIXES = ("lower_", "upper_", "digit_")
_PICTURES_PER_PART = 512  # what one worker reads at a time


@dataclass(frozen=True)
class Picture:
    path: str
    label: int
    identity: int
    """The first 64 bits of the SHA-256 of its bytes."""


@dataclass(frozen=True)
class PictureSplit(SourceSplit):
    """Some pictures of one split."""

    pictures: tuple[Picture, ...]

    def identities(self) -> np.ndarray:
        return np.array([picture.identity for picture in self.pictures], np.uint64)

    def read(self, block_examples: int) -> Iterator[Block | Rejected]:
        for start in range(0, len(self.pictures), block_examples):
            good, images = [], []
            for picture in self.pictures[start : start + block_examples]:
                try:
                    images.append(to_image(read_picture(read(to_path(picture.path)))))
                    good.append(picture)
                except InputError as error:
                    yield Rejected(picture.path, str(error))
            if good:
                labels = np.array([picture.label for picture in good])
                identities = np.array([picture.identity for picture in good], np.uint64)
                yield Block({IMAGE: np.stack(images)[..., None], LABEL: labels}, identities)


def holds(location: str) -> bool:
    """Whether a location is a folder that could be one of pictures."""
    root = to_path(location)
    return root.is_dir() and ((root / LABELS_FILE).is_file() or any(path.is_dir() for path in root.iterdir()))


def inspect(
    dataset_name: str,
    known: KnownDataset | None,
    location: str,
    test_fraction: float,
    seed: int,
    max_examples_per_split: int | None,
) -> Source:
    """Lists and hashes the pictures in a folder; they are not decoded yet.

    Classes are those of the `known` dataset; without one, those that the folder has, in the order of their code points.
    Raises `InputError` for a class that the dataset does not have, one picture in two classes or splits, a line of
    `labels.csv` that cannot be understood, or if there is no picture.
    """
    root = to_path(location)
    table = root / LABELS_FILE
    listed = sorted(_read_table(table) if table.is_file() else _read_folders(root))
    if not listed:
        raise InputError(f"{location}: holds no picture in a sub-folder named by its character")
    class_names = known.class_names if known else tuple(sorted({name for _, _, name in listed}))
    # Where a dataset merges cases, a picture of either belongs to the class.
    groups = known.classes if known else [(name,) for name in class_names]
    label_of = {character: label for label, characters in enumerate(groups) for character in characters}

    digest, size = hashlib.sha256(), 0
    found: dict[int, tuple[str, Picture]] = {}
    for split, path, name in listed:
        if name not in label_of:
            raise InputError(f"{path}: class {name!r} is none of {dataset_name}; known: {' '.join(label_of)}")
        content = read(to_path(path))
        checksum = hashlib.sha256(content)
        size += len(content)
        digest.update(f"{split}\0{name}\0{checksum.hexdigest()}\n".encode())
        picture = Picture(path, label_of[name], int.from_bytes(checksum.digest()[:8], "big"))
        first_split, first = found.setdefault(picture.identity, (split, picture))
        if (first_split, first.label) != (split, picture.label):
            raise InputError(f"{path}: is the same picture as {first.path}, in another class or split")

    # In the order of identities, which no name and no other picture decides.
    pictures = [found[identity] for identity in sorted(found)]
    namespace = f"{dataset_name}/pictures"
    identities = np.array(sorted(found), np.uint64)
    is_test = hashing.selected(hashing.hashes(seed, "test", namespace, identities), test_fraction)
    members: dict[str, list[Picture]] = {"train": [], "test": []}
    for (split, picture), cut in zip(pictures, is_test, strict=True):
        members[split or ("test" if cut else "train")].append(picture)
    splits = [
        PictureSplit(split, namespace, tuple(chosen[start : start + _PICTURES_PER_PART]))
        for split, chosen in ((split, some[:max_examples_per_split]) for split, some in members.items())
        for start in range(0, len(chosen), _PICTURES_PER_PART)
    ]
    folder = SourceFile(root.name, size, digest.hexdigest(), official=False)
    return Source(characters(class_names), tuple(splits), (folder,))


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
                    if not path.name.startswith("."):  # what operating systems leave beside pictures
                        yield split, str(path), name


def _read_table(table: "AnyPath") -> Iterator[tuple[str, str, str]]:
    """(split or "", path, class name) of each picture in `labels.csv`."""
    reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig")))
    if not {"file", "label"} <= set(reader.fieldnames or ()):
        raise InputError(f"{table}: the first line must name the columns file and label (and may name split)")
    for number, row in enumerate(reader, start=2):
        file, name, split = row["file"] or "", row["label"] or "", row.get("split") or ""
        inside = PurePosixPath(file)
        if not file or inside.is_absolute() or ".." in inside.parts:
            raise InputError(f"{table}, line {number}: {file!r} is no path below this folder")
        if not (table.parent / file).is_file():
            raise InputError(f"{table}, line {number}: {file}: no such file")
        if not name or split not in ("", *_SPLITS):
            raise InputError(f"{table}, line {number}: needs a label, and as split train, test or nothing")
        yield split, str(table.parent / file), name
