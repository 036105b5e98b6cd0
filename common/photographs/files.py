"""Pictures as encoded files."""

import io

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
# Turns an upright picture to how it is stored under an EXIF orientation.
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def to_image(picture: np.ndarray) -> Image.Image:
    """A float picture, [height, width, 1 or 3], 0 to 255, as an image."""
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def white_balanced(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A grey image as a camera's, in colours that are slightly off; a coloured one is left as it is."""
    if image.mode != "L":
        return image
    gains = [1, rng.uniform(0.98, 1), rng.uniform(0.94, 1)][:: rng.choice([1, -1])]
    return Image.merge("RGB", [image.point([round(gain * level) for level in range(256)]) for gain in gains])


def as_png(image: Image.Image, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1, **options)
    return content.getvalue()


def as_jpeg(image: Image.Image, quality: int, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality, **options)
    return content.getvalue()


def as_rotated_jpeg(image: Image.Image, quality: int, orientation: int) -> bytes:
    """A JPEG file stored turned or mirrored, whose EXIF orientation says so."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return as_jpeg(image.transpose(STORED_AS[orientation]), quality, exif=exif)


def as_palette_png(image: Image.Image, bits: int, colours: np.ndarray, opacities: np.ndarray | None) -> bytes:
    """A grey image as a palette file of 2 ** `bits` levels.

    `colours`, uint8 [2 ** bits, 3], are those of the levels from dark to light; `opacities`, uint8 [2 ** bits], become
    the chunk tRNS.
    """
    levels = np.asarray(image, np.uint16) * (2**bits - 1) + 127
    indexed = Image.fromarray((levels // 255).astype(np.uint8))
    indexed.putpalette(colours.tobytes())
    transparency = {} if opacities is None else {"transparency": opacities.tobytes()}
    return as_png(indexed, bits=bits, **transparency)
