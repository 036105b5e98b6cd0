"""EMNIST's MATLAB files, `emnist-<split>.mat`: the same characters as the IDX files, in one file.

The file holds a struct `dataset` with `train` and `test`, each with `images` (uint8 [N, 784], column-major, so that a
row reads like an image of the IDX file) and `labels` ([N, 1]), and with `mapping` ([C, 2 or 3]: label, code points).
`scipy.io.loadmat` cannot stream: whoever reads a part of the file has the whole of it in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.dataset.records import IMAGE_BYTES, IMAGE_SIDE
from common.errors import InputError
from common.formats import archive
from preprocess.catalogue import KnownDataset
from preprocess.sources.base import Block, IndexedSplit, Source
from preprocess.sources.idx_files import check_labels, check_mapping


@dataclass(frozen=True)
class MatlabSplit(IndexedSplit):
    """The first `num_examples` of `train` or `test`; its keys are those of the IDX file."""

    location: str
    first_label: int

    def read(self, block_examples: int) -> Iterator[Block]:
        images, labels = _load(self.location)[self.split]
        for start in range(0, self.num_examples, block_examples):
            stop = min(start + block_examples, self.num_examples)
            upright = images[start:stop].reshape(-1, IMAGE_SIDE, IMAGE_SIDE).transpose(0, 2, 1)
            yield Block(upright, labels[start:stop] - self.first_label, np.arange(start, stop, dtype=np.uint64))


def file_name(dataset: KnownDataset) -> str:
    """The published name of a dataset's MATLAB file; no file has it where there is none."""
    return f"{dataset.file_prefix}.mat"


def inspect(dataset: KnownDataset, location: str, max_examples_per_split: int | None) -> Source:
    """Checks a MATLAB file. Raises `InputError` for one that is damaged or is not EMNIST's."""
    content = _load(location)
    mapping = {int(label): [int(point) for point in points] for label, *points in content["mapping"]}
    class_names, first_label = check_mapping(mapping, location)
    splits = []
    for split in ("train", "test"):
        images, labels = content[split]
        check_labels(labels, class_names, first_label, f"{location}: {split}")
        wanted = min(len(images), max_examples_per_split or len(images))
        splits.append(MatlabSplit(split, f"{dataset.name}/{split}", wanted, location, first_label))
    return Source(class_names, tuple(splits), (archive.describe(location),))


def _load(location: str) -> dict:
    """`train` and `test`: (images uint8 [N, 784], labels uint16 [N]); `mapping`: int [C, 2 or 3]."""
    from scipy.io import loadmat

    with archive.open_file(location) as file:
        start = file.read(128)
        if start.lstrip()[:1] == b"<":
            raise InputError(f"{location}: is an HTML or XML page, not a MATLAB file")
        file.seek(0)
        try:
            dataset = loadmat(file, variable_names=["dataset"])["dataset"][0, 0]
            content = {"mapping": np.asarray(dataset["mapping"], np.int64)}
            for split in ("train", "test"):
                part = dataset[split][0, 0]
                content[split] = part["images"], part["labels"]
        except Exception as error:  # loadmat raises whatever damaged bytes lead it to: KeyError, zlib.error, …
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{location}: is no MATLAB file of EMNIST, or a damaged one ({reason})") from None
    if content["mapping"].ndim != 2 or content["mapping"].shape[1] < 2:
        raise InputError(f"{location}: mapping has shape {content['mapping'].shape}; expected [C, 2] or [C, 3]")
    for split in ("train", "test"):
        images, labels = content[split]
        if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != IMAGE_BYTES or not len(images):
            raise InputError(f"{location}: {split} images are {images.dtype} {images.shape}; expected uint8 [N, 784]")
        if labels.size != len(images) or not np.issubdtype(labels.dtype, np.number):
            raise InputError(f"{location}: {len(images)} {split} images, but {labels.size} labels")
        whole = labels.reshape(-1).astype(np.uint16)
        if not np.array_equal(whole, labels.reshape(-1)):
            raise InputError(f"{location}: {split} labels are not all whole numbers from 0")
        content[split] = images, whole
    return content
