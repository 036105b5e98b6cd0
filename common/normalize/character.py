"""EMNIST's conversion of a picture of one character to a small image: the reference, in NumPy and Pillow.

Steps, after Cohen et al., arXiv:1702.05373, section II-B: Gaussian blur (σ = 1) of the 128×128 picture, crop to the
ink, centre in a square, keeping the aspect ratio, with a border of 2 pixels, resize to 28×28, stretch to 0…255. Larger
images use a proportionally finer canvas and wider border; images that are not square use a rectangle.
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
"""The side, in pixels, of EMNIST's pictures before their conversion to 28×28."""
MAX_PIXELS = 64_000_000
"""The largest picture that is decoded, since a small file can claim a size that would fill the memory."""

FAINT = 0.15  # of the strongest ink; anything fainter is paper, shadow or JPEG noise
LEAST_CONTRAST = 24  # of 255; a picture with less shows no ink
BLUR_SIGMA = 1.0
_BORDER = 2


def canvas_side(size: ImageSize) -> int:
    """The side of the square canvas that a picture is scaled to before it becomes an image of `size`."""
    return max(CANVAS_SIDE, round(CANVAS_SIDE * max(size) / max(EMNIST_SIZE)))


def border(size: ImageSize) -> int:
    """The minimal margin around a character, in pixels of the canvas."""
    return round(_BORDER * max(size) / max(EMNIST_SIZE))


def read_picture(content: bytes, size: ImageSize = EMNIST_SIZE) -> np.ndarray:
    """Decodes a PNG, JPEG or TIFF picture of any size to its foreground: uint8 [S, S], 255 where the ink is strongest.

    S is `canvas_side(size)`. The picture's edge shows the paper's colour, so ink may be dark on light, light on dark,
    or opaque on transparent (laid on white). Raises `InputError` for a picture that cannot be decoded, is too large, or
    shows no ink.
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
    foreground = np.abs(pixels - np.median(edge))
    if foreground.max() < LEAST_CONTRAST:
        raise InputError("the picture holds no ink")
    foreground = np.maximum(foreground / foreground.max() - FAINT, 0) * (255 / (1 - FAINT))
    height, width = foreground.shape
    side = max(height, width)
    square = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = foreground
    canvas = Image.fromarray(square).resize((canvas_side(size),) * 2, Image.Resampling.BICUBIC)
    return np.rint(np.clip(np.asarray(canvas), 0, 255)).astype(np.uint8)


def _to_grey(picture: Image.Image) -> np.ndarray:
    """Grey values, float32 [H, W], 0 to 255, of a picture in any mode; transparent pixels are laid on white."""
    if picture.mode.startswith(("I", "F")):  # 16 bits and more; Pillow would cut them off at 255
        values = np.asarray(picture, np.float32)
        return values * (255 / max(values.max(), 1))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.asarray(picture.convert("L"), np.float32)


def to_image(foreground: np.ndarray, size: ImageSize = EMNIST_SIZE) -> np.ndarray:
    """Converts `foreground`, a character light on dark, uint8 [S, S], to the image of an example, uint8 [H, W].

    Raises `InputError` if there is no ink.
    """
    blurred = np.rint(gaussian_filter(foreground.astype(np.float32), BLUR_SIGMA))
    rows, columns = np.flatnonzero(blurred.any(axis=1)), np.flatnonzero(blurred.any(axis=0))
    if not len(rows):
        raise InputError("the picture holds no ink")
    character = blurred[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = character.shape
    least_height, least_width = height + 2 * border(size), width + 2 * border(size)
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
