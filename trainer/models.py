"""The networks. Each takes pixels float32 [N, 28, 28, 1] in 0…255 and returns class probabilities float32 [N, C].

Scaling to 0…1 is the first layer, so that whoever loads a model need not know of it. The two last layers are `logits`
and `probabilities`: training computes its loss from the former, which is exact where a softmax would underflow.
"""

import keras
from keras import layers

from preprocess.records import IMAGE_SIDE
from trainer.config import CnnConfig, DenseConfig, TrainConfig


def build(config: TrainConfig, num_classes: int) -> keras.Model:
    """The untrained network that `config` names, its weights drawn from Keras' global seed."""
    image = keras.Input((IMAGE_SIDE, IMAGE_SIDE, 1), name="image")
    pixels = layers.Rescaling(1 / 255, name="scale")(image)
    match config.model:
        case "dense":
            features = dense(pixels, config.dense)
        case "cnn":
            features = cnn(pixels, config.cnn)
    logits = layers.Dense(num_classes, name="logits")(features)
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(logits)
    return keras.Model(image, probabilities, name=config.model)


def dense(pixels: keras.KerasTensor, config: DenseConfig) -> keras.KerasTensor:
    """The article's dense net: [N, 28, 28, 1] → [N, units]."""
    features = layers.Flatten()(pixels)
    for units in config.hidden_units:
        features = layers.Dense(units, activation="relu")(features)
    return features


def cnn(pixels: keras.KerasTensor, config: CnnConfig) -> keras.KerasTensor:
    """The article's convolutional net: [N, 28, 28, 1] → [N, units]."""
    features = layers.Conv2D(config.first_filters, config.first_kernel, config.first_stride, activation="relu")(pixels)
    features = layers.Conv2D(config.second_filters, config.second_kernel, activation="relu")(features)
    features = layers.MaxPooling2D(config.pool)(features)
    features = layers.Dropout(config.pool_dropout)(features)
    features = layers.Flatten()(features)
    features = layers.Dense(config.hidden_units, activation="relu")(features)
    return layers.Dropout(config.hidden_dropout)(features)
