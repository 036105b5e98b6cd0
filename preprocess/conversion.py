"""The EMNIST paper's conversion of a picture of one character into a 28×28 image; the reference in NumPy and Pillow.

Steps, after Cohen et al., arXiv:1702.05373, section II-B: Gaussian blur (σ = 1) of the 128×128 picture, crop to the
ink, centre in a square, keeping the aspect ratio, with a border of 2 pixels, resize to 28×28, stretch to 0…255.
"""

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from preprocess.errors import InputError
from preprocess.records import IMAGE_SIDE

CANVAS_SIDE = 128
_BLUR_SIGMA = 1.0
_BORDER = 2


def to_emnist(ink: np.ndarray) -> np.ndarray:
    """The 28×28 uint8 image of a character drawn light on dark: `ink` is uint8 [128, 128], 255 where ink is.

    Raises `InputError` if there is no ink.
    """
    blurred = np.rint(gaussian_filter(ink.astype(np.float32), _BLUR_SIGMA))
    rows, columns = np.flatnonzero(blurred.any(axis=1)), np.flatnonzero(blurred.any(axis=0))
    if not len(rows):
        raise InputError("the picture holds no ink")
    character = blurred[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = character.shape
    side = max(height, width) + 2 * _BORDER
    square = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = character
    small = Image.fromarray(square).resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC)
    # Bicubic overshoots below zero beside strong edges; that is background, not something to stretch from.
    values = np.maximum(np.asarray(small), 0)
    return np.rint(values * (255 / values.max())).astype(np.uint8)
