"""The networks that read lines. Each takes pixels float32 [N, H, W, 1] in 0…255 and the lines' widths, int64 [N].

It returns logits, float32 [N, ceil(W/4), C+1]: for each four columns one for each character, and last one for the blank
that separates them in CTC (Graves et al., "Connectionist temporal classification", 2006). What lies right of a line is
set to zero after each layer that looks sideways, so that the width of a batch changes no answer.
"""

import keras
from keras import layers, ops

from common.dataset.schema import IMAGE, WIDTH, Schema
from trainer.config.settings import TrainConfig
from trainer.models.networks import LayerFactory
from trainer.models.settings import ArticleLinesConfig, LinesConfig

LOGITS, SHORTCUT = "logits", "shortcut"


def build(config: TrainConfig, schema: Schema, factory: LayerFactory | None = None) -> keras.Model:
    """The untrained network that `config` names, its weights drawn from Keras' global seed.

    Its outputs are the logits and those of the shortcut, a second head straight on the convolutions, which makes the
    training of the first layers easier (Retsinas et al., "Best practices for a handwritten text recognition system",
    2022).
    """
    factory = factory or LayerFactory()
    height = schema.image_shape[0]
    image = keras.Input((height, None, 1), name=IMAGE)
    width = keras.Input((), dtype="int64", name=WIDTH)
    pixels = layers.Rescaling(1 / 255, name="scale")(image)
    columns = ops.cumsum(ops.ones_like(pixels[:, :1]), axis=2)
    inside = ops.cast(columns <= ops.reshape(ops.cast(width, columns.dtype), (-1, 1, 1, 1)), pixels.dtype)
    masks = {stride: inside[:, :, ::stride] for stride in (1, 2, 4)}
    num_outputs = len(schema.vocabulary) + 1
    match config.model:
        case "article_lines":
            convolved, features = article_lines(pixels, masks, config.article_lines)
        case "lines":
            convolved, features = lines(pixels, masks, config.lines, factory)
    # Always in float32: a softmax needs more digits than bfloat16 has.
    shortcut = layers.Conv1D(num_outputs, 3, padding="same", dtype="float32", name=SHORTCUT)(convolved)
    logits = layers.Dense(num_outputs, dtype="float32", name=LOGITS)(features)
    return keras.Model([image, width], [logits, shortcut], name=config.model)


def lines(
    pixels: keras.KerasTensor, masks: dict[int, keras.KerasTensor], config: LinesConfig, factory: LayerFactory
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Convolutions over the picture, then along the line: [N, H, W, 1] → twice [N, W/4, channels]."""

    def convolve(
        features: keras.KerasTensor, channels: int, kernel: tuple[int, int], name: str, stride: int | tuple = 1
    ) -> keras.KerasTensor:
        initial = {"use_bias": False, "kernel_initializer": "he_normal"}
        convolution = layers.Conv2D(channels, kernel, stride, padding="same", **initial, name=f"{name}_conv")
        return activate(convolution(features), name)

    def activate(features: keras.KerasTensor, name: str, is_linear: bool = False) -> keras.KerasTensor:
        mask = masks[2] if name.startswith("half") else masks[4]
        features = factory.line_normalization(momentum=0.98, name=f"{name}_norm")(features, mask)
        features = features if is_linear else layers.ReLU(name=f"{name}_relu")(features)
        return features * ops.cast(mask, features.dtype)

    def spread(features: keras.KerasTensor, kernel: tuple[int, int], name: str) -> keras.KerasTensor:
        return layers.DepthwiseConv2D(kernel, padding="same", use_bias=False, name=f"{name}_spread")(features)

    first, second, third = config.filters
    features = convolve(pixels, first, (5, 5), "half", 2)
    features = convolve(features, second, (3, 3), "quarter", 2)
    for number in range(1, config.picture_blocks + 1):
        name = f"picture_{number}"
        features = features + convolve(spread(features, (3, 3), name), second, (1, 1), name)
    features = convolve(features, third, (3, 3), "low", (2, 1))
    features = features + convolve(spread(features, (3, 3), "low_1"), third, (1, 1), "low_1")
    # Each column of features becomes one.
    features = layers.Conv2D(
        config.channels, (features.shape[1], 1), use_bias=False, kernel_initializer="he_normal", name="column_conv"
    )(features)
    convolved = activate(features, "column")
    features = convolved
    for number in range(1, config.line_blocks + 1):
        name = f"line_{number}"
        inner = convolve(spread(features, (1, config.kernel), name), 2 * config.channels, (1, 1), f"{name}_wide")
        inner = factory.dropout(config.dropout, noise_shape=(None, 1, 1, None), name=f"{name}_drop")(inner)
        inner = layers.Conv2D(config.channels, 1, use_bias=False, name=f"{name}_conv")(inner)
        features = features + activate(inner, name, is_linear=True)
    features = factory.dropout(config.dropout, noise_shape=(None, 1, 1, None), name="drop")(features)
    return convolved[:, 0], features[:, 0]


def article_lines(
    pixels: keras.KerasTensor, masks: dict[int, keras.KerasTensor], config: ArticleLinesConfig
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The article's five layers at full width, then two bidirectional LSTM layers: [N, H, W, 1] → twice [N, W/4, …]."""
    features = pixels
    kernels, pools = (5, 5, 3, 3, 3), ((2, 2), (2, 2), (2, 1), (2, 1), (2, 1))
    stride = 1
    for number, (filters, kernel, pool) in enumerate(zip(config.filters, kernels, pools, strict=True), start=1):
        features = layers.Conv2D(filters, kernel, padding="same", activation="relu", name=f"conv_{number}")(features)
        features = features * ops.cast(masks[stride], features.dtype)
        features = layers.MaxPooling2D(pool, padding="same", name=f"pool_{number}")(features)
        stride *= pool[1]
    convolved = ops.max(features, axis=1)
    is_inside = masks[4][:, 0, :, 0] > 0
    sequence = convolved
    for number in (1, 2):
        # Keras would number the names that checkpoints go by, on and on from one network to the next.
        recurrent = layers.LSTM(config.units, return_sequences=True, name="lstm")
        sequence = layers.Bidirectional(recurrent, name=f"lstm_{number}")(sequence, mask=is_inside)
    return convolved, sequence
