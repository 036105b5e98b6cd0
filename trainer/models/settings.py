"""The settings of the networks, one dataclass each."""

from dataclasses import dataclass

from common.marks import Count, Share


@dataclass(frozen=True)
class DenseConfig:
    """The article's dense net."""

    hidden_units: tuple[Count, ...] = (50, 50)
    """Units of each hidden layer."""


@dataclass(frozen=True)
class CnnConfig:
    """The article's convolutional net."""

    first_filters: Count = 32
    """Channels of the first convolution."""
    first_kernel: Count = 5
    """Its kernel's height and width in pixels."""
    first_stride: Count = 2
    """Its step in pixels."""
    second_filters: Count = 64
    """Channels of the second convolution."""
    second_kernel: Count = 3
    """Its kernel's height and width."""
    pool: Count = 2
    """Height and width over which the maximum is taken."""
    pool_dropout: Share = 0.25
    """The share of values dropped after pooling, 0 to 1."""
    hidden_units: Count = 128
    """Units of the dense layer."""
    hidden_dropout: Share = 0.25
    """The share of values dropped after the dense layer, 0 to 1."""


@dataclass(frozen=True)
class Cnn5Config:
    """The article's five-layer net; kernels of 5, 5, 3, 3, 3 pixels, pools of 2×2, 2×2, 2×1, 2×1, 2×1."""

    filters: tuple[Count, Count, Count, Count, Count] = (32, 64, 128, 128, 256)
    """Channels of each convolution."""


@dataclass(frozen=True)
class LinesConfig:
    """A reader of lines without recurrent layers, made for accuracy at little cost."""

    filters: tuple[Count, Count, Count] = (32, 64, 128)
    """Channels at a half and a quarter of the size, and at an eighth of the height."""
    picture_blocks: Count = 2
    """Residual blocks at a quarter of the size."""
    channels: Count = 192
    """Channels along the line."""
    line_blocks: Count = 6
    """Residual blocks along the line."""
    kernel: Count = 9
    """The steps, of four columns, that each of them looks at."""
    dropout: Share = 0.2
    """The share of channels dropped in each of them, 0 to 1."""


@dataclass(frozen=True)
class ArticleLinesConfig:
    """The article's five-layer net at full width, and two bidirectional LSTM layers."""

    filters: tuple[Count, Count, Count, Count, Count] = (32, 64, 128, 128, 256)
    """Channels of each convolution."""
    units: Count = 256
    """Units of each LSTM layer and direction."""


@dataclass(frozen=True)
class ResnetSmallConfig:
    """A small residual net, made for accuracy at little cost."""

    filters: tuple[Count, Count, Count] = (24, 48, 96)
    """Channels at 14×14, 7×7 and 4×4 pixels."""
    blocks: Count = 1
    """Residual blocks at each of these sizes."""
    dropout: Share = 0.2
    """The share of features dropped before the last layer, 0 to 1."""
