"""The schema of a dataset: the features of an example. Records, arrays in memory and TFDS' metadata follow from it.

Every example of a dataset has the same features of the same shapes. So all records have equal length, and any example
can be read by its index.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Batch = dict[str, np.ndarray]
"""A batch of examples: one array [N, *shape] per feature name."""

ImageSize = tuple[int, int]
"""Height and width."""
EMNIST_SIZE: ImageSize = (28, 28)

IMAGE = "image"
"""The feature that every schema has: uint8 [H, W, 1], light on dark."""
LABEL = "label"
"""The feature with a character's class: an index into the vocabulary."""
WIDTH = "width"
"""The feature with a line's true width: int64, from 1 to W; columns to its right are background."""
TEXT, TEXT_LENGTH = "text", "text_length"
"""The features with a line's text: character numbers, int64 [L], zeros behind the text, and how many it has."""
GROUP = "group"
"""The feature with the number of a line's group: its writer or its page."""

MAX_BOUND = 1 << 21
"""The largest bound, because a number in a record takes at most three bytes of seven bits."""


@dataclass(frozen=True)
class Feature:
    """One array of an example."""

    name: str
    dtype: Literal["uint8", "int64"]
    shape: tuple[int, ...] = ()
    bound: int = 256
    """Values are at least 0 and below this."""

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Schema:
    """The features of an example, and the meaning of its labels."""

    task: str
    """The task of a model on these examples; `characters`: recognise the character in each image; `lines`: read."""
    features: tuple[Feature, ...]
    vocabulary: tuple[str, ...]
    """What a model can answer: the class names of characters, in label order; the characters of lines, sorted."""
    unseen: tuple[str, ...] = ()
    """Characters of lines that no training text has. Their numbers follow those of the vocabulary; no model predicts
    them, so they count as errors."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and 1."""
        return next(feature.shape for feature in self.features if feature.name == IMAGE)

    @property
    def has_width(self) -> bool:
        """Whether images are as wide as the dataset's widest one, and have their true width beside them."""
        return self.has(WIDTH)

    def has(self, name: str) -> bool:
        """Whether examples have a feature of this name."""
        return any(feature.name == name for feature in self.features)

    @property
    def characters(self) -> tuple[str, ...]:
        """The meaning of all numbers in labels and texts: the vocabulary, and what no training text has."""
        return self.vocabulary + self.unseen

    @property
    def example_bytes(self) -> int:
        """Bytes of an example in memory."""
        return sum(feature.size * np.dtype(feature.dtype).itemsize for feature in self.features)

    def examples_in(self, image_bytes: int, at_least: int) -> int:
        """The number of examples whose images fill `image_bytes`; no fewer than `at_least`."""
        return max(at_least, image_bytes // math.prod(self.image_shape))

    def empty(self, num_examples: int) -> Batch:
        """A batch of zeros."""
        return {
            feature.name: np.zeros((num_examples, *feature.shape), np.dtype(feature.dtype)) for feature in self.features
        }


def characters(class_names: tuple[str, ...], height: int = EMNIST_SIZE[0], width: int = EMNIST_SIZE[1]) -> Schema:
    """The schema of images of one character and its class; by default of EMNIST's size, as in format 1."""
    image = Feature(IMAGE, "uint8", (height, width, 1))
    return Schema("characters", (image, Feature(LABEL, "int64", bound=len(class_names))), class_names)


def lines(
    vocabulary: tuple[str, ...], unseen: tuple[str, ...], image_size: ImageSize, longest_text: int, num_groups: int
) -> Schema:
    """The schema of lines of text, on a canvas of this height and width."""
    height, width = image_size
    features = (
        Feature(IMAGE, "uint8", (height, width, 1)),
        Feature(WIDTH, "int64", bound=width + 1),
        Feature(TEXT, "int64", (longest_text,), bound=len(vocabulary) + len(unseen)),
        Feature(TEXT_LENGTH, "int64", bound=longest_text + 1),
        Feature(GROUP, "int64", bound=num_groups),
    )
    return Schema("lines", features, vocabulary, unseen)
