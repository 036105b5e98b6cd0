"""Glyphs of Matplotlib's outline fonts: their outlines, and how to fill these."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops, ImageDraw

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font, LoadFlags

EM = 100
"""The size of an em, in units of the outlines."""


def font_file(font: str) -> str:
    """The path of a font of Matplotlib's, named as its file without `.ttf`."""
    from matplotlib import get_data_path

    return f"{get_data_path()}/fonts/ttf/{font}.ttf"


def outlines(font: str, character: str) -> list[np.ndarray]:
    """The closed outlines of a glyph: a list of float [points, 2], x from its origin, y upwards from the baseline.

    An em has `EM` units. The font must have the character, and with ink.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    return TextPath((0, 0), character, size=EM, prop=FontProperties(fname=font_file(font))).to_polygons()


def fill(polygons: Sequence[Sequence[tuple[float, float]]], size: tuple[int, int]) -> Image.Image:
    """The filled outlines as a picture of mode `1` and that size, (width, height), both in pixels."""
    ink = Image.new("1", size)
    for polygon in polygons:  # a hole is an outline within an outline: what lies inside an odd number of them is ink
        inside = Image.new("1", ink.size)
        ImageDraw.Draw(inside).polygon(polygon, fill=1)
        ink.paste(ImageChops.logical_xor(ink, inside))
    return ink


def characters(font: str) -> frozenset[str]:
    """The characters that the font claims; Computer Modern's claims are true of ASCII letters and digits only."""
    return frozenset(map(chr, _face(font).get_charmap()))


def advance(font: str, character: str) -> float:
    """How far the pen moves on after the character, in units of the outlines."""
    return _face(font).load_char(ord(character), flags=_unhinted()).linearHoriAdvance / 65536


def kerning(font: str, left: str, right: str) -> float:
    """By how much two neighbours of one font move apart, in units of the outlines; mostly zero or less."""
    from matplotlib.ft2font import Kerning

    face = _face(font)
    indices = (face.get_char_index(ord(character)) for character in (left, right))
    return face.get_kerning(*indices, Kerning.UNFITTED) / 64


@cache
def _face(font: str) -> "FT2Font":
    from matplotlib.ft2font import FT2Font

    face = FT2Font(font_file(font))
    face.set_size(EM, 72)  # points of one pixel each
    return face


def _unhinted() -> "LoadFlags":
    from matplotlib.ft2font import LoadFlags

    return LoadFlags.NO_HINTING | LoadFlags.NO_AUTOHINT


def has_ink(font: str, character: str) -> bool:
    """Whether a character that the font has is more than white space."""
    left, bottom, right, top = _face(font).load_char(ord(character), flags=_unhinted()).bbox
    return right > left and top > bottom
