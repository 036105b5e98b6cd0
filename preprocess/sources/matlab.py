"""EMNIST's MATLAB files as sources."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.dataset.schema import IMAGE, LABEL, characters
from common.formats import matlab
from common.storage import to_path
from preprocess.catalogue import KnownDataset
from preprocess.sources import idx_files
from preprocess.sources.base import Block, IndexedSplit, Source, Wanted, describe
from preprocess.sources.idx_files import check_labels, check_mapping


@dataclass(frozen=True)
class MatlabSplit(IndexedSplit):
    """The first `num_examples` examples of `train` or `test`, with the same keys as in the IDX file."""

    location: str
    labels: bytes
    """From 0, a byte each; to read them again would take the whole file."""
    first_label: int

    def example_labels(self) -> np.ndarray:
        return np.frombuffer(self.labels, np.uint8)

    def read(self, block_examples: int) -> Iterator[Block]:
        images, labels = matlab.read(self.location)[self.split]
        for start in range(0, self.num_examples, block_examples):
            stop = min(start + block_examples, self.num_examples)
            upright = images[start:stop].transpose(0, 2, 1)
            examples = {IMAGE: upright[..., None], LABEL: labels[start:stop] - self.first_label}
            yield Block(examples, np.arange(start, stop, dtype=np.uint64))


def file_name(dataset: KnownDataset) -> str:
    """The published name of a dataset's MATLAB file; if none is published, a name that no file has."""
    return f"{dataset.file_prefix}.mat"


def holds(wanted: Wanted) -> bool:
    """Whether the source is a MATLAB file, or a folder with the dataset's MATLAB file and none of its IDX files."""
    if not wanted.dataset:
        return False
    if to_path(wanted.location).suffix == ".mat":
        return True
    return file_name(wanted.dataset) in wanted.files and not idx_files.are_in(wanted.files, wanted.dataset)


def inspect(wanted: Wanted) -> Source:
    """Checks a MATLAB file. Raises `InputError` if it is damaged or not EMNIST's."""
    dataset, limit = wanted.dataset, wanted.config.max_examples_per_split
    is_file = to_path(wanted.location).suffix == ".mat"
    location = wanted.location if is_file else wanted.files[file_name(dataset)]
    content = matlab.read(location)
    mapping = {int(label): [int(point) for point in points] for label, *points in content["mapping"]}
    class_names, first_label = check_mapping(mapping, location)
    splits = []
    for split in ("train", "test"):
        images, labels = content[split]
        check_labels(labels, class_names, first_label, f"{location}: {split}")
        wanted = min(len(images), limit or len(images))
        known = (labels[:wanted] - first_label).astype(np.uint8).tobytes()
        splits.append(MatlabSplit(split, f"{dataset.name}/{split}", wanted, location, known, first_label))
    return Source(characters(class_names), tuple(splits), (describe(location),))
