"""Examples as people would photograph them, to calibrate and to measure what a model says of pictures."""

import numpy as np
from PIL import Image, ImageOps

from common.photographs import KINDS, photograph

_SIDE = 28


def of_example(image: np.ndarray, number: int) -> bytes:
    """An encoded picture of an image, uint8 [H, W, 1], light on dark; all kinds in turn, always the same for a number.

    The image has some ink. It is stretched to full strength, and, since the renderer draws characters of 28×28 pixels,
    others are brought to that size.
    """
    character = ImageOps.autocontrast(Image.fromarray(image[..., 0]))
    if character.size != (_SIDE, _SIDE):
        character = ImageOps.pad(character, (_SIDE, _SIDE), Image.Resampling.BICUBIC)
    return photograph(np.asarray(character), KINDS[number % len(KINDS)], np.random.default_rng(number))
