"""Small picture files of known pixels, in all forms of PNG and JPEG; written byte by byte where Pillow cannot."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

GREY, COLOUR, PALETTE, GREY_AND_OPACITY, COLOUR_AND_OPACITY = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_AND_OPACITY: 2, COLOUR_AND_OPACITY: 4}
PNG_FORMS = [
    *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth) for depth in (1, 2, 4, 8)),
    *((colours, depth) for colours in (COLOUR, GREY_AND_OPACITY, COLOUR_AND_OPACITY) for depth in (8, 16)),
]
"""The kinds of colours and the depths in bits that PNG allows."""
_PNG_BEGINNING = b"\x89PNG\r\n\x1a\n"
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def samples_of(colours: int, depth: int, height: int = 13, width: int = 21) -> np.ndarray:
    """Random samples for a PNG file, [H, W, C]."""
    random = np.random.default_rng(depth)
    return random.integers(0, 1 << depth, (height, width, SAMPLES[colours]), np.uint16)


def palette(depth: int) -> np.ndarray:
    """The colours of a palette, uint8 [N, 3]."""
    return np.random.default_rng(depth).integers(0, 256, (1 << depth, 3), np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples: np.ndarray, colours: int = GREY, depth: int = 8, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG file of samples [H, W, C]; with other chunks before and after those of the pixels."""
    return _png(samples, colours, depth, before, after, zlib.compress(_lines(samples, depth)), 0)


def interlaced_png(samples: np.ndarray, colours: int, depth: int) -> bytes:
    passes = (samples[top::down, left::right] for top, left, down, right in _PASSES)
    lines = b"".join(_lines(part, depth) for part in passes if part.size)
    return _png(samples, colours, depth, b"", b"", zlib.compress(lines), 1)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG file that claims to be so large, and holds a hundred pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, GREY, 0, 0, 0))
    return _PNG_BEGINNING + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def _png(samples, colours, depth, before, after, data, interlace):
    head = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], depth, colours, 0, 0, interlace)
    if colours == PALETTE:
        before = chunk(b"PLTE", palette(depth).tobytes()) + before
    chunks = chunk(b"IHDR", head) + before + chunk(b"IDAT", data[:50]) + chunk(b"IDAT", data[50:]) + after
    return _PNG_BEGINNING + chunks + chunk(b"IEND", b"")


def _lines(samples: np.ndarray, depth: int) -> bytes:
    bits = (samples[..., None] >> np.arange(depth)[::-1]) & 1
    return b"".join(b"\0" + np.packbits(line).tobytes() for line in bits.reshape(len(bits), -1))


def photograph(height: int = 45, width: int = 61) -> Image.Image:
    """Colours that change gently, and nothing symmetrical about them."""
    small = np.random.default_rng(3).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encode(picture: Image.Image, form: str, **settings) -> bytes:
    content = io.BytesIO()
    picture.save(content, form, **settings)
    return content.getvalue()


def exif(orientation: int | None = None, big: bool = False, more: bytes = b"", thumbnails: int | None = None) -> bytes:
    """EXIF's data: the picture's width and orientation; in the second directory, a thumbnail's; `more` after it."""
    order = ">" if big else "<"

    def entry(tag: int, form: int, value: int) -> bytes:
        return struct.pack(order + "HHI", tag, form, 1) + struct.pack(
            order + ("HH" if form == 3 else "I"), value, *[0] * (form == 3)
        )

    def directory(entries: list[bytes], after: int) -> bytes:
        return struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "I", after)

    first = [entry(0x0100, 4, 3000)]
    if orientation is not None:
        first.append(entry(0x0112, 3, orientation))
    second_at = 8 + 2 + 12 * len(first) + 4
    second = b"" if thumbnails is None else directory([entry(0x0112, 3, thumbnails)], 0)
    beginning = (b"MM\0*" if big else b"II*\0") + struct.pack(order + "I", 8)
    return beginning + directory(first, second_at if second else 0) + second + more


def xmp(orientation: int, as_element: bool = False) -> bytes:
    noted = (
        f"><tiff:Orientation>{orientation}</tiff:Orientation>" if as_element else f" tiff:Orientation='{orientation}'>"
    )
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description{noted}</rdf:Description></x:xmpmeta>'.encode()


def text_chunk(data: bytes) -> bytes:
    """The chunk of a PNG file that holds XMP."""
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + data)


def with_segments(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG file with further segments, of a marker and data each, before all others."""
    made = (bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data for marker, data in segments)
    return jpeg[:2] + b"".join(made) + jpeg[2:]


def exif_segment(data: bytes) -> tuple[int, bytes]:
    return 0xE1, b"Exif\0\0" + data


def xmp_segment(data: bytes) -> tuple[int, bytes]:
    return 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + data


def colour_profile_segments(count: int) -> list[tuple[int, bytes]]:
    """A large ICC profile."""
    noise = np.random.default_rng(5).bytes(65_000)
    return [(0xE2, b"ICC_PROFILE\0" + bytes([number + 1, count]) + noise) for number in range(count)]
