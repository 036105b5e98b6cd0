"""IDX files as sources: EMNIST's and the original MNIST's under their published names, or yours under such names."""

import logging
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from common.dataset.schema import EMNIST_SIZE, IMAGE, LABEL, ImageSize, characters
from common.errors import InputError
from common.formats import archive, idx
from common.storage import to_path
from preprocess.catalogue import KnownDataset
from preprocess.sources.base import Block, IndexedSplit, Source, Wanted, describe

_TRAIN_IMAGES = re.compile(r"(?:(?P<prefix>.+)-)?train-images-idx3-ubyte(?:\.gz)?")
_MAX_PIXELS = 1 << 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IdxSplit(IndexedSplit):
    """The first `num_examples` examples of a file of images and a file of labels."""

    images: str
    labels: str
    first_label: int
    transposed: bool

    def example_labels(self) -> np.ndarray:
        return (idx.read_labels(self.labels) - np.uint8(self.first_label))[: self.num_examples]

    def read(self, block_examples: int) -> Iterator[Block]:
        """One worker reads from the beginning, because a gzip stream cannot be entered in the middle."""
        labels = self.example_labels()
        start = 0
        with idx.open_file(self.images) as (stream, header):
            for images in idx.read_blocks(stream, header, block_examples, self.images):
                stop = min(start + len(images), self.num_examples)
                upright = images[: stop - start]
                if self.transposed:
                    upright = np.ascontiguousarray(upright.transpose(0, 2, 1))
                examples = {IMAGE: upright[..., None], LABEL: labels[start:stop]}
                yield Block(examples, np.arange(start, stop, dtype=np.uint64))
                start = stop
                if start == self.num_examples < header.shape[0]:
                    return  # without this limit, the end of the file is checked too


def are_in(files: dict[str, str], dataset: KnownDataset) -> bool:
    """Whether `files` (from `archive.list_files`) include at least one of the dataset's IDX files."""
    names = [make(split) for make in (dataset.images_file, dataset.labels_file) for split in ("train", "test")]
    return any(name in files or name.removesuffix(".gz") in files for name in names)


def holds(wanted: Wanted) -> bool:
    if wanted.dataset:
        return are_in(wanted.files, wanted.dataset) or not to_path(wanted.location).is_dir()
    return bool(_own_prefixes(wanted.files))


def inspect(wanted: Wanted) -> Source:
    """Checks the IDX files of a dataset: all headers, all labels, but no pixels yet.

    Raises `InputError` for a missing file, a damaged label file, a header that is not that of uint8 images (of 28×28
    for a known dataset), sizes that differ between splits, counts that differ between images and labels, and a label
    without a class.
    """
    dataset, files, config = wanted.dataset or _own_dataset(wanted), wanted.files, wanted.config

    def locate(name: str) -> str:
        for candidate in (name, name.removesuffix(".gz")):
            if candidate in files:
                used.append(files[candidate])
                return files[candidate]
        raise InputError(f"{wanted.location}: {name}: no such file")

    used: list[str] = []
    class_names, first_label = config.classes or dataset.class_names, dataset.first_label
    if dataset.mapping_file and config.classes is None:
        class_names, first_label = read_mapping(locate(dataset.mapping_file))
    splits, size = [], EMNIST_SIZE if wanted.dataset else None
    for split in ("train", "test"):
        images, labels = locate(dataset.images_file(split)), locate(dataset.labels_file(split))
        count, size = _check_images(images, size)
        _check_labels_file(labels, images, count, class_names, first_label)
        official = dataset.official_examples.get(split, count)
        if count != official:
            name = PurePosixPath(images).name
            _log.info("%s holds %s examples; the official file holds %s", name, f"{count:,}", f"{official:,}")
        examples = min(count, config.max_examples_per_split or count)
        namespace = f"{dataset.name}/{split}"
        splits.append(IdxSplit(split, namespace, examples, images, labels, first_label, dataset.transposed))
    schema = characters(class_names, *(size[::-1] if dataset.transposed else size))
    return Source(schema, tuple(splits), tuple(map(describe, used)))


def _own_prefixes(files: dict[str, str]) -> list[str]:
    """The prefixes of `train-images-idx3-ubyte` in the names of `files`; MNIST's names have an empty one."""
    return sorted({match["prefix"] or "" for match in map(_TRAIN_IMAGES.fullmatch, files) if match})


def _own_dataset(wanted: Wanted) -> KnownDataset:
    """A custom dataset of IDX files, named like MNIST's or, after a prefix of your own, like EMNIST's.

    As in prediction, only files with EMNIST's own prefix have height and width swapped.
    """
    prefixes = _own_prefixes(wanted.files)
    if len(prefixes) > 1:
        raise InputError(
            f"{wanted.location}: holds IDX files of several datasets; give each its own folder: {', '.join(prefixes)}"
        )
    (prefix,) = prefixes
    mapping = f"{prefix}-mapping.txt" if prefix else "mapping.txt"
    if mapping in wanted.files and wanted.config.classes:
        raise InputError(f"--classes: {wanted.location} has {mapping}, which names the classes; give only one of them")
    if mapping not in wanted.files and not wanted.config.classes:
        raise InputError(f"{wanted.location}: {mapping}: no such file; give it, or name the classes with --classes")
    if is_transposed := prefix.startswith("emnist-"):
        _log.info("%s: the files are named like EMNIST's, so their height and width are swapped", wanted.location)
    return KnownDataset(
        name=wanted.config.dataset,
        classes=(),
        first_label=0,
        transposed=is_transposed,
        file_prefix=prefix,
        mapping_file=mapping,
        official_examples={},
    )


def read_mapping(location: str) -> tuple[tuple[str, ...], int]:
    """Class names and the first label, as `check_mapping` gives them, from an `emnist-<split>-mapping.txt`.

    Each line of the file gives a label and the code points of its characters.
    """
    with archive.open_file(location) as file:
        lines = file.read().decode("utf-8-sig", errors="replace").splitlines()
    mapping: dict[int, list[int]] = {}
    for line in filter(str.strip, lines):
        try:
            label, *points = map(int, line.split())
        except ValueError:
            points = []
        if not points or label in mapping:
            raise InputError(f"{location}: {line!r}: each line must be a new label and its code points, as in '10 65'")
        mapping[label] = points
    return check_mapping(mapping, location)


def check_mapping(mapping: dict[int, list[int]], where: str) -> tuple[tuple[str, ...], int]:
    """The class names in label order and the first label, from the code points of each label.

    The first code point names the class. Labels begin at 0, or at 1 in Letters. Raises `InputError` if labels are
    missing, a code point is not a printable character, or two classes have the same name.
    """
    labels = sorted(mapping)
    if not labels or labels[0] not in (0, 1) or labels != list(range(labels[0], labels[0] + len(labels))):
        raise InputError(f"{where}: the mapping's labels must run from 0 or 1 without a gap")
    for label, (point, *_) in mapping.items():
        if not 0 <= point <= sys.maxunicode or not chr(point).isprintable():
            raise InputError(f"{where}: the mapping gives label {label} the number {point}, which is not printable")
    names = tuple(chr(mapping[label][0]) for label in labels)
    if len(set(names)) < len(names):
        raise InputError(f"{where}: two labels of the mapping name the same character")
    return names, labels[0]


def check_labels(labels: np.ndarray, class_names: tuple[str, ...], first_label: int, where: str) -> None:
    """Raises `InputError` if a label belongs to no class."""
    last_label = first_label + len(class_names) - 1
    outside = np.flatnonzero((labels < first_label) | (labels > last_label))
    if len(outside):
        raise InputError(
            f"{where}: label {labels[outside[0]]} of example {outside[0]} is outside the mapping, "
            f"which runs from {first_label} to {last_label}"
        )


def _check_images(images: str, size: ImageSize | None) -> tuple[int, ImageSize]:
    """The number of images in a file, and their height and width, which must be `size` unless that is None."""
    with idx.open_file(images) as (_, header):
        shape = header.shape
        expected = "uint8 [N, H, W]" if size is None else f"uint8 [N, {size[0]}, {size[1]}]"
        if header.dtype != np.uint8 or len(shape) != 3 or size not in (None, shape[1:]):
            raise InputError(f"{images}: holds {header.dtype} of shape {shape}; images are {expected}")
    if not shape[0]:
        raise InputError(f"{images}: holds no image")
    if not 0 < math.prod(shape[1:]) <= _MAX_PIXELS:
        raise InputError(f"{images}: its images are {shape[1]}×{shape[2]}; they must have 1 to {_MAX_PIXELS:,} pixels")
    return shape[0], shape[1:]


def _check_labels_file(labels: str, images: str, count: int, class_names: tuple[str, ...], first_label: int) -> None:
    values = idx.read_labels(labels)
    if len(values) != count:
        raise InputError(f"{images}: {count} images, but {labels} holds {len(values)} labels")
    check_labels(values, class_names, first_label, labels)
