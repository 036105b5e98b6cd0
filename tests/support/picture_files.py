"""One picture in the many forms of PNG and JPEG files that people's programs write.

Pillow writes what it can; `write_png`, `tiff` and `with_segments` write what it cannot.
"""

import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageCms

from common.photographs.files import STORED_AS, as_jpeg, as_palette_png

Form = Callable[[Image.Image, np.random.Generator], bytes]

_GREY, _RGB, _GREY_ALPHA = 0, 2, 4  # PNG's colour types
_ORIENTATION, _RESOLUTION_UNIT, _THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0112, 0x0128, 0x0201, 0x0202
_APP1, _APP2 = 0xE1, 0xE2
# Each pass of an interlaced PNG: first row and column, distance of rows and of columns.
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def tiff(order: str, orientation: int | None, second: dict[int, int] | None = None, thumbnail: bytes = b"") -> bytes:
    """A TIFF block as in EXIF, in byte order `order`, "II" or "MM".

    Its first directory has `orientation`, or without one another tag; `second` are the short values of the second, the
    thumbnail's, whose file follows.
    """
    sign = "<" if order == "II" else ">"
    first = {_RESOLUTION_UNIT: 2} if orientation is None else {_ORIENTATION: orientation}
    start, size = 8, 2 + 12 * len(first) + 4
    block = order.encode() + struct.pack(sign + "HI", 42, start)
    if second is None:
        return block + _directory(sign, first, {}, 0)
    thumbnail_start = start + size + 2 + 12 * (len(second) + 2) + 4
    places = {_THUMBNAIL_OFFSET: thumbnail_start, _THUMBNAIL_LENGTH: len(thumbnail)}
    return block + _directory(sign, first, {}, start + size) + _directory(sign, second, places, 0) + thumbnail


def _directory(sign: str, shorts: dict[int, int], longs: dict[int, int], following: int) -> bytes:
    entries = [struct.pack(sign + "HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items()]
    entries += [struct.pack(sign + "HHII", tag, 4, 1, value) for tag, value in longs.items()]
    return struct.pack(sign + "H", len(entries)) + b"".join(entries) + struct.pack(sign + "I", following)


def xmp(orientation: int) -> bytes:
    """An XMP packet with an orientation."""
    return (
        b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>'
        b'<?xpacket end="w"?>' % orientation
    )


def with_segments(jpeg: bytes, segments: list[tuple[int, bytes]]) -> bytes:
    """A JPEG file with more segments, each a marker's second byte and its content, behind the JFIF header."""
    header_end = 4 + int.from_bytes(jpeg[4:6])
    added = [bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content for marker, content in segments]
    return jpeg[:header_end] + b"".join(added) + jpeg[header_end:]


def write_png(
    samples: np.ndarray,
    bits: int,
    colour_type: int = _GREY,
    chunks: tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]] = ((), ()),
    interlaced: bool = False,
) -> bytes:
    """A PNG file of `samples`, unsigned [height, width, channels], of `bits` each, `chunks` before and after IDAT."""
    height, width, _ = samples.shape
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    parts = [samples[top::down, left::right] for top, left, down, right in passes]
    rows = b"".join(_rows(part, bits) for part in parts if part.size)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced)
    before, after = chunks
    all_chunks = [(b"IHDR", header), *before, (b"IDAT", zlib.compress(rows, 1)), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in all_chunks
    )


def _rows(samples: np.ndarray, bits: int) -> bytes:
    """Packed rows, each behind the number of its filter, 0 for none."""
    flat = samples.reshape(len(samples), -1)
    if bits == 16:
        packed = np.frombuffer(flat.astype(">u2").tobytes(), np.uint8).reshape(len(samples), -1)
    elif bits == 8:
        packed = flat.astype(np.uint8)
    else:
        single = (flat[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        packed = np.packbits(single.astype(np.uint8).reshape(len(samples), -1), axis=1)
    return np.pad(packed, ((0, 0), (1, 0))).tobytes()


def _orientation(rng: np.random.Generator) -> int:
    return int(rng.integers(2, 9))


def _jpeg_exif(order: str) -> Form:
    def form(image: Image.Image, rng: np.random.Generator) -> bytes:
        orientation = _orientation(rng)
        stored = as_jpeg(image.transpose(STORED_AS[orientation]), 90)
        return with_segments(stored, [(_APP1, b"Exif\0\0" + tiff(order, orientation))])

    return form


def _jpeg_xmp(image: Image.Image, rng: np.random.Generator) -> bytes:
    orientation = _orientation(rng)
    stored = as_jpeg(image.transpose(STORED_AS[orientation]), 90)
    return with_segments(stored, [(_APP1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(orientation))])


def _jpeg_exif_after_icc(image: Image.Image, rng: np.random.Generator) -> bytes:
    """The profile, padded to three segments, comes first."""
    orientation = _orientation(rng)
    stored = as_jpeg(image.transpose(STORED_AS[orientation]), 90)
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = made[:24] + bytes(12) + made[36:].ljust(150_000, b"\0")  # without the time it was made at
    size = 65_000
    pieces = [profile[start : start + size] for start in range(0, len(profile), size)]
    segments = [
        (_APP2, b"ICC_PROFILE\0" + bytes((number, len(pieces))) + piece) for number, piece in enumerate(pieces, start=1)
    ]
    return with_segments(stored, [*segments, (_APP1, b"Exif\0\0" + tiff("MM", orientation))])


def _jpeg_orientation_of_thumbnail_alone(image: Image.Image, rng: np.random.Generator) -> bytes:
    """Stored upright: only the thumbnail's directory has an orientation, and it says nothing about the picture."""
    block = tiff("II", None, {_ORIENTATION: _orientation(rng)}, _thumbnail(image))
    return with_segments(as_jpeg(image, 90), [(_APP1, b"Exif\0\0" + block)])


def _jpeg_thumbnail_of_its_own_orientation(image: Image.Image, rng: np.random.Generator) -> bytes:
    """The thumbnail's directory and its embedded file both have other orientations than the picture."""
    orientation, other, third = (int(value) for value in rng.permutation(np.arange(2, 9))[:3])
    thumbnail = with_segments(_thumbnail(image), [(_APP1, b"Exif\0\0" + tiff("MM", third))])
    block = tiff("II", orientation, {_ORIENTATION: other}, thumbnail)
    stored = as_jpeg(image.transpose(STORED_AS[orientation]), 90)
    return with_segments(stored, [(_APP1, b"Exif\0\0" + block)])


def _thumbnail(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((160, 160))
    return as_jpeg(small, 75)


def _png_turned(chunk: Callable[[int], tuple[bytes, bytes]], before: bool) -> Form:
    def form(image: Image.Image, rng: np.random.Generator) -> bytes:
        orientation = _orientation(rng)
        samples = np.asarray(image.transpose(STORED_AS[orientation]))
        chunks = [chunk(orientation)]
        return write_png(samples, 8, _RGB, (chunks, []) if before else ([], chunks))

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
    return write_png(np.stack([np.zeros_like(opacity), opacity], 2), 8, _GREY_ALPHA)


def _png_rgb_key(image: Image.Image, rng: np.random.Generator) -> bytes:
    """White paper is the transparent colour."""
    white = struct.pack(">HHH", 255, 255, 255)
    return write_png(np.asarray(_stretched(image).convert("RGB")), 8, _RGB, ([(b"tRNS", white)], []))


def _png_grey_key(image: Image.Image, rng: np.random.Generator) -> bytes:
    return write_png(np.asarray(_stretched(image))[..., None], 8, _GREY, ([(b"tRNS", struct.pack(">H", 255))], []))


def _exif_chunk(orientation: int) -> tuple[bytes, bytes]:
    return b"eXIf", tiff("MM", orientation)


def _xmp_chunk(orientation: int) -> tuple[bytes, bytes]:
    return b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(orientation)


TURNED: dict[str, Form] = {
    "jpeg_exif_ii": _jpeg_exif("II"),
    "jpeg_exif_mm": _jpeg_exif("MM"),
    "jpeg_xmp": _jpeg_xmp,
    "jpeg_exif_after_icc": _jpeg_exif_after_icc,
    "jpeg_orientation_of_thumbnail_alone": _jpeg_orientation_of_thumbnail_alone,
    "jpeg_thumbnail_of_its_own_orientation": _jpeg_thumbnail_of_its_own_orientation,
    "png_exif_before_pixels": _png_turned(_exif_chunk, before=True),
    "png_exif_after_pixels": _png_turned(_exif_chunk, before=False),
    "png_xmp": _png_turned(_xmp_chunk, before=True),
}
"""Forms with an orientation: turned by it, the picture is upright."""

FORMS: dict[str, Form] = TURNED | {
    "png_grey_1": lambda image, rng: write_png(_grey(_stretched(image), 1), 1),
    "png_grey_2": lambda image, rng: write_png(_grey(image, 3), 2),
    "png_grey_4": lambda image, rng: write_png(_grey(image, 15), 4),
    "png_grey_8": lambda image, rng: write_png(_grey(image, 255), 8),
    "png_grey_16": lambda image, rng: write_png(_grey(image, 65535), 16),
    "png_grey_12_bits_in_16": lambda image, rng: write_png(_grey(image, 4095), 16),
    "png_rgb_16": lambda image, rng: write_png(np.asarray(image, np.uint16) * 257, 16, _RGB),
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
    "png_interlaced": lambda image, rng: write_png(np.asarray(image), 8, _RGB, interlaced=True),
    "jpeg_cmyk": lambda image, rng: as_jpeg(image.convert("CMYK"), 90),
    "jpeg_progressive": lambda image, rng: as_jpeg(image, 90, progressive=True),
    "jpeg_restarts": lambda image, rng: as_jpeg(image, 90, restart_marker_blocks=4),
    "jpeg_grey": lambda image, rng: as_jpeg(image.convert("L"), 90),
    "jpeg_444": lambda image, rng: as_jpeg(image, 90, subsampling=0),
    "jpeg_420": lambda image, rng: as_jpeg(image, 90, subsampling=2),
}
"""How to write an upright picture, RGB, dark ink on light paper, as each form."""
