"""Pages with PAGE or ALTO XML: the XML file, the picture that it describes, and the pictures of its lines."""

import hashlib
import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from common.errors import InputError
from common.formats import page_xml, picture
from common.formats.page_xml import Line, Page
from common.normalize import arrays, cutting
from common.normalize.line import on_white
from common.storage import read, to_path

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_WHOLE = picture.Least(1 << 30, 1 << 30)  # as the XML measures it

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PageFile:
    """A page's XML and picture, opened."""

    xml: str
    picture: str
    is_as_stored: bool
    """Whether the XML describes the picture without the turn that its EXIF demands."""
    size: tuple[int, int]
    """The height and width of the picture as the XML describes it."""
    picture_sha256: bytes
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class LineOfPage:
    """The place of one line."""

    picture: str
    is_as_stored: bool
    line: Line

    def pixels(self) -> np.ndarray:
        """The line's picture, uint8 [h, w, 1]. Raises `PictureError` if the page's cannot be decoded."""
        return cutting.cut(_pixels(self.picture, self.is_as_stored), self.line)[..., None]


def open_page(xml: "AnyPath") -> PageFile:
    """Reads a page's XML and its picture's header; logs a warning if they may not belong together.

    Raises `InputError` if the XML is none, if there is no picture, or if it has another size.
    """
    page = page_xml.read(read(xml), str(xml))
    path = find_picture(xml, page)
    content = read(path)
    header = picture.read_header(content)
    fit = page_xml.fit(page, header)
    if fit == "differs":
        stored = f"{header.width}×{header.height}"
        raise InputError(f"{xml}: describes a picture of {page.width}×{page.height} pixels; {path.name} has {stored}")
    if fit != "fits":
        _log.warning("%s: %s; look at its lines", xml, page_xml.FITS[fit])
    is_as_stored = fit == "fits-as-stored"
    size = (header.height, header.width) if is_as_stored else header.size
    sha256 = hashlib.sha256(content).digest()
    return PageFile(str(xml), str(path), is_as_stored, size, sha256, cutting.with_boxes(page.lines))


def find_picture(xml: "AnyPath", page: Page) -> "AnyPath":
    """The picture by its name in the XML, or else by the XML's name, beside the XML or one folder above.

    Raises `InputError` if there is none.
    """
    names = [PurePosixPath(page.picture.replace("\\", "/")).name] if page.picture else []
    names += [f"{xml.stem}{suffix}" for suffix in picture.SUFFIXES]
    for folder in (xml.parent, xml.parent.parent):
        for candidate in names:
            if candidate and (folder / candidate).is_file():
                return folder / candidate
    raise InputError(f"{xml}: its picture {names[0]} is neither beside it nor one folder above")


@lru_cache(maxsize=2)  # lines of a page follow each other
def _pixels(path: str, is_as_stored: bool) -> np.ndarray:
    """The page, uint8 [H, W]."""
    content = read(to_path(path))
    pixels = picture.decode(content, least=_WHOLE)
    if is_as_stored:
        pixels = picture.as_stored(pixels, picture.read_header(content).orientation)
    return on_white(arrays, pixels).astype(np.uint8)
