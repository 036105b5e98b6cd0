"""The peer that training is compared with: Keras on arrays, as the source article has it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


def arrays(data: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [N, 28, 28, 1] in 0…1, and one-hot labels [N, C], of a split of a dataset folder."""
    import keras

    from common.dataset import manifest as manifests
    from trainer import input_pipeline

    examples = input_pipeline.open_split(data, manifests.read(data), split)
    images, labels = examples.take(np.arange(examples.num_examples))
    images = images.reshape(-1, 28, 28, 1).astype(np.float32) / 255
    return images, keras.utils.to_categorical(labels, examples.num_classes)


def compiled(model: str, num_classes: int) -> "keras.Model":
    """A network of this package for such arrays, with Adam, ready for `fit`."""
    import keras

    from trainer import models
    from trainer.config import TrainConfig

    whole = models.build(TrainConfig("", "", model=model), num_classes)
    network = keras.Model(whole.get_layer("scale").output, whole.output)  # the arrays are scaled already
    network.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return network
