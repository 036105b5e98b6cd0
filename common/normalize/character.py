"""The EMNIST paper's conversion of a picture of one character into a small image; the reference in NumPy and Pillow.

Steps, after Cohen et al., arXiv:1702.05373, section II-B: Gaussian blur (σ = 1) of the 128×128 picture, crop to the
ink, centre in a square, keeping the aspect ratio, with a border of 2 pixels, resize to 28×28, stretch to 0…255. Larger
images come from a finer canvas with a wider border, both in proportion; what is no square comes from a rectangle.
"""

import io
import struct
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy.ndimage import gaussian_filter

from common.dataset.schema import EMNIST_SIZE, ImageSize
from common.errors import InputError

CANVAS_SIDE = 128
"""That of EMNIST's pictures, before they became images of 28×28."""
MAX_PIXELS = 64_000_000
"""The largest picture that is decoded; a small file can claim a size that would fill the memory."""

FAINT = 0.15  # of the strongest ink; below it is paper, shadow or the noise of JPEG
LEAST_CONTRAST = 24  # of 255; below it there is no ink
BLUR_SIGMA = 1.0
_BORDER = 2


def canvas_side(size: ImageSize) -> int:
    """The side of the square that a picture is brought to before it becomes an image of `size`."""
    return max(CANVAS_SIDE, round(CANVAS_SIDE * max(size) / max(EMNIST_SIZE)))


def border(size: ImageSize) -> int:
    """The pixels of that square which are left around a character, at least."""
    return round(_BORDER * max(size) / max(EMNIST_SIZE))


def read_picture(content: bytes, size: ImageSize = EMNIST_SIZE) -> np.ndarray:
    """The ink, uint8 [S, S], 255 where it is strongest, of an encoded PNG, JPEG or TIFF picture of any size.

    S is the `canvas_side` of the image that is to be made of it.
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
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ink = np.abs(pixels - np.median(edge))
    if ink.max() < LEAST_CONTRAST:
        raise InputError("the picture holds no ink")
    ink = np.maximum(ink / ink.max() - FAINT, 0) * (255 / (1 - FAINT))
    height, width = ink.shape
    side = max(height, width)
    square = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = ink
    canvas = Image.fromarray(square).resize((canvas_side(size),) * 2, Image.Resampling.BICUBIC)
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


def to_image(ink: np.ndarray, size: ImageSize = EMNIST_SIZE) -> np.ndarray:
    """The image, uint8 [H, W], of a character drawn light on dark: `ink` is uint8 [S, S], 255 where ink is.

    Raises `InputError` if there is no ink.
    """
    blurred = np.rint(gaussian_filter(ink.astype(np.float32), BLUR_SIGMA))
    rows, columns = np.flatnonzero(blurred.any(axis=1)), np.flatnonzero(blurred.any(axis=0))
    if not len(rows):
        raise InputError("the picture holds no ink")
    character = blurred[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = character.shape
    least_height, least_width = height + 2 * border(size), width + 2 * border(size)
    # The smallest box of the image's shape.
    box_height = max(least_height, -(-least_width * size[0] // size[1]))
    box_width = max(least_width, -(-least_height * size[1] // size[0]))
    box = np.zeros((box_height, box_width), np.float32)
    top, left = (box_height - height) // 2, (box_width - width) // 2
    box[top : top + height, left : left + width] = character
    small = Image.fromarray(box).resize(size[::-1], Image.Resampling.BICUBIC)
    # Bicubic overshoots below zero beside strong edges; that is background, not something to stretch from.
    values = np.maximum(np.asarray(small), 0)
    return np.rint(values * (255 / values.max())).astype(np.uint8)
