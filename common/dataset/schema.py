"""The schema of a dataset: what one example holds. Records, arrays in memory and TFDS' metadata follow from it.

Every example of a dataset has the same features of the same shapes, so all of its records are equally long, and any
example can be read by its number.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

Batch = dict[str, np.ndarray]
"""Some examples: an array [N, *shape] of each feature, by its name."""

ImageSize = tuple[int, int]
"""Height and width."""
EMNIST_SIZE: ImageSize = (28, 28)

IMAGE = "image"
"""The feature that every schema has: uint8 [H, W, 1], light on dark."""
LABEL = "label"
"""The class of a character: a number of the vocabulary."""

MAX_BOUND = 1 << 21
"""A number in a record takes at most three bytes of seven bits."""


@dataclass(frozen=True)
class Feature:
    """One array of an example."""

    name: str
    dtype: Literal["uint8", "int64"]
    shape: tuple[int, ...] = ()
    bound: int = 256
    """All values are below it, and none is below 0."""

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Schema:
    """What one example holds."""

    task: str
    """What a model is to do with the examples: `characters` are recognised."""
    features: tuple[Feature, ...]
    vocabulary: tuple[str, ...]
    """What numbers mean: of characters the names of the classes, in label order."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and 1."""
        return next(feature.shape for feature in self.features if feature.name == IMAGE)

    @property
    def example_bytes(self) -> int:
        """Of an example in memory."""
        return sum(feature.size * np.dtype(feature.dtype).itemsize for feature in self.features)

    def examples_in(self, image_bytes: int, at_least: int) -> int:
        """How many examples have images of so many bytes together."""
        return max(at_least, image_bytes // math.prod(self.image_shape))

    def empty(self, num_examples: int) -> Batch:
        """A batch of zeros."""
        return {
            feature.name: np.zeros((num_examples, *feature.shape), np.dtype(feature.dtype)) for feature in self.features
        }


def characters(class_names: tuple[str, ...], height: int = EMNIST_SIZE[0], width: int = EMNIST_SIZE[1]) -> Schema:
    """The schema of images of one character each, with its class; without a size, that of EMNIST and of format 1."""
    image = Feature(IMAGE, "uint8", (height, width, 1))
    return Schema("characters", (image, Feature(LABEL, "int64", bound=len(class_names))), class_names)
