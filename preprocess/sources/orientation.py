"""Whether images of digits and Latin letters stand upright, by comparison with printed characters."""

import string
from functools import cache

import numpy as np
from PIL import Image

from common.dataset.schema import EMNIST_SIZE
from common.normalize.character import CANVAS_SIDE, to_image
from preprocess.sources.drawing import glyphs

_FONTS = "DejaVuSans", "DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralItalic"
_CHARACTERS = frozenset(string.digits + string.ascii_letters)
_LEAST_CLASSES = 5
_LEAST_EXAMPLES = 5  # of a class
_CLEARLY = 0.05  # real digits have at least 0.1 either way, letters 0.3


def check(
    images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...], is_transposed: bool, where: str
) -> tuple[str, ...]:
    """A warning if upright images, uint8 [N, H, W], fit the characters of their classes better with H and W swapped."""
    advantage = advantage_of_turning(images, labels, class_names)
    if advantage < _CLEARLY:
        return ()
    other = "upright" if is_transposed else "transposed"
    return (f"{where}: the characters look mirrored and turned; with --orientation {other} they look as they should",)


def advantage_of_turning(images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> float:
    """By how much the means of classes correlate better with printed characters if H and W are swapped; -2…2.

    It is 0 for images that are not square and for classes that are not digits or Latin letters.
    """
    if images.shape[1] != images.shape[2]:
        return 0.0
    counts = np.bincount(labels, minlength=len(class_names))
    known = [
        label for label, name in enumerate(class_names) if name in _CHARACTERS and counts[label] >= _LEAST_EXAMPLES
    ]
    if len(known) < _LEAST_CLASSES:
        return 0.0
    means = np.stack([_scaled(images[labels == label].mean(axis=0)) for label in known])
    printed = np.stack([_printed(class_names[label]) for label in known])
    return _correlation(means.transpose(0, 2, 1), printed) - _correlation(means, printed)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """The mean correlation of images, [N, H, W], less what all of them have in common."""
    one, other = ((images - images.mean(axis=0)).reshape(len(images), -1) for images in (one, other))
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(np.mean((one * other).sum(axis=1) / np.maximum(norms, 1e-9)))


def _scaled(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image.astype(np.float32)).resize(EMNIST_SIZE[::-1], Image.Resampling.BILINEAR))


@cache
def _printed(character: str) -> np.ndarray:
    """The mean of a character in several fonts, float [28, 28]."""
    return np.mean([to_image(_picture(font, character)) for font in _FONTS], axis=0)


def _picture(font: str, character: str) -> np.ndarray:
    at = np.array([CANVAS_SIDE - glyphs.EM, CANVAS_SIDE + glyphs.EM]) / 2  # y runs downwards
    polygons = [list(map(tuple, points * (1, -1) * 0.9 + at)) for points in glyphs.outlines(font, character)]
    return np.asarray(glyphs.fill(polygons, (CANVAS_SIDE, CANVAS_SIDE)).convert("L"))
