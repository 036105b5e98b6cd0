"""Small picture files of known pixels, in all forms of PNG and JPEG; written byte by byte where Pillow cannot."""

import io
import struct
import zlib
from collections.abc import Sequence

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
LARGE = [(20, 2047), (20, 2048), (21, 4099), (19, 8200), (3000, 9), (9000, 5)]
"""Heights and widths at which pictures begin to be reduced, by each scale."""
_PNG_BEGINNING = b"\x89PNG\r\n\x1a\n"
_ORIENTATION, _WIDTH, _THUMBNAIL_AT, _THUMBNAIL_SIZE = 0x0112, 0x0100, 0x0201, 0x0202  # tags of EXIF
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
    """Packed lines, each after the number of its filter, 0 for none."""
    bits = np.unpackbits(samples[..., None].astype(">u2").view(np.uint8), axis=-1)[..., -depth:]
    return np.pad(np.packbits(bits.reshape(len(bits), -1), axis=1), ((0, 0), (1, 0))).tobytes()


def photograph(height: int = 45, width: int = 61) -> Image.Image:
    """Colours that change gently, and nothing symmetrical about them."""
    small = np.random.default_rng(3).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encode(picture: Image.Image, form: str, **settings) -> bytes:
    content = io.BytesIO()
    picture.save(content, form, **settings)
    return content.getvalue()


def exif(orientation: int | None = None, big: bool = False, thumbnails: int | None = None, more: bytes = b"") -> bytes:
    """EXIF's data: the picture's width and orientation; a second directory with the thumbnail's; the thumbnail, `more`.

    Without the orientation `thumbnails`, there is no second directory, and `more` is data that nothing points to.
    """
    order = ">" if big else "<"
    beginning = (b"MM\0*" if big else b"II*\0") + struct.pack(order + "I", 8)
    longs, shorts = {_WIDTH: 3000}, {} if orientation is None else {_ORIENTATION: orientation}
    if thumbnails is None:
        return beginning + _directory(order, shorts, longs) + more
    second_at = len(beginning + _directory(order, shorts, longs))
    beginning += _directory(order, shorts, longs, second_at)
    shorts, longs = {_ORIENTATION: thumbnails}, {_THUMBNAIL_AT: 0, _THUMBNAIL_SIZE: len(more)}
    longs[_THUMBNAIL_AT] = second_at + len(_directory(order, shorts, longs))
    return beginning + _directory(order, shorts, longs) + more


def _directory(order: str, shorts: dict[int, int], longs: dict[int, int], following: int = 0) -> bytes:
    """A directory of TIFF: values of 2 and of 4 bytes by their tags, and where the following one is."""
    entries = {tag: struct.pack(order + "HHIH2x", tag, 3, 1, value) for tag, value in shorts.items()}
    entries |= {tag: struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in longs.items()}
    in_order = b"".join(entries[tag] for tag in sorted(entries))
    return struct.pack(order + "H", len(entries)) + in_order + struct.pack(order + "I", following)


def xmp(orientation: int, quote: str = '"', as_element: bool = False) -> bytes:
    """A packet of XMP that notes an orientation, as an attribute in these quotation marks, or as an element."""
    attribute = "" if as_element else f" tiff:Orientation={quote}{orientation}{quote}"
    element = f"<tiff:Orientation>{orientation}</tiff:Orientation>" if as_element else ""
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{attribute}>{element}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="w"?>'
    ).encode()


def exif_chunk(data: bytes) -> bytes:
    return chunk(b"eXIf", data)


def xmp_chunk(data: bytes) -> bytes:
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + data)


def transparent_colour(colour: Sequence[int]) -> bytes:
    """The chunk of a PNG file that makes one colour, or one grey, transparent."""
    return chunk(b"tRNS", np.array(colour, ">u2").tobytes())


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def exif_segment(data: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + data)


def xmp_segment(data: bytes) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + data)


def colour_profile() -> bytes:
    """Three segments of noise in the place of an ICC profile, since the largest profiles need as many."""
    noise = np.random.default_rng(5).bytes(65_000)
    return b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 3]) + noise) for number in (1, 2, 3))


def with_segments(jpeg: bytes, segments: bytes) -> bytes:
    """A JPEG file with further segments behind its first, JFIF's."""
    at = 4 + int.from_bytes(jpeg[4:6])
    return jpeg[:at] + segments + jpeg[at:]


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


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores when it is held so that `orientation` puts it right."""
    pixels = pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
    pixels = pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels
    return pixels.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else pixels


def pngs_held(orientation: int, stored: np.ndarray, colours: int = GREY) -> dict[str, bytes]:
    """PNG files of pixels `stored` that note an orientation, in each of the ways that there are."""
    small, large = exif_chunk(exif(orientation)), exif_chunk(exif(orientation, big=True))
    comment = chunk(b"tEXt", b"Comment\0eXIf and iTXt and IDAT and tRNS are kinds of chunks")
    attribute, element = xmp_chunk(xmp(orientation)), xmp_chunk(xmp(orientation, as_element=True))
    chunks = {
        "EXIF before the pixels": (small, b""),
        "EXIF after them": (b"", large),
        "EXIF after a comment": (comment + large, b""),
        "EXIF after a comment and the pixels": (comment, small),
        "XMP's attribute": (attribute, b""),
        "XMP's attribute in other marks": (xmp_chunk(xmp(orientation, "'")), b""),
        "XMP's element, after the pixels": (b"", element),
        "XMP after a comment": (comment, attribute),
        "EXIF against XMP": (xmp_chunk(xmp(3)), small),
    }
    return {name: png(stored, colours, before=before, after=after) for name, (before, after) in chunks.items()}


def jpegs_held(orientation: int, stored: bytes) -> dict[str, bytes]:
    """JPEG files that note an orientation, in each of the ways that there are."""
    embedded = with_segments(stored, exif_segment(exif(5)))
    small, large = exif_segment(exif(orientation)), exif_segment(exif(orientation, big=True))
    segments = {
        "small end first": small,
        "large end first": large,
        "beside a thumbnail": exif_segment(exif(orientation, thumbnails=5, more=embedded)),
        "after a colour profile": colour_profile() + small,
        "XMP's attribute": xmp_segment(xmp(orientation)),
        "XMP's attribute in other marks": xmp_segment(xmp(orientation, "'")),
        "XMP's element": xmp_segment(xmp(orientation, as_element=True)),
        "EXIF without it, then XMP": exif_segment(exif(thumbnails=5, more=embedded)) + xmp_segment(xmp(orientation)),
        "EXIF against XMP": xmp_segment(xmp(5)) + small,
    }
    files = {name: with_segments(stored, more) for name, more in segments.items()}
    return files | {"before JFIF": stored[:2] + small + stored[2:]}


def jpegs_that_note_nothing(stored: bytes) -> dict[str, bytes]:
    """JPEG files whose data on orientations are not their own, or are damaged."""
    embedded = with_segments(stored, exif_segment(exif(5)))
    maker_note = exif(more=b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00")
    segments = {
        "nothing": b"",
        "0": exif_segment(exif(0)),
        "9": exif_segment(exif(9)),
        "a thumbnail's": exif_segment(exif(thumbnails=6)),
        "an embedded picture's": exif_segment(exif(more=embedded)),
        "that of a picture in another segment": segment(0xED, b"Photoshop 3.0\0" + embedded),
        "a maker note's": exif_segment(maker_note),
        "cut off": exif_segment(exif(6)[:20]),
        "a directory far away": exif_segment(b"II*\0\xff\xff\xff\xff" + exif(6)[8:]),
        "empty": exif_segment(b""),
        "of no known order": exif_segment(b"XX" + exif(6)[2:]),
        "XMP's 9": xmp_segment(xmp(9)),
    }
    files = {name: with_segments(stored, more) for name, more in segments.items()}
    return files | {"a second picture's": stored + embedded}


def _raw_of_camera() -> bytes:
    return encode(Image.new("RGB", (8, 6)), "TIFF", tiffinfo={50706: b"\1\4\0\0"})


def _png_without_palette() -> bytes:
    content = png(samples_of(PALETTE, 4), PALETTE, 4)
    return content.replace(chunk(b"PLTE", palette(4).tobytes()), b"")


_FEW = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
_REFUSED = {
    "not-a-picture": [b"", b"hello", b"<html></html>", b"BMW is a brand", b"\x89PNG", bytes(100)],
    "unknown-format": [
        b"\0\0\0\x1cftypavif\0\0\0\0", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', b"8BPS\0\1",
        b"II*\0\x10\0\0\0CR\2\0", b"%PDF-1.7", _raw_of_camera(),
    ],
    "too-large": [png_of_size(20_000, 20_000), png_of_size(2**31 - 1, 2**31 - 1)],
    "cannot-decode": [
        png_of_size(60, 60), _png_without_palette(), png(_FEW)[:-1], png(_FEW)[:-13], png(_FEW)[:20],
        encode(photograph(), "JPEG")[:-2], encode(photograph(), "JPEG", progressive=True)[:-200], b"\xff\xd8\xff\xe0",
        encode(photograph(), "TIFF")[:-30], encode(photograph(), "WebP")[:-30], encode(photograph(), "BMP")[:-30],
    ],
}  # fmt: skip
REFUSED = [(problem, content) for problem, contents in _REFUSED.items() for content in contents]
"""Problems, and files that are not read because of them."""


WHOLE = [
    png(samples_of(COLOUR, 8), COLOUR, before=exif_chunk(exif(6)) + xmp_chunk(xmp(3))),
    png(samples_of(PALETTE, 4), PALETTE, 4, before=chunk(b"tRNS", b"\0")),
    with_segments(encode(photograph(), "JPEG"), exif_segment(exif(6)) + xmp_segment(xmp(3))),
    encode(photograph().convert("CMYK"), "JPEG"),
    *(encode(photograph(), form) for form in ("TIFF", "BMP", "GIF", "WebP")),
]
"""Files that are read, and can be damaged."""
