"""Arrays of images and of labels as sources: EMNIST's and MNIST's files, and others' of any form and name.

The forms are those of `common.formats.arrays`: IDX, NumPy's, MATLAB's, tables of pixels. The same arrays give the same
dataset in each.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.dataset.schema import EMNIST_SIZE, IMAGE, LABEL, ImageSize, characters
from common.errors import InputError
from common.formats import archive, matlab
from common.formats.arrays import Array
from preprocess.catalogue import KnownDataset
from preprocess.sources import array_files, mapping, orientation
from preprocess.sources.array_files import Found, Pair
from preprocess.sources.base import Block, IndexedSplit, Source, SourceSplit, Wanted, describe, divided

_MAX_PIXELS = 1 << 20
_SAMPLE = 4096
_MNIST_BEGINS = {"train": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4), "test": (7, 2, 1, 0, 4, 1, 4, 9, 5, 9)}
"""The first labels of the original MNIST, whose files have the same names as those of Kuzushiji- and Fashion-MNIST."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArraySplit(IndexedSplit):
    """The first `num_examples` examples of an array of images and one of labels."""

    pair: Pair
    size: ImageSize
    """Height and width as stored."""
    first_label: int
    is_transposed: bool

    def example_labels(self) -> np.ndarray:
        return self.pair.read_labels()[: self.num_examples] - self.first_label

    def read(self, block_examples: int) -> Iterator[Block]:
        """One worker reads from the beginning, because a gzip stream cannot be entered in the middle."""
        labels = self.example_labels()
        start = 0
        for images in self.pair.images.read(block_examples):
            stop = min(start + len(images), self.num_examples)
            upright = images[: stop - start].reshape(-1, *self.size)
            if self.is_transposed:
                upright = np.ascontiguousarray(upright.transpose(0, 2, 1))
            examples = {IMAGE: upright[..., None], LABEL: labels[start:stop]}
            yield Block(examples, np.arange(start, stop, dtype=np.uint64))
            start = stop
            if start == self.num_examples < self.pair.images.shape[0]:
                return  # without this limit, the end of the file is checked too


def holds(wanted: Wanted) -> bool:
    """Whether the source has arrays of images with labels."""
    return bool(array_files.find(wanted).pairs)


def inspect(wanted: Wanted) -> Source:
    """Checks the arrays of a dataset: all headers, all labels, and some pixels for their orientation.

    Without a split for tests, one is drawn from the training examples. Raises `InputError` for images without labels,
    images that are not uint8 (and 28×28 for a known dataset), sizes that differ between splits, counts that differ
    between images and labels, and a label without a class.
    """
    dataset, config = wanted.dataset, wanted.config
    found = array_files.find(wanted)
    class_names, first_label = _classes(wanted, found)
    is_transposed = _is_transposed(wanted, found)
    splits: dict[str, SourceSplit] = {}
    size = EMNIST_SIZE if dataset else None
    for split, pair in found.pairs.items():
        count, size = _check_images(pair.images, size)
        labels = pair.read_labels()
        _check_labels(labels, class_names, first_label, str(pair.labels))
        if dataset:
            _check_is_known(dataset, split, labels, pair)
        examples = min(count, config.max_examples_per_split or count)
        namespace, is_divided = f"{config.dataset}/{split}", "validation" in found.pairs
        splits[split] = ArraySplit(
            split, namespace, examples, pair, size, first_label, is_transposed, is_divided=is_divided
        )
    sample, labels = _first_examples(found.pairs["train"], size, is_transposed)
    warnings = orientation.check(sample, labels - first_label, class_names, is_transposed, wanted.location)
    if "test" not in splits:
        splits |= {split.split: split for split in divided(splits["train"], config)}
    used = dict.fromkeys(array.location for pair in found.pairs.values() for array in (pair.images, pair.labels))
    files = [*used, found.mapping] if found.mapping and not config.classes else used
    return Source(
        characters(class_names, *(size[::-1] if is_transposed else size)),
        tuple(splits.values()),
        tuple(map(describe, files)),
        left_out=found.left_out,
        warnings=warnings,
    )


def _classes(wanted: Wanted, found: Found) -> tuple[tuple[str, ...], int]:
    """The class names, and the label of the first."""
    known, config = wanted.dataset, wanted.config
    if config.classes:
        if found.mapping:
            both = f"{wanted.location} has {archive.name_of(found.mapping)}, which names the classes"
            raise InputError(f"--classes: {both}; give only one of them")
        return config.classes, 0
    if found.mapping:
        return mapping.read(found.mapping)
    if (images := found.pairs["train"].images).form == "MATLAB":
        rows = matlab.read(images.location)["mapping"]
        return mapping.check({int(label): [int(point) for point in points] for label, *points in rows}, images.location)
    if known:
        return known.class_names, known.first_label
    raise InputError(f"{wanted.location}: mapping.txt: no such file; give it, or name the classes with --classes")


def _is_transposed(wanted: Wanted, found: Found) -> bool:
    """Whether height and width are swapped, as in EMNIST's files."""
    if wanted.config.orientation:
        return wanted.config.orientation == "transposed"
    if wanted.dataset:
        return wanted.dataset.transposed
    if found.is_named_emnist:
        _log.info("%s: the files are named like EMNIST's, so their height and width are swapped", wanted.location)
    return found.is_named_emnist


def _first_examples(pair: Pair, size: ImageSize, is_transposed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The first images, upright, and their labels as stored."""
    images = next(pair.images.read(_SAMPLE)).reshape(-1, *size)
    return images.transpose(0, 2, 1) if is_transposed else images, pair.read_labels()[: len(images)]


def _check_images(images: Array, size: ImageSize | None) -> tuple[int, ImageSize]:
    """The number of images in an array, and their height and width, which must be `size` unless that is None."""
    expected = "uint8 [N, H, W]" if size is None else f"uint8 [N, {size[0]}, {size[1]}]"
    count, found = images.shape[0], images.image_size
    if images.dtype != "uint8" or found is None or size not in (None, found):
        raise InputError(f"{images}: holds {images.dtype} of shape {images.shape}; images are {expected}")
    if not count:
        raise InputError(f"{images}: holds no image")
    if not 0 < math.prod(found) <= _MAX_PIXELS:
        raise InputError(f"{images}: its images are {found[0]}×{found[1]}; they must have 1 to {_MAX_PIXELS:,} pixels")
    return count, found


def _check_labels(labels: np.ndarray, class_names: tuple[str, ...], first_label: int, where: str) -> None:
    """Raises `InputError` if a label belongs to no class."""
    last_label = first_label + len(class_names) - 1
    outside = np.flatnonzero((labels < first_label) | (labels > last_label))
    if len(outside):
        raise InputError(
            f"{where}: label {labels[outside[0]]} of example {outside[0]} is outside the mapping, "
            f"which runs from {first_label} to {last_label}"
        )


def _check_is_known(dataset: KnownDataset, split: str, labels: np.ndarray, pair: Pair) -> None:
    """Raises `InputError` if files that are called as MNIST's are not; says how many examples are of the official."""
    begins = _MNIST_BEGINS.get(split, ()) if dataset.is_mnist else ()
    if (some := tuple(labels[: len(begins)].tolist())) != begins[: len(some)]:
        raise InputError(
            f"{pair.labels}: begins with the labels {' '.join(map(str, some))}, and the original MNIST with "
            f"{' '.join(map(str, begins))}; other data needs a name of its own, as --dataset mine/digits, and --classes"
        )
    official = dataset.official_examples.get(split, len(labels))
    if len(labels) != official:
        name = archive.name_of(pair.images.location)
        _log.info("%s holds %s examples; the official file holds %s", name, f"{len(labels):,}", f"{official:,}")
