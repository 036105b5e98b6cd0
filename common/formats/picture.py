"""Decodes people's picture files, with Pillow: the reference for `trainer.serving.decoding`, which does it in a graph.

Both read PNG and JPEG to equal pixels; this one reads more formats. A format is known by a file's content, never by its
name. Large pictures are reduced while they are decoded, so that the memory needed is bounded.

Sources: PNG, third edition (W3C, 2025); ITU-T T.81 and T.872 (JPEG, and Adobe's inverted CMYK); CIPA DC-008, section
4.6.5.1 (EXIF's orientation); Adobe XMP part 2 (`tiff:Orientation`).
"""

import io
import re
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from common.errors import InputError

MAX_PIXELS = 64_000_000
"""The largest picture that is decoded, since a small file can claim a size that would fill the memory."""
SCALES = (8, 4, 2, 1)
"""By how much a picture can be reduced while it is decoded: what JPEG's decoders offer. See `scale`."""


class Least(NamedTuple):
    """The sides, in pixels, that a picture keeps when it is reduced."""

    longer: int
    shorter: int


LEAST = Least(longer=1024, shorter=1)
"""Of pictures of a character."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".heic", ".heif")
"""How names of pictures end. They tell what is meant to be a picture, and not what it is."""
KINDS = (
    ("PNG", ((0, b"\x89PNG\r\n\x1a\n"),)),
    ("JPEG", ((0, b"\xff\xd8\xff"),)),
    ("TIFF", ((0, b"II*\0"),)),
    ("TIFF", ((0, b"MM\0*"),)),
    ("TIFF", ((0, b"II+\0"),)),
    ("TIFF", ((0, b"MM\0+"),)),
    ("GIF", ((0, b"GIF87a"),)),
    ("GIF", ((0, b"GIF89a"),)),
    ("BMP", ((0, b"BM"), (6, b"\0\0\0\0"))),
    ("WebP", ((0, b"RIFF"), (8, b"WEBP"))),
    *(("HEIC", ((4, b"ftyp" + brand),)) for brand in (b"heic", b"heix", b"heim", b"heis", b"mif1")),
    ("AVIF", ((4, b"ftypavi"),)),
    ("HEIF sequence", ((4, b"ftyphevc"),)),
    ("HEIF sequence", ((4, b"ftypmsf1"),)),
    ("Photoshop", ((0, b"8BPS"),)),
    ("PDF", ((0, b"%PDF-"),)),
    ("PostScript", ((0, b"%!PS"),)),
    ("JPEG 2000", ((4, b"jP  \r\n\x87\n"),)),
    ("JPEG 2000", ((0, b"\xff\x4f\xff\x51"),)),
    ("JPEG XL", ((4, b"JXL \r\n\x87\n"),)),
    ("JPEG XL", ((0, b"\xff\x0a"),)),
    ("icon", ((0, b"\0\0\1\0"),)),
    ("DjVu", ((0, b"AT&TFORM"),)),
    ("GIMP", ((0, b"gimp xcf"),)),
    ("camera raw", ((0, b"II*\0"), (8, b"CR"))),
    ("camera raw", ((4, b"ftypcrx "),)),
    ("camera raw", ((0, b"FUJIFILMCCD-RAW"),)),
    ("camera raw", ((0, b"IIRO"),)),
    ("camera raw", ((0, b"IIRS"),)),
    ("camera raw", ((0, b"IIU\0"),)),
)
"""What files of each kind begin with: its name, and pairs of an offset and the bytes there. The last match counts."""
SVG_IS_WITHIN = 1024
"""An SVG picture, which is text, has its root element within as many bytes."""

_OF_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, RuntimeError, LookupError, TypeError, struct.error),
    AssertionError,  # if a palette is missing
)
"""What Pillow raises for damaged files."""
_WITH_PAGES = ("TIFF", "GIF", "WebP")
_TURNED = ("JPEG", "PNG", "WebP")  # Pillow turns TIFF itself, and libheif HEIC
_END_OF_PNG = b"IEND\xaeB\x60\x82"
_PNG_DEPTH_AT = 24
_FIRST_CHUNK_AT, _BYTES_AROUND_CHUNK = 8, 12
_SUBFILE_TYPE, _SUB_IFDS, _DNG_VERSION = 254, 330, 50706  # tags of TIFF
_ORIENTATION, _SHORT = 0x0112, 3
_ON_ITS_SIDE = (5, 6, 7, 8)
_BYTES_OF_ENTRY = 12
_XMP_ORIENTATION = re.compile(rb"""tiff:Orientation(?:=["']|>)([1-8])""")


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself: its sides in pixels, as they are stored, and how it is to be turned."""

    width: int
    height: int
    orientation: int
    """EXIF's: from 1, upright as it is stored, to 8; of 5 to 8 the sides change places. Else XMP's, else 1."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, upright."""
        return (self.width, self.height) if self.orientation in _ON_ITS_SIDE else (self.height, self.width)


class PictureError(InputError):
    """A file that is not read, and why: `problem` is one of the codes below.

    "not-a-picture", "unknown-format" (a picture of a kind that is not read), "too-large", "cannot-decode" (damaged).
    """

    def __init__(self, problem: str, message: str):
        super().__init__(problem, message)
        self.problem = problem

    def __str__(self) -> str:
        return self.args[1]


def _open_heic(file: io.BytesIO) -> Image.Image:
    try:
        import pi_heif
    except ImportError:
        message = "is of the kind HEIC; to read it, install this package's extra heif, or save it as PNG or JPEG"
        raise PictureError("unknown-format", message) from None
    picture = pi_heif.open_heif(file)
    _refuse_if_too_large(*picture.size)  # before it is decoded, which is here
    return picture.to_pillow()


_OPENERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "HEIC": _open_heic,
}


def scale(width: int, height: int, least: Least = LEAST) -> int:
    """By how much a picture is reduced: the most that leaves it at least so large."""
    longer, shorter = max(width, height), min(width, height)
    return next((k for k in SCALES if longer // k >= least.longer and shorter // k >= least.shorter), 1)


def decode(content: bytes, in_colour: bool = False, least: Least = LEAST) -> np.ndarray:
    """The pixels of a picture file, upright, reduced by `scale`: uint8 [H, W, C].

    C is 1 for grey, 3 for red, green and blue, 4 if there is also opacity (with which the colours are not multiplied).
    JPEG gives grey, decoded without its colours, unless `in_colour`. Grey of more than 8 bits is stretched so that its
    largest value becomes 255. PNG and other formats are reduced to the means of blocks, and rows and columns that fill
    no block are left out. Raises `PictureError`.
    """
    kind = _kind(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of metadata that it cannot read
            picture = _OPENERS[kind](io.BytesIO(content))
            if kind == "TIFF" and _is_camera_raw(picture):
                raise _not_read("camera raw")
            _refuse_if_too_large(*picture.size)
            by = scale(picture.width, picture.height, least)
            return _pixels(picture, kind, content, in_colour, by)
    except Image.DecompressionBombError:  # the first frame of a GIF, which can be larger than the size it claims
        raise PictureError(
            "too-large", f"has a frame of more than {MAX_PIXELS:,} pixels, the most that are read"
        ) from None
    except _OF_DAMAGE as error:
        raise _damaged(error) from None


def read_header(content: bytes) -> Header:
    """The header of a picture file; its pixels are not decoded. Raises `PictureError`.

    HEIC counts as upright: what turns it does not say so.
    """
    kind = _kind(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = _OPENERS[kind](io.BytesIO(_without_pixels(content) if kind == "PNG" else content))
        if kind == "TIFF":
            orientation = picture.tag_v2.get(_ORIENTATION)
            shown = picture.size
            stored = shown[::-1] if orientation in _ON_ITS_SIDE else shown
            return Header(*stored, orientation if orientation in range(1, 9) else 1)
    except _OF_DAMAGE as error:
        raise _damaged(error) from None
    orientation = 1
    if kind in _TURNED:
        orientation = _orientation(picture.info.get("exif", b""), picture.info.get("xmp", b""))
    return Header(picture.width, picture.height, orientation)


def is_picture(content: bytes) -> bool:
    """Whether a file begins as a picture, also of a kind that is not read."""
    try:
        _kind(content)
    except PictureError as error:
        return error.problem != "not-a-picture"
    return True


def count_pages(content: bytes) -> int:
    """The pages of a document or the frames of an animation, of which `decode` reads the first; 1 if it is damaged."""
    try:
        kind = _kind(content)
        if kind not in _WITH_PAGES:
            return 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _OPENERS[kind](io.BytesIO(content)).n_frames
    except (PictureError, *_OF_DAMAGE):
        return 1


def _without_pixels(png: bytes) -> bytes:
    """A PNG file without its pixels, behind which it can note its orientation."""
    parts, start = [png[:_FIRST_CHUNK_AT]], _FIRST_CHUNK_AT
    while start < len(png):
        end = start + _BYTES_AROUND_CHUNK + int.from_bytes(png[start : start + 4], "big")
        if png[start + 4 : start + 8] != b"IDAT":
            parts.append(png[start:end])
        start = end
    return b"".join(parts)


def as_stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels [H, W, C] that `decode` gave upright, turned back to how they are stored."""
    return np.ascontiguousarray(_upright(pixels, {6: 8, 8: 6}.get(orientation, orientation)))


def _damaged(error: Exception) -> PictureError:
    return PictureError("cannot-decode", f"cannot be decoded ({' '.join(str(error).split())})")


def _kind(content: bytes) -> str:
    """The name of the format of `content`, one that is read; raises `PictureError` for others."""
    names = [name for name, parts in KINDS if all(content.startswith(part, at) for at, part in parts)]
    if content.lstrip().startswith(b"<") and b"<svg" in content[:SVG_IS_WITHIN]:
        names.append("SVG")
    if not names:
        raise PictureError("not-a-picture", "is not a picture")
    if names[-1] not in _OPENERS:
        raise _not_read(names[-1])
    return names[-1]


def _not_read(name: str) -> PictureError:
    return PictureError("unknown-format", f"is of the kind {name}, which is not read; save it as PNG or JPEG")


def _refuse_if_too_large(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise PictureError("too-large", f"is {width}×{height} pixels; at most {MAX_PIXELS:,} are read")


def _is_camera_raw(picture: Image.Image) -> bool:
    """Whether a TIFF file is a camera's: these hold a thumbnail in the place of the picture."""
    tags = picture.tag_v2
    return _DNG_VERSION in tags or (_SUB_IFDS in tags and bool(tags.get(_SUBFILE_TYPE, 0) & 1))


def _pixels(picture: Image.Image, kind: str, content: bytes, in_colour: bool, by: int) -> np.ndarray:
    if kind == "JPEG":
        pixels = _of_jpeg(picture, by, in_colour)
    elif picture.mode.startswith(("I", "F")):
        pixels = _of_deep_grey(picture, by)
    else:
        if kind == "PNG":
            _mend_transparent_colour(picture, content[_PNG_DEPTH_AT])
        pixels = _of_bands(picture, by)
    if kind == "PNG" and _END_OF_PNG not in content:  # Pillow ignores it
        raise OSError("image file is truncated")
    if kind in _TURNED:
        pixels = _upright(pixels, _orientation(picture.info.get("exif", b""), picture.info.get("xmp", b"")))
    return np.ascontiguousarray(pixels)


def _of_jpeg(picture: JpegImagePlugin.JpegImageFile, by: int, in_colour: bool) -> np.ndarray:
    picture.draft("RGB" if in_colour else "L", (picture.width // by, picture.height // by))
    if picture.mode == "CMYK":
        # Pillow takes all files as Adobe's, whose values are inverted; TensorFlow only those that say so.
        light = np.asarray(picture) if "adobe" not in picture.info else 255 - np.asarray(picture)
        light = light.astype(np.uint16)
        colours = (light[..., :3] * light[..., 3:] // 255).astype(np.uint8)
        picture = Image.fromarray(colours)
    return np.atleast_3d(np.asarray(picture.convert("RGB" if in_colour else "L")))


def _of_bands(picture: Image.Image, by: int) -> np.ndarray:
    mode = "RGBA" if picture.has_transparency_data else "L" if picture.mode in ("1", "L") else "RGB"
    if picture.mode != mode:
        picture = picture.convert(mode)
    # One by one, since Pillow would multiply colours with opacity.
    return np.stack([_means(picture.getchannel(band), by) for band in picture.getbands()], axis=-1)


def _means(band: Image.Image, by: int) -> np.ndarray:
    """The means of blocks, halves rounded up, of a picture of mode L."""
    return np.asarray(band.reduce(by, (0, 0, band.width // by * by, band.height // by * by)))


def _of_deep_grey(picture: Image.Image, by: int) -> np.ndarray:
    """Grey values of 16 bits or more; Pillow itself would cut them off at 255."""
    values = np.asarray(picture)
    height, width = values.shape[0] // by * by, values.shape[1] // by * by
    sums = np.zeros((height // by, width // by))
    for row in range(by):
        for column in range(by):
            sums += np.nan_to_num(values[row:height:by, column:width:by])
    grey = np.floor(sums.clip(0) * 255 / max(sums.max(), 1e-30) + 0.5).astype(np.uint8)
    if "transparency" not in picture.info:
        return grey[..., None]
    opacity = Image.fromarray(np.where(values == picture.info["transparency"], 0, 255).astype(np.uint8))
    return np.stack([grey, grey, grey, _means(opacity, by)], axis=-1)


def _mend_transparent_colour(picture: Image.Image, depth: int) -> None:
    """Brings PNG's transparent colour to the depth of Pillow's pixels; 16 bits of a colour count by their high byte."""
    colour = picture.info.get("transparency")
    if picture.mode == "L" and colour is not None and depth < 8:
        picture.info["transparency"] = colour * 255 // (2**depth - 1)
    elif picture.mode == "RGB" and colour is not None and depth == 16:
        picture.info["transparency"] = tuple(value >> 8 for value in colour)


def _orientation(exif: bytes, xmp: bytes) -> int:
    """From 1, upright, to 8: by EXIF's first directory, which is the picture's own, or else by XMP."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(tiff[:4])
    if order:
        start = int.from_bytes(tiff[4:8], order)
        count = int.from_bytes(tiff[start : start + 2], order)
        entries = tiff[start + 2 : start + 2 + count * _BYTES_OF_ENTRY]
        for at in range(0, len(entries) - _BYTES_OF_ENTRY + 1, _BYTES_OF_ENTRY):
            tag, form, value = (int.from_bytes(entries[at + place : at + place + 2], order) for place in (0, 2, 8))
            if (tag, form) == (_ORIENTATION, _SHORT):
                return value if 1 <= value <= 8 else 1
    match = _XMP_ORIENTATION.search(xmp)
    return int(match[1]) if match else 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in _ON_ITS_SIDE:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
