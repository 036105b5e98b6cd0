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

    Its outputs are the logits and, of `article_lines`, those of a shortcut: a second head straight on the convolutions,
    which makes their training easier below recurrent layers (Retsinas et al., "Best practices for a handwritten text
    recognition system", 2022).
    """
    factory = factory or LayerFactory()
    height = schema.image_shape[0]
    image = keras.Input((height, None, 1), name=IMAGE)
    width = keras.Input((), dtype="int64", name=WIDTH)
    pixels = layers.Rescaling(1 / 255, name="scale")(image)
    # Counted in integers: bfloat16 ends at 256, and 8 bits of an exported file do, too.
    columns = ops.cumsum(ops.ones_like(pixels[:, :1], dtype="int32"), axis=2)
    inside = ops.cast(columns <= ops.reshape(ops.cast(width, "int32"), (-1, 1, 1, 1)), pixels.dtype)
    masks = {stride: inside[:, :, ::stride] for stride in (1, 2, 4)}
    num_outputs = len(schema.vocabulary) + 1
    outputs = []
    match config.model:
        case "article_lines":
            convolved, features = article_lines(pixels, masks, config.article_lines)
            outputs = [layers.Dense(num_outputs, dtype="float32", name=SHORTCUT)(convolved)]
        case "lines":
            features = lines(pixels, masks, config.lines, factory)
    # Always in float32: a softmax needs more digits than bfloat16 has.
    logits = layers.Dense(num_outputs, dtype="float32", name=LOGITS)(features)
    return keras.Model([image, width], [logits, *outputs], name=config.model)


def lines(
    pixels: keras.KerasTensor, masks: dict[int, keras.KerasTensor], config: LinesConfig, factory: LayerFactory
) -> keras.KerasTensor:
    """Convolutions over the picture, then along the line: [N, H, W, 1] → [N, W/4, channels]."""

    def convolve(
        features: keras.KerasTensor, channels: int, kernel: tuple[int, int], name: str, stride: int | tuple = 1
    ) -> keras.KerasTensor:
        initial = {"use_bias": False, "kernel_initializer": "he_normal"}
        convolution = layers.Conv2D(channels, kernel, stride, padding="same", **initial, name=f"{name}_conv")
        return activate(convolution(features), name)

    def activate(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
        mask = masks[2] if name == "half" else masks[4]
        features = factory.line_normalization(momentum=0.98, name=f"{name}_norm")(features, mask)
        return layers.ReLU(name=f"{name}_relu")(features) * ops.cast(mask, features.dtype)

    def drop(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return factory.dropout(config.dropout, noise_shape=(None, 1, 1, None), name=name)(features)

    def block_along_the_line(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """A residual block: each channel spread over its neighbourhood, then all channels mixed."""
        spread = layers.DepthwiseConv2D((1, config.kernel), padding="same", use_bias=False, name=f"{name}_spread")
        return features + convolve(spread(drop(features, f"{name}_drop")), config.channels, (1, 1), name)

    first, second, third = config.filters
    features = convolve(pixels, first, (5, 5), "half", 2)
    features = convolve(features, second, (3, 3), "quarter", 2)
    for number in range(1, config.picture_blocks + 1):
        features = features + convolve(features, second, (3, 3), f"picture_{number}")
    features = convolve(features, third, (3, 3), "low", (2, 1))
    features = features + convolve(features, third, (3, 3), "low_block")
    # Each column of features becomes one.
    features = layers.Conv2D(
        config.channels, (features.shape[1], 1), use_bias=False, kernel_initializer="he_normal", name="column_conv"
    )(features)
    features = activate(features, "column")
    for number in range(1, config.line_blocks + 1):
        features = block_along_the_line(features, f"line_{number}")
    return drop(features, "drop")[:, 0]


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
