"""The EMNIST paper's conversion of a picture of one character into a 28×28 image; the reference in NumPy and Pillow.

Steps, after Cohen et al., arXiv:1702.05373, section II-B: Gaussian blur (σ = 1) of the 128×128 picture, crop to the
ink, centre in a square, keeping the aspect ratio, with a border of 2 pixels, resize to 28×28, stretch to 0…255.
"""

import io
import struct
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy.ndimage import gaussian_filter

from common.dataset.records import IMAGE_SIDE
from common.errors import InputError

CANVAS_SIDE = 128
MAX_PIXELS = 64_000_000
"""The largest picture that is decoded; a small file can claim a size that would fill the memory."""

FAINT = 0.15  # of the strongest ink; below it is paper, shadow or the noise of JPEG
LEAST_CONTRAST = 24  # of 255; below it there is no ink
BLUR_SIGMA = 1.0
BORDER = 2


def read_picture(content: bytes) -> np.ndarray:
    """The ink, uint8 [128, 128], 255 where it is strongest, of an encoded PNG, JPEG or TIFF picture of any size.

    The border tells what is paper: ink may be dark on light, light on dark, or opaque on transparent (laid on white).
    Raises `InputError` for what cannot be decoded, is too large, or shows nothing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large pictures; we refuse them
            picture = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "TIFF"))
            if picture.width * picture.height > MAX_PIXELS:
                raise InputError(f"is {picture.width}×{picture.height} pixels; at most {MAX_PIXELS:,} are read")
            pixels = _to_grey(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        raise InputError("is not a PNG, JPEG or TIFF picture") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise InputError(f"cannot be decoded ({' '.join(str(error).split())})") from None
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ink = np.abs(pixels - np.median(border))
    if ink.max() < LEAST_CONTRAST:
        raise InputError("the picture holds no ink")
    ink = np.maximum(ink / ink.max() - FAINT, 0) * (255 / (1 - FAINT))
    height, width = ink.shape
    side = max(height, width)
    square = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = ink
    canvas = Image.fromarray(square).resize((CANVAS_SIDE, CANVAS_SIDE), Image.Resampling.BICUBIC)
    return np.rint(np.clip(np.asarray(canvas), 0, 255)).astype(np.uint8)


def _to_grey(picture: Image.Image) -> np.ndarray:
    """Grey values, float32 [H, W], 0 to 255, of a picture in any mode; what is transparent is laid on white."""
    if picture.mode.startswith(("I", "F")):  # 16 bits and more; Pillow would cut them off at 255
        values = np.asarray(picture, np.float32)
        return values * (255 / max(values.max(), 1))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.asarray(picture.convert("L"), np.float32)


def to_emnist(ink: np.ndarray) -> np.ndarray:
    """The 28×28 uint8 image of a character drawn light on dark: `ink` is uint8 [128, 128], 255 where ink is.

    Raises `InputError` if there is no ink.
    """
    blurred = np.rint(gaussian_filter(ink.astype(np.float32), BLUR_SIGMA))
    rows, columns = np.flatnonzero(blurred.any(axis=1)), np.flatnonzero(blurred.any(axis=0))
    if not len(rows):
        raise InputError("the picture holds no ink")
    character = blurred[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = character.shape
    side = max(height, width) + 2 * BORDER
    square = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = character
    small = Image.fromarray(square).resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC)
    # Bicubic overshoots below zero beside strong edges; that is background, not something to stretch from.
    values = np.maximum(np.asarray(small), 0)
    return np.rint(values * (255 / values.max())).astype(np.uint8)
