"""The baseline for training: Keras on arrays, as in the source article."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.data.examples import open_split
from trainer.data.settings import DataConfig

if TYPE_CHECKING:
    import keras


def arrays(data: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [N, 28, 28, 1] in 0…1, and one-hot labels [N, C], of a split of a dataset folder."""
    import keras

    from common.dataset import manifest as manifests
    from common.dataset.schema import IMAGE, LABEL

    examples = open_split(data, manifests.read(data), split)
    batch = examples.take(np.arange(examples.num_examples))
    one_hot = keras.utils.to_categorical(batch[LABEL], len(examples.schema.vocabulary))
    return batch[IMAGE].astype(np.float32) / 255, one_hot


def compiled(model: str, num_classes: int) -> "keras.Model":
    """A network of this package that takes such arrays, compiled with Adam."""
    import keras

    from common.dataset.schema import characters
    from trainer.config.settings import TrainConfig
    from trainer.models import networks

    whole = networks.build(
        TrainConfig(DataConfig(""), "", model=model), characters(tuple(map(str, range(num_classes))))
    )
    network = keras.Model(whole.get_layer("scale").output, whole.output)  # the arrays are scaled already
    network.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return network
