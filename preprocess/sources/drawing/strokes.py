"""A character as the strokes of a pen: the middle lines of its glyph.

A glyph's outline encloses ink of a type designer's thickness; its middle lines, drawn with a round pen of any
thickness, look like writing. They are found by thinning (Zhang and Suen, "A fast parallel algorithm for thinning
digital patterns", 1984) and followed from one end or crossing to the next.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from preprocess.sources.drawing import glyphs

_SCALE = 1.6  # pixels in a unit of the outlines; hairlines of the thinnest font are three pixels wide
_MARGIN = 3  # pixels around the glyph, so that thinning sees paper on all sides
_SPUR = 9  # pixels; a shorter stroke with a loose end is a corner of the glyph's thick line
_SMOOTHING = 3.0  # pixels, the standard deviation
_STEP = 4  # pixels from one point of a stroke to the next
_RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))  # around a pixel, clockwise from above

_Pixel = tuple[int, int]


@dataclass(frozen=True)
class Strokes:
    """The strokes of one character, in units of the outlines (`glyphs.EM` to an em), y upwards from the baseline."""

    points: np.ndarray
    """The points of all strokes one after another, float32 [points, 2]."""
    starts: tuple[int, ...]
    """The index of each stroke's first point."""


@cache
def strokes(font: str, character: str) -> Strokes:
    """The strokes of a character that the font has, with ink."""
    polygons = glyphs.outlines(font, character)
    corners = np.concatenate(polygons)
    low, high = corners.min(axis=0), corners.max(axis=0)
    width, height = (math.ceil(side * _SCALE) + 2 * _MARGIN for side in high - low)
    placed = [
        list(map(tuple, (np.stack([polygon[:, 0] - low[0], high[1] - polygon[:, 1]], axis=1)) * _SCALE + _MARGIN))
        for polygon in polygons
    ]
    thin = thinned(np.array(glyphs.fill(placed, (width, height)), bool))
    lines = [_smooth(np.array(line, np.float32)) for line in _without_spurs(followed(thin))]
    points = (np.concatenate(lines)[:, ::-1] - _MARGIN) / _SCALE  # [row, column] → [x, y]
    points = np.stack([points[:, 0] + low[0], high[1] - points[:, 1]], axis=1).astype(np.float32)
    starts = np.cumsum([0, *(len(line) for line in lines[:-1])]).tolist()
    return Strokes(points, tuple(starts))


def thinned(ink: np.ndarray) -> np.ndarray:
    """The middle lines of `ink`, bool [h, w], one pixel wide; the outermost pixels must be paper."""
    ink = ink.copy()
    inner = ink[1:-1, 1:-1]
    height, width = inner.shape
    while True:
        removed = 0
        for first in (True, False):
            around = [ink[1 + y : 1 + y + height, 1 + x : 1 + x + width] for y, x in _RING]
            above, right, below, left = around[::2]
            count = sum(pixel.astype(np.uint8) for pixel in around)
            turns = sum((~around[at - 1] & around[at]).astype(np.uint8) for at in range(8))
            if first:
                edge = ~(above & right & below) & ~(right & below & left)
            else:
                edge = ~(above & right & left) & ~(above & below & left)
            gone = inner & (count >= 2) & (count <= 6) & (turns == 1) & edge
            removed += int(gone.sum())
            inner[gone] = False
        if not removed:
            return ink


def followed(thin: np.ndarray) -> list[list[_Pixel]]:
    """The lines of a thinned picture: pixels (row, column) from an end or a crossing to the next, or round a loop.

    A pixel without neighbours is a line of its own.
    """
    pixels = set(map(tuple, np.argwhere(thin).tolist()))
    neighbours = {pixel: _neighbours(pixel, pixels) for pixel in sorted(pixels)}
    lines, walked = [], set()

    def walk(start: _Pixel, then: _Pixel) -> None:
        line = [start, then]
        walked.add(frozenset(line))
        while len(neighbours[line[-1]]) == 2 and line[-1] != start:
            onward = next(pixel for pixel in neighbours[line[-1]] if pixel != line[-2])
            walked.add(frozenset((line[-1], onward)))
            line.append(onward)
        lines.append(line)

    # Ends and crossings first; what is left then are loops, which begin anywhere.
    for start in sorted(neighbours, key=lambda pixel: len(neighbours[pixel]) == 2):
        if not neighbours[start]:
            lines.append([start])
        for then in neighbours[start]:
            if frozenset((start, then)) not in walked:
                walk(start, then)
    return lines


def _neighbours(pixel: _Pixel, pixels: set[_Pixel]) -> list[_Pixel]:
    """Those beside it, and those at its corners that no pixel beside it leads to."""
    row, column = pixel
    near = []
    for y, x in _RING:
        if (row + y, column + x) in pixels and not (
            y and x and ((row + y, column) in pixels or (row, column + x) in pixels)
        ):
            near.append((row + y, column + x))
    return near


def _without_spurs(lines: list[list[_Pixel]]) -> list[list[_Pixel]]:
    ends: dict[_Pixel, int] = {}
    for line in lines:
        for pixel in (line[0], line[-1]):
            ends[pixel] = ends.get(pixel, 0) + 1
    return [line for line in lines if len(line) >= _SPUR or (ends[line[0]] > 1) == (ends[line[-1]] > 1)]


def _smooth(line: np.ndarray) -> np.ndarray:
    """The line without the steps of its pixels, its ends unmoved, with a point every few pixels."""
    if len(line) > 2:
        smooth = gaussian_filter1d(line, _SMOOTHING, axis=0, mode="nearest")
        smooth[0], smooth[-1] = line[0], line[-1]
        line = smooth
    chosen = np.linspace(0, len(line) - 1, max(2, round(len(line) / _STEP) + 1)).round().astype(int)
    return line[chosen] if len(line) > 1 else line
