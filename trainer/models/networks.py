"""The networks. Each takes pixels float32 [N, H, W, 1] in 0…255 and returns class probabilities float32 [N, C].

The first layer scales pixels to 0…1, so callers need not. The last two layers are `logits` and `probabilities`:
training computes its loss from the logits, which is exact where a softmax would underflow.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import layers

from common.dataset.schema import IMAGE, Schema
from trainer.config.settings import TrainConfig
from trainer.models.normalization import Unmasked
from trainer.models.settings import Cnn5Config, CnnConfig, DenseConfig, ResnetSmallConfig


@dataclass(frozen=True)
class LayerFactory:
    """Makes the layers that differ between training and the exported model."""

    dropout: Callable[..., keras.layers.Layer] = layers.Dropout
    """From a rate and a name."""
    normalization: Callable[..., keras.layers.Layer] = layers.BatchNormalization
    """From a momentum and a name."""
    line_normalization: Callable[..., Callable] = Unmasked
    """From a momentum and a name: a layer of features and their mask, for lines of different width."""


def build(config: TrainConfig, schema: Schema, factory: LayerFactory | None = None) -> keras.Model:
    """The untrained network that `config` names for examples of `schema`, its weights drawn from Keras' global seed."""
    factory = factory or LayerFactory()
    image = keras.Input(schema.image_shape, name=IMAGE)
    pixels = layers.Rescaling(1 / 255, name="scale")(image)
    match config.model:
        case "dense":
            features = dense(pixels, config.dense)
        case "cnn":
            features = cnn(pixels, config.cnn, factory)
        case "cnn5":
            features = layers.GlobalAveragePooling1D(name="mean")(cnn5(pixels, config.cnn5))
        case "resnet_small":
            features = resnet_small(pixels, config.resnet_small, factory)
    # Always in float32: a softmax needs more digits than bfloat16 has.
    logits = layers.Dense(len(schema.vocabulary), dtype="float32", name="logits")(features)
    probabilities = layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(image, probabilities, name=config.model)


def dense(pixels: keras.KerasTensor, config: DenseConfig) -> keras.KerasTensor:
    """The article's dense net: [N, H, W, 1] → [N, units]."""
    features = layers.Flatten(name="flatten")(pixels)
    for number, units in enumerate(config.hidden_units, start=1):
        features = layers.Dense(units, activation="relu", name=f"hidden_{number}")(features)
    return features


def cnn(pixels: keras.KerasTensor, config: CnnConfig, factory: LayerFactory) -> keras.KerasTensor:
    """The article's convolutional net: [N, H, W, 1] → [N, units]."""
    features = layers.Conv2D(
        config.first_filters, config.first_kernel, config.first_stride, activation="relu", name="conv_1"
    )(pixels)
    features = layers.Conv2D(config.second_filters, config.second_kernel, activation="relu", name="conv_2")(features)
    features = layers.MaxPooling2D(config.pool, name="pool")(features)
    features = factory.dropout(config.pool_dropout, name="pool_dropout")(features)
    features = layers.Flatten(name="flatten")(features)
    features = layers.Dense(config.hidden_units, activation="relu", name="hidden")(features)
    return factory.dropout(config.hidden_dropout, name="hidden_dropout")(features)


def cnn5(pixels: keras.KerasTensor, config: Cnn5Config) -> keras.KerasTensor:
    """The article's five-layer net: [N, H, W, 1] → a sequence [N, W/4 · ceil(H/32), filters], from left to right.

    A strip of text 32 high and 128 wide becomes 32 positions of 256 features; a character becomes 7.
    """
    features = pixels
    kernels, pools = (5, 5, 3, 3, 3), ((2, 2), (2, 2), (2, 1), (2, 1), (2, 1))
    for number, (filters, kernel, pool) in enumerate(zip(config.filters, kernels, pools, strict=True), start=1):
        features = layers.Conv2D(filters, kernel, padding="same", activation="relu", name=f"conv_{number}")(features)
        features = layers.MaxPooling2D(pool, padding="same", name=f"pool_{number}")(features)
    return layers.Reshape((-1, config.filters[-1]), name="sequence")(features)


def resnet_small(pixels: keras.KerasTensor, config: ResnetSmallConfig, factory: LayerFactory) -> keras.KerasTensor:
    """A residual net with batch normalisation: [N, H, W, 1] → [N, filters]."""
    features = pixels
    for stage, filters in enumerate(config.filters, start=1):
        kernel = 5 if stage == 1 else 3
        features = _convolution(features, filters, kernel, 2, f"down_{stage}", factory)
        for block in range(1, config.blocks + 1):
            name = f"block_{stage}_{block}"
            inner = _convolution(features, filters, 3, 1, name, factory)
            features = layers.Add(name=f"{name}_sum")([features, inner])
    features = layers.GlobalAveragePooling2D(name="mean")(features)
    return factory.dropout(config.dropout, name="dropout")(features)


def _convolution(
    features: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str, factory: LayerFactory
) -> keras.KerasTensor:
    features = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")(features)
    features = factory.normalization(momentum=0.97, name=f"{name}_norm")(features)
    return layers.ReLU(name=f"{name}_relu")(features)


def has_max_pooling(model: keras.Model) -> bool:
    return any(isinstance(layer, layers.MaxPooling2D) for layer in model.layers)


def count_flops(model: keras.Model, image_shape: tuple[int, ...]) -> int:
    """Floating-point operations for one image in convolutions and dense layers, multiplications and additions."""
    if None in model.inputs[0].shape[1:]:  # of any width
        inputs = [keras.Input(image_shape), *(keras.Input(one.shape[1:], dtype=one.dtype) for one in model.inputs[1:])]
        model = keras.models.clone_model(model, input_tensors=inputs)
    matrices = [layer for layer in model.layers if isinstance(layer, (layers.Conv1D, layers.Conv2D, layers.Dense))]
    # Each number of the result is a sum of one product for each weight that leads to its channel.
    return sum(2 * math.prod(layer.kernel.shape[:-1]) * math.prod(layer.output.shape[1:]) for layer in matrices)
