"""One picture in the many forms of PNG and JPEG files that people's programs write."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from common.photographs.files import STORED_AS, as_jpeg, as_palette_png
from tests.support.picture_bytes import (
    COLOUR,
    GREY_AND_OPACITY,
    colour_profile,
    exif,
    exif_chunk,
    exif_segment,
    interlaced_png,
    png,
    transparent_colour,
    with_segments,
    xmp,
    xmp_chunk,
    xmp_segment,
)

Form = Callable[[Image.Image, np.random.Generator], bytes]


def _orientation(rng: np.random.Generator) -> int:
    return int(rng.integers(2, 9))


def _jpeg_turned(segments: Callable[[int], bytes]) -> Form:
    def form(image: Image.Image, rng: np.random.Generator) -> bytes:
        orientation = _orientation(rng)
        return with_segments(as_jpeg(image.transpose(STORED_AS[orientation]), 90), segments(orientation))

    return form


def _jpeg_orientation_of_thumbnail_alone(image: Image.Image, rng: np.random.Generator) -> bytes:
    """Stored upright: only the thumbnail's directory has an orientation, and it says nothing about the picture."""
    data = exif(thumbnails=_orientation(rng), more=_thumbnail(image))
    return with_segments(as_jpeg(image, 90), exif_segment(data))


def _jpeg_thumbnail_of_its_own_orientation(image: Image.Image, rng: np.random.Generator) -> bytes:
    """The thumbnail's directory and its embedded file both have other orientations than the picture."""
    orientation, other, third = (int(value) for value in rng.permutation(np.arange(2, 9))[:3])
    thumbnail = with_segments(_thumbnail(image), exif_segment(exif(third, big=True)))
    stored = as_jpeg(image.transpose(STORED_AS[orientation]), 90)
    return with_segments(stored, exif_segment(exif(orientation, thumbnails=other, more=thumbnail)))


def _thumbnail(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((160, 160))
    return as_jpeg(small, 75)


def _png_turned(chunk: Callable[[int], bytes], before: bool) -> Form:
    def form(image: Image.Image, rng: np.random.Generator) -> bytes:
        orientation = _orientation(rng)
        samples = np.asarray(image.transpose(STORED_AS[orientation]))
        made = chunk(orientation)
        return png(samples, COLOUR, before=made) if before else png(samples, COLOUR, after=made)

    return form


def _grey(image: Image.Image, largest: int) -> np.ndarray:
    """Grey values from 0 to `largest`: uint16 [height, width, 1]."""
    return np.round(np.asarray(image.convert("L"), np.float32) * (largest / 255)).astype(np.uint16)[..., None]


def _png_palette(bits: int, transparent: bool) -> Form:
    """With tRNS, the palette's lightest colour, the paper's, is transparent: 1 bit keeps dark and light apart."""

    def form(image: Image.Image, rng: np.random.Generator) -> bytes:
        ramp = np.linspace(0, 255, 2**bits).round().astype(np.uint8)
        opacities = np.where(ramp < 255, 255, 0).astype(np.uint8) if transparent else None
        return as_palette_png(_stretched(image), bits, np.repeat(ramp[:, None], 3, 1), opacities)

    return form


def _stretched(image: Image.Image) -> Image.Image:
    """The picture in grey, its paper white: what a drawing program has before it saves few levels."""
    grey = np.asarray(image.convert("L"), np.float32)
    dark, light = np.min(grey), 0.88 * np.median(grey)
    return Image.fromarray(np.clip((grey - dark) * (255 / (light - dark)), 0, 255).astype(np.uint8))


def _png_grey_alpha(image: Image.Image, rng: np.random.Generator) -> bytes:
    """Black ink whose opacity is the picture."""
    opacity = 255 - np.asarray(_stretched(image))
    return png(np.stack([np.zeros_like(opacity), opacity], 2), GREY_AND_OPACITY)


def _png_rgb_key(image: Image.Image, rng: np.random.Generator) -> bytes:
    """White paper is the transparent colour."""
    white = transparent_colour([255, 255, 255])
    return png(np.asarray(_stretched(image).convert("RGB")), COLOUR, before=white)


def _png_grey_key(image: Image.Image, rng: np.random.Generator) -> bytes:
    return png(np.asarray(_stretched(image))[..., None], before=transparent_colour([255]))


def _exif_in_png(orientation: int) -> bytes:
    return exif_chunk(exif(orientation, big=True))


TURNED: dict[str, Form] = {
    "jpeg_exif_ii": _jpeg_turned(lambda orientation: exif_segment(exif(orientation))),
    "jpeg_exif_mm": _jpeg_turned(lambda orientation: exif_segment(exif(orientation, big=True))),
    "jpeg_xmp": _jpeg_turned(lambda orientation: xmp_segment(xmp(orientation))),
    "jpeg_exif_after_icc": _jpeg_turned(
        lambda orientation: colour_profile() + exif_segment(exif(orientation, big=True))
    ),
    "jpeg_orientation_of_thumbnail_alone": _jpeg_orientation_of_thumbnail_alone,
    "jpeg_thumbnail_of_its_own_orientation": _jpeg_thumbnail_of_its_own_orientation,
    "png_exif_before_pixels": _png_turned(_exif_in_png, before=True),
    "png_exif_after_pixels": _png_turned(_exif_in_png, before=False),
    "png_xmp": _png_turned(lambda orientation: xmp_chunk(xmp(orientation)), before=True),
}
"""Forms with an orientation: turned by it, the picture is upright."""

FORMS: dict[str, Form] = TURNED | {
    "png_grey_1": lambda image, rng: png(_grey(_stretched(image), 1), depth=1),
    "png_grey_2": lambda image, rng: png(_grey(image, 3), depth=2),
    "png_grey_4": lambda image, rng: png(_grey(image, 15), depth=4),
    "png_grey_8": lambda image, rng: png(_grey(image, 255), depth=8),
    "png_grey_16": lambda image, rng: png(_grey(image, 65535), depth=16),
    "png_grey_12_bits_in_16": lambda image, rng: png(_grey(image, 4095), depth=16),
    "png_rgb_16": lambda image, rng: png(np.asarray(image, np.uint16) * 257, COLOUR, 16),
    "png_palette_1": _png_palette(1, transparent=False),
    "png_palette_2": _png_palette(2, transparent=False),
    "png_palette_4": _png_palette(4, transparent=False),
    "png_palette_8": _png_palette(8, transparent=False),
    "png_palette_1_transparent": _png_palette(1, transparent=True),
    "png_palette_2_transparent": _png_palette(2, transparent=True),
    "png_palette_4_transparent": _png_palette(4, transparent=True),
    "png_palette_8_transparent": _png_palette(8, transparent=True),
    "png_grey_alpha": _png_grey_alpha,
    "png_rgb_key": _png_rgb_key,
    "png_grey_key": _png_grey_key,
    "png_interlaced": lambda image, rng: interlaced_png(np.asarray(image), COLOUR, 8),
    "jpeg_cmyk": lambda image, rng: as_jpeg(image.convert("CMYK"), 90),
    "jpeg_progressive": lambda image, rng: as_jpeg(image, 90, progressive=True),
    "jpeg_restarts": lambda image, rng: as_jpeg(image, 90, restart_marker_blocks=4),
    "jpeg_grey": lambda image, rng: as_jpeg(image.convert("L"), 90),
    "jpeg_444": lambda image, rng: as_jpeg(image, 90, subsampling=0),
    "jpeg_420": lambda image, rng: as_jpeg(image, 90, subsampling=2),
}
"""How to write an upright picture, RGB, dark ink on light paper, as each form."""
