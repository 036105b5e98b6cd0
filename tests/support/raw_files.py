"""Small picture files of known pixels, in all forms of PNG and JPEG; written byte by byte where Pillow cannot."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageChops

GREY, COLOUR, PALETTE, GREY_AND_OPACITY, COLOUR_AND_OPACITY = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_AND_OPACITY: 2, COLOUR_AND_OPACITY: 4}
PNG_FORMS = [
    *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth) for depth in (1, 2, 4, 8)),
    *((colours, depth) for colours in (COLOUR, GREY_AND_OPACITY, COLOUR_AND_OPACITY) for depth in (8, 16)),
]
"""The kinds of colours and the depths in bits that PNG allows."""
_PNG_BEGINNING = b"\x89PNG\r\n\x1a\n"
_ADOBE = b"\xff\xee\0\x0eAdobe"  # then a version, flags, and the kind of colours
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


def gif_of_frame(width: int, height: int) -> bytes:
    """A GIF file that claims one pixel, and whose first frame is so large."""
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, width, height, 0)
        + b"\x02\0;"
    )


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


def jpeg_of_plain_inks(picture: Image.Image, **settings) -> bytes:
    """A CMYK JPEG file that is not Adobe's, so that its values are not inverted."""
    content = encode(ImageChops.invert(picture), "JPEG", **settings)
    at = content.index(_ADOBE)
    return content[:at] + content[at + len(_ADOBE) + 7 :]


def jpeg_of_luminance_and_black(picture: Image.Image) -> bytes:
    """A JPEG file in Adobe's YCCK; its colours are not those of `picture`, of mode CMYK."""
    content = encode(picture, "JPEG")
    at = content.index(_ADOBE) + len(_ADOBE) + 6
    return content[:at] + b"\2" + content[at + 1 :]


def exif_segment(data: bytes) -> tuple[int, bytes]:
    return 0xE1, b"Exif\0\0" + data


def xmp_segment(data: bytes) -> tuple[int, bytes]:
    return 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + data


def colour_profile_segments(count: int) -> list[tuple[int, bytes]]:
    """A large ICC profile."""
    noise = np.random.default_rng(5).bytes(65_000)
    return [(0xE2, b"ICC_PROFILE\0" + bytes([number + 1, count]) + noise) for number in range(count)]


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores when it is held so that `orientation` puts it right."""
    pixels = pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
    pixels = pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels
    return pixels.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else pixels


def pngs_held(orientation: int, stored: np.ndarray, colours: int = GREY) -> dict[str, bytes]:
    """PNG files of pixels `stored` that note an orientation, in each of the ways that there are."""
    small, large = chunk(b"eXIf", exif(orientation)), chunk(b"eXIf", exif(orientation, big=True))
    comment = chunk(b"tEXt", b"Comment\0eXIf and iTXt and IDAT and tRNS are kinds of chunks")
    attribute, element = text_chunk(xmp(orientation)), text_chunk(xmp(orientation, as_element=True))
    chunks = {
        "EXIF before the pixels": (small, b""),
        "EXIF after them": (b"", large),
        "EXIF after a comment": (comment + large, b""),
        "EXIF after a comment and the pixels": (comment, small),
        "XMP's attribute": (attribute, b""),
        "XMP's element, after the pixels": (b"", element),
        "XMP after a comment": (comment, attribute),
        "EXIF against XMP": (text_chunk(xmp(3)), small),
    }
    return {name: png(stored, colours, before=before, after=after) for name, (before, after) in chunks.items()}


def jpegs_held(orientation: int, stored: bytes) -> dict[str, bytes]:
    """JPEG files that note an orientation, in each of the ways that there are."""
    embedded = with_segments(stored, exif_segment(exif(5)))
    return {
        "small end first": with_segments(stored, exif_segment(exif(orientation))),
        "large end first": with_segments(stored, exif_segment(exif(orientation, big=True))),
        "beside a thumbnail": with_segments(stored, exif_segment(exif(orientation, thumbnails=5, more=embedded))),
        "after a colour profile": with_segments(stored, *colour_profile_segments(3), exif_segment(exif(orientation))),
        "XMP's attribute": with_segments(stored, xmp_segment(xmp(orientation))),
        "XMP's element": with_segments(stored, xmp_segment(xmp(orientation, as_element=True))),
        "EXIF without it, then XMP": with_segments(
            stored, exif_segment(exif(thumbnails=5, more=embedded)), xmp_segment(xmp(orientation))
        ),
        "EXIF against XMP": with_segments(stored, xmp_segment(xmp(5)), exif_segment(exif(orientation))),
    }


def jpegs_that_note_nothing(stored: bytes) -> dict[str, bytes]:
    """JPEG files whose data on orientations are not their own, or are damaged."""
    embedded = with_segments(stored, exif_segment(exif(5)))
    maker_note = exif(more=b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00")
    return {
        "nothing": stored,
        "0": with_segments(stored, exif_segment(exif(0))),
        "9": with_segments(stored, exif_segment(exif(9))),
        "a thumbnail's": with_segments(stored, exif_segment(exif(thumbnails=6))),
        "an embedded picture's": with_segments(stored, exif_segment(exif(more=embedded))),
        "that of a picture in another segment": with_segments(stored, (0xED, b"Photoshop 3.0\0" + embedded)),
        "a maker note's": with_segments(stored, exif_segment(maker_note)),
        "a second picture's": stored + embedded,
        "cut off": with_segments(stored, exif_segment(exif(6)[:20])),
        "a directory far away": with_segments(stored, exif_segment(b"II*\0\xff\xff\xff\xff" + exif(6)[8:])),
        "empty": with_segments(stored, exif_segment(b"")),
        "of no known order": with_segments(stored, exif_segment(b"XX" + exif(6)[2:])),
        "XMP's 9": with_segments(stored, xmp_segment(xmp(9))),
    }


def _raw_of_camera() -> bytes:
    return encode(Image.new("RGB", (8, 6)), "TIFF", tiffinfo={50706: b"\1\4\0\0"})


_FEW = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
REFUSED = {
    "not-a-picture": [b"", b"hello", b"<html></html>", b"BMW is a brand", b"\x89PNG", bytes(100)],
    "unknown-format": [
        b"\0\0\0\x1cftypavif\0\0\0\0", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', b"8BPS\0\1",
        b"II*\0\x10\0\0\0CR\2\0", b"%PDF-1.7", _raw_of_camera(),
    ],
    "too-large": [png_of_size(20_000, 20_000), png_of_size(2**31 - 1, 2**31 - 1)],
    "cannot-decode": [
        png_of_size(60, 60), png(_FEW)[:-1], png(_FEW)[:-13], png(_FEW)[:20],
        encode(photograph(), "JPEG")[:-2], encode(photograph(), "JPEG", progressive=True)[:-200], b"\xff\xd8\xff\xe0",
        encode(photograph(), "TIFF")[:-30], encode(photograph(), "WebP")[:-30], encode(photograph(), "BMP")[:-30],
    ],
}  # fmt: skip
"""Files that are not read, by their problem."""


WHOLE = [
    png(samples_of(COLOUR, 8), COLOUR, before=chunk(b"eXIf", exif(6)) + text_chunk(xmp(3))),
    png(samples_of(PALETTE, 4), PALETTE, 4, before=chunk(b"tRNS", b"\0")),
    with_segments(encode(photograph(), "JPEG"), exif_segment(exif(6)), xmp_segment(xmp(3))),
    encode(photograph().convert("CMYK"), "JPEG"),
    *(encode(photograph(), form) for form in ("TIFF", "BMP", "GIF", "WebP")),
]
"""Files that are read, and can be damaged."""
