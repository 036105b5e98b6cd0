"""EMNIST's conversion of a drawn character to a small image, in NumPy and Pillow.

Steps, after Cohen et al., arXiv:1702.05373, section II-B: Gaussian blur (σ = 1) of the 128×128 picture, crop to the
ink, centre in a square, keeping the aspect ratio, with a border of 2 pixels, resize to 28×28, stretch to 0…255. Larger
images use a proportionally finer canvas and wider border; images that are not square use a rectangle.
"""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from common.dataset.schema import EMNIST_SIZE, ImageSize
from common.errors import InputError

CANVAS_SIDE = 128
"""The side, in pixels, of EMNIST's pictures before their conversion to 28×28."""
LEAST_CONTRAST = 24  # of 255; a picture with less shows no ink
_BLUR_SIGMA = 1.0
_BORDER = 2


def _border(size: ImageSize) -> int:
    """The minimal margin around a character, in pixels of the canvas."""
    return round(_BORDER * max(size) / max(EMNIST_SIZE))


def to_image(foreground: np.ndarray, size: ImageSize = EMNIST_SIZE) -> np.ndarray:
    """Converts `foreground`, a character light on dark, uint8 [S, S], to the image of an example, uint8 [H, W].

    Raises `InputError` if there is no ink.
    """
    blurred = np.rint(gaussian_filter(foreground.astype(np.float32), _BLUR_SIGMA))
    rows, columns = np.flatnonzero(blurred.any(axis=1)), np.flatnonzero(blurred.any(axis=0))
    if not len(rows):
        raise InputError("the picture holds no ink")
    character = blurred[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = character.shape
    least_height, least_width = height + 2 * _border(size), width + 2 * _border(size)
    # The smallest box with the image's aspect ratio.
    box_height = max(least_height, -(-least_width * size[0] // size[1]))
    box_width = max(least_width, -(-least_height * size[1] // size[0]))
    box = np.zeros((box_height, box_width), np.float32)
    top, left = (box_height - height) // 2, (box_width - width) // 2
    box[top : top + height, left : left + width] = character
    small = Image.fromarray(box).resize(size[::-1], Image.Resampling.BICUBIC)
    # Bicubic overshoots below zero beside strong edges; that is background and must not widen the stretch.
    values = np.maximum(np.asarray(small), 0)
    return np.rint(values * (255 / values.max())).astype(np.uint8)
