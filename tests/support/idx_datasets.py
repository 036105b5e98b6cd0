"""Small datasets of characters whose every image a test chooses."""

from pathlib import Path

import numpy as np

from common.formats import idx
from preprocess import pipeline
from preprocess.catalogue import find
from preprocess.config import PreprocessConfig
from tests.support.sources import as_mnist, telling_images, write_gzip


def make(folder: Path, train: np.ndarray, test: np.ndarray, validation_fraction: float = 0.0) -> Path:
    """The folder of a dataset of these images, uint8 [N, 28, 28], of the ten digits, mostly in turn."""
    dataset, source = find("mnist/original"), folder / "source"
    source.mkdir(parents=True)
    for split, images in (("train", train), ("test", test)):
        write_gzip(source / dataset.images_file(split), idx.write(images))
        labels = as_mnist(np.arange(len(images)) % 10, split)
        write_gzip(source / dataset.labels_file(split), idx.write(labels.astype(np.uint8)))
    config = PreprocessConfig(
        dataset.name, (str(source),), str(folder / "data"), validation_fraction=validation_fraction
    )
    return Path(pipeline.run(config))


def images(count: int, seed: int) -> np.ndarray:
    """Images that no other seed gives."""
    return telling_images(count, 100 + seed)
