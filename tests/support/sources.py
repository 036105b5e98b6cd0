"""Source files of known content."""

import gzip
from pathlib import Path

import numpy as np

from common.formats import idx
from preprocess.catalogue import KnownDataset
from preprocess.config import PreprocessConfig
from preprocess.sources.base import Wanted


def write_gzip(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, mtime=0))


def telling_images(count: int, seed: int = 0) -> np.ndarray:
    """Upright images, uint8 [N, 28, 28], all different and not symmetric: transposing changes each."""
    images = np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    images[:, 4, :] = 255  # a line across
    images[:, :, 9] = 0
    return images


def as_mnist(labels: np.ndarray, split: str) -> np.ndarray:
    """The labels with the beginning of MNIST's, without which files are not taken for MNIST."""
    begin = {"train": [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], "test": [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]}[split]
    return np.concatenate([begin, labels[len(begin) :]])[: len(labels)]


class IdxSource:
    """A source folder in a published layout, and its content."""

    def __init__(self, folder: Path, dataset: KnownDataset, counts: dict[str, int]):
        self.folder, self.dataset = folder, dataset
        self.images: dict[str, np.ndarray] = {}
        self.labels: dict[str, np.ndarray] = {}
        """Labels from 0, as a dataset folder should have them."""
        folder.mkdir(parents=True)
        for seed, (split, count) in enumerate(counts.items()):
            images = telling_images(count, seed)
            labels = np.arange(count) % len(dataset.classes)
            labels = as_mnist(labels, split) if dataset.is_mnist else labels
            self.images[split], self.labels[split] = images, labels
            stored = images.transpose(0, 2, 1) if dataset.transposed else images
            write_gzip(self.path("images", split), idx.write(stored))
            write_gzip(self.path("labels", split), idx.write((labels + dataset.first_label).astype(np.uint8)))
        if dataset.mapping_file:
            lines = (
                f"{dataset.first_label + index} {' '.join(str(ord(character)) for character in characters)}\r\n"
                for index, characters in enumerate(dataset.classes)
            )
            (folder / dataset.mapping_file).write_text("".join(lines), newline="")

    def path(self, kind: str, split: str) -> Path:
        name = self.dataset.images_file(split) if kind == "images" else self.dataset.labels_file(split)
        return self.folder / name

    def wanted(self, location: Path | None = None, **changes) -> Wanted:
        """The request for this source, or for the same examples at another `location`."""
        return Wanted(str(location or self.folder), self.dataset, self.config("unused", **changes))

    def config(self, where: Path | str, **changes) -> PreprocessConfig:
        settings = {"dataset": self.dataset.name, "source": (str(self.folder),), "data_dir": str(where)}
        return PreprocessConfig(**(settings | changes))
