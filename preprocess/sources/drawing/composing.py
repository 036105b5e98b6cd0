"""Lines put together from pictures of single characters, such as EMNIST's.

Pictures of characters all fill their frames: a comma is as tall as a capital. A table gives each character back its
usual size and place on the line.
"""

import math
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from preprocess.sources.drawing import band
from preprocess.sources.drawing.band import LINE_HEIGHT

_INK = 64  # of 255: what is at least that light belongs to a character's height and width
_MOST_OVERLAP = 0.2  # of the narrower of two neighbours
_LEAST_SIDE = 3  # pixels; a picture of a dot stays visible
# Bottom and top in x-heights above the baseline. Characters not listed: as their Latin base letter, else as capitals
# or small letters.
_SPANS = {
    **dict.fromkeys("acemnorsuvwxz", (0.0, 1.0)),
    **dict.fromkeys("bdfhkl", (0.0, 1.75)),
    "t": (0.0, 1.5),
    "i": (0.0, 1.45),
    **dict.fromkeys("gpqy", (-0.7, 1.0)),
    "j": (-0.7, 1.45),
    **dict.fromkeys("Qß", (-0.1, 1.7)),
    **dict.fromkeys(".…", (0.0, 0.2)),
    ",": (-0.3, 0.2),
    ":": (0.0, 0.9),
    ";": (-0.3, 0.9),
    **dict.fromkeys("-–—~", (0.4, 0.6)),
    **dict.fromkeys("+=<>*", (0.25, 1.05)),
    **dict.fromkeys("'’‘\"“”", (1.2, 1.7)),
    **dict.fromkeys("°", (1.1, 1.7)),
    **dict.fromkeys("«»", (0.15, 0.95)),
    "_": (-0.2, -0.05),
    **dict.fromkeys("()[]{}|", (-0.35, 1.8)),
    **dict.fromkeys("$/\\", (-0.15, 1.8)),
}
_CAPITAL, _SMALL = (0.0, 1.65), (0.0, 1.0)
_MARK = 0.45  # what an accent adds to a letter's height, and a cedilla below


def not_composable(texts: Iterable[str], vocabulary: str) -> str:
    """The characters of the texts, sorted, that a source of the vocabulary's characters lacks; spaces are gaps."""
    return "".join(sorted(set().union(*texts) - set(vocabulary) - {" "}))


def compose_line(characters: Sequence[np.ndarray], text: str, rng: np.random.Generator) -> np.ndarray:
    """A line put together of pictures of the text's characters: uint8 [LINE_HEIGHT, width], light ink on dark ground.

    `characters` are the pictures, uint8 [h, w] of any size, light on dark, one for each character of `text` that is not
    a space. Size, spacing, overlap, lean and baseline are the line's own, and differ a little from letter to letter.
    Raises `ValueError` for another number of pictures, none, or one without ink.
    """
    wanted = [character for character in text if character != " "]
    if len(wanted) != len(characters) or not wanted:
        raise ValueError(f"{len(characters)} pictures for the {len(wanted)} characters of {text!r}")
    sizes = rng.uniform(0.01, 0.08) * rng.normal(size=len(wanted)).clip(-2, 2)
    heights = rng.uniform(0.0, 0.07) * rng.normal(size=len(wanted)).clip(-2, 2)
    spacings = rng.uniform(0.01, 0.1) * rng.normal(size=len(wanted)).clip(-2, 2)
    stretch, spacing, space = np.exp(rng.normal(0, 0.1)), rng.uniform(-0.08, 0.35), rng.uniform(0.6, 1.5)
    ascent, descent, tall = rng.uniform(0.85, 1.25), rng.uniform(0.8, 1.3), rng.uniform(0.85, 1.1)
    wave, period, phase = rng.uniform(0, 0.12), rng.uniform(0.05, 0.3), rng.uniform(0, 2 * math.pi)

    # Boxes first, in x-heights, y upwards: (left, bottom, right, top) of each character's ink.
    boxes = np.empty((len(wanted), 4))
    inked = [_cropped(picture) for picture in characters]
    end, before, index = 0.0, 0.0, 0
    for character in text:
        if character == " ":
            end += space * math.exp(2 * spacings[min(index, len(wanted) - 1)])
            continue
        low, high = span(character)
        high = tall * high if character.isdigit() or character.isupper() else high if high <= 1 else high**ascent
        low *= descent
        height, width = _fitted(inked[index].shape, high - low, stretch)
        middle = (low + high) / 2 + heights[index] + wave * math.sin(period * end + phase)
        height, width = height * (1 + sizes[index]), width * (1 + sizes[index])
        gap = max(spacing + spacings[index], -_MOST_OVERLAP * min(width, before)) if index else 0.0
        left = end + gap
        boxes[index] = left, middle - height / 2, left + width, middle + height / 2
        end, before, index = left + width, width, index + 1
    return _paste(inked, boxes, rng)


def span(character: str) -> tuple[float, float]:
    """The bottom and top of a character in x-heights above the baseline."""
    if character in _SPANS:
        return _SPANS[character]
    base, *marks = unicodedata.normalize("NFD", character)
    low, high = _SPANS.get(base, _SMALL if base.islower() else _CAPITAL)
    below = any(unicodedata.combining(mark) < 230 for mark in marks)
    above = any(unicodedata.combining(mark) >= 230 for mark in marks) and base not in "ij"
    return low - _MARK * below, high + _MARK * above


def _cropped(picture: np.ndarray) -> np.ndarray:
    ink = picture >= _INK
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        raise ValueError("a picture of a character without ink")
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fitted(shape: tuple[int, int], height: float, stretch: float) -> tuple[float, float]:
    """The height and width, in x-heights, at which a picture of that shape stands for a character of that height.

    A picture much wider than tall, such as a hyphen's, is not enlarged to that height.
    """
    width = stretch * height * shape[1] / shape[0]
    most = max(0.6, 1.5 * height)
    return (height, width) if width <= most else (height * most / width, most)


def _paste(inked: list[np.ndarray], boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    usual = -0.6, 1.75
    bottom, top = band.cut((boxes[:, 1].min(), boxes[:, 3].max()), usual, 0.08, rng)
    scale = LINE_HEIGHT / (top - bottom)
    left, right = boxes[:, 0].min() - rng.uniform(0.08, 0.8), boxes[:, 2].max() + rng.uniform(0.08, 0.8)
    line = np.zeros((LINE_HEIGHT, math.ceil((right - left) * scale) + _LEAST_SIDE), np.uint8)
    for picture, box in zip(inked, boxes, strict=True):
        width = max(_LEAST_SIDE, round((box[2] - box[0]) * scale))
        height = min(max(_LEAST_SIDE, round((box[3] - box[1]) * scale)), LINE_HEIGHT)
        drawn = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
        x = round((box[0] - left) * scale)
        y = min(max(0, round((top - box[3]) * scale)), LINE_HEIGHT - height)
        place = line[y : y + height, x : x + width]
        np.maximum(place, drawn, out=place)
    return line
