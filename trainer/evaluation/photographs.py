"""Examples as people would photograph them, to calibrate and to measure what a model says of pictures."""

import numpy as np
from PIL import Image, ImageOps

from common.normalize.character import LEAST_CONTRAST
from common.photographs import KINDS, photograph

_SIDE = 28
_SHORTEST = 7
_SIDES = 200, 480  # of a photograph: smaller than most are, since rendering and reading them takes time
_VISIBLE, _INKED = 0.1, 0.5  # of the strongest ink
_LONGEST_FADING = 1.4


def of_example(image: np.ndarray, number: int) -> bytes:
    """An encoded picture of an image, uint8 [H, W, 1], light on dark; all kinds in turn, always the same for a number.

    The renderer draws characters of 28×28 pixels: others are brought to that size, and all are stretched to full
    strength. Only images that `can_be_drawn` may be given.
    """
    rng = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    return photograph(_character(image), kind, rng, int(rng.integers(*_SIDES)))


def can_be_drawn(image: np.ndarray) -> bool:
    """Whether the image shows strokes: ink of a quarter of the side or more, which does not fade out far beyond that.

    An image of noise with a strong dot, say, would be drawn larger than any paper.
    """
    if np.ptp(image) < LEAST_CONTRAST:
        return False
    character = _character(image)
    visible, inked = (_longer_side(character > share * character.max()) for share in (_VISIBLE, _INKED))
    return inked >= _SHORTEST and visible <= _LONGEST_FADING * inked


def _character(image: np.ndarray) -> np.ndarray:
    character = Image.fromarray(image[..., 0])
    if character.size != (_SIDE, _SIDE):
        character = ImageOps.pad(character, (_SIDE, _SIDE), Image.Resampling.BICUBIC)
    return np.asarray(ImageOps.autocontrast(character))


def _longer_side(is_ink: np.ndarray) -> int:
    return max(int(np.ptp(numbers)) + 1 for numbers in np.nonzero(is_ink))
