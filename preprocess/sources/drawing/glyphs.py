"""Glyphs of Matplotlib's outline fonts: their outlines, and how to fill these."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw

EM = 100
"""The size of an em, in units of the outlines."""


def font_file(font: str) -> str:
    """The path of a font of Matplotlib's, named as its file without `.ttf`."""
    from matplotlib import get_data_path

    return f"{get_data_path()}/fonts/ttf/{font}.ttf"


def outlines(font: str, character: str) -> list[np.ndarray]:
    """The closed outlines of a glyph: a list of float [points, 2], x from its origin, y upwards from the baseline.

    An em has `EM` units; no outline for a space.
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
