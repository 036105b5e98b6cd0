"""Lines of text in a hand of their own, drawn with a pen along the middle lines of glyphs."""

import math
import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from common.errors import InputError
from preprocess.sources.drawing import band
from preprocess.sources.drawing.alphabets import Letter, kerning, letter, not_drawable
from preprocess.sources.drawing.band import LINE_HEIGHT
from preprocess.sources.drawing.writers import Writer, alphabet_of, draw_writer

_FINE = 3  # pixels of the drawing in each pixel of the picture, so that strokes have soft edges
_WIDEST_JOIN = 1.3  # x-heights
_WIDEST_GAP = 0.4  # x-heights between two letters of a word, besides the hand's letter spacing
_MOST_OVERLAP = 0.08  # x-heights, of what two letters have between baseline and x-height
# Strokes of the combining marks of Latin letters, from the middle of the letter, in x-heights above its top.
_ABOVE = {
    "\u0300": [[(-0.2, 0.45), (0.1, 0.15)]],  # grave
    "\u0301": [[(0.2, 0.45), (-0.1, 0.15)]],  # acute
    "\u0302": [[(-0.25, 0.15), (0.0, 0.42), (0.25, 0.15)]],  # circumflex
    "\u0303": [[(-0.3, 0.2), (-0.15, 0.35), (0.1, 0.22), (0.3, 0.38)]],  # tilde
    "\u0308": [[(-0.2, 0.28), (-0.2, 0.3)], [(0.2, 0.28), (0.2, 0.3)]],  # diaeresis
    "\u030a": [[(0.0, 0.12), (-0.13, 0.25), (0.0, 0.38), (0.13, 0.25), (0.0, 0.12)]],  # ring
    "\u030c": [[(-0.25, 0.42), (0.0, 0.15), (0.25, 0.42)]],  # caron
}
_BELOW = {"\u0327": [[(0.05, 0.0), (0.0, -0.12), (0.18, -0.25), (-0.05, -0.4)]]}  # cedilla, from the baseline


@dataclass(frozen=True)
class _Placed:
    """A character in its place in the line: strokes, float [points, 2] each, and where its neighbours may join it."""

    strokes: list[np.ndarray]
    entry: np.ndarray | None
    exit: np.ndarray | None


def draw_line(text: str, rng: np.random.Generator, writer: Writer | None = None) -> np.ndarray:
    """A line of handwriting: uint8 [LINE_HEIGHT, width], 255 ink on 0 ground, all ink inside.

    `writer` is the hand; without one, the line has a hand of its own. The text may hold spaces, also at its ends, which
    leave no ink. Raises `InputError` for a text without ink, and for characters that `alphabets.drawable` lacks.
    """
    text = unicodedata.normalize("NFC", text)
    if unknown := not_drawable(text):
        raise InputError(f"{text!r}: these characters cannot be drawn: {unknown}")
    if not text.strip(" "):
        raise InputError("a line without characters cannot be drawn")
    writer = writer or draw_writer(rng)
    placed = _place(text, writer, rng)
    strokes = [stroke for character in placed for stroke in character.strokes] + _joins(text, placed, writer, rng)
    starts = np.cumsum([0] + [len(stroke) for stroke in strokes])
    points = _bend(np.concatenate(strokes), writer, rng)
    return _ink(points, starts, writer, rng)


def _place(text: str, writer: Writer, rng: np.random.Generator) -> list[_Placed]:
    """The characters one beside the other, upright on a straight baseline; a space has no strokes."""
    placed, x, before, taken = [], 0.0, None, None
    for character, jitter in zip(text, rng.normal(size=(len(text), 5)).clip(-2.5, 2.5), strict=True):
        shift = writer.spacing_jitter * float(jitter[0])
        if character == " ":
            placed.append(_Placed([], None, None))
            gap = writer.word_spacing + max(0.0, writer.letter_spacing)
            x += gap * math.exp(min(0.5, max(-0.25, 4 * shift)))
            before = taken = None
            continue
        base, marks = _parts(character)
        alphabet = alphabet_of(writer, base)
        shape = letter(alphabet, base)
        size = 1 + writer.size_jitter * float(jitter[1])
        width = writer.stretch * size * (writer.tall if _is_tall(base) else 1)
        left, right = shape.body if base.islower() else (shape.left, shape.right)
        if before and before[0] == alphabet:
            x += kerning(alphabet, before[1], base)
        if taken is not None:
            clear = taken + 0.7 * writer.pen - width * left
            x = min(max(x, clear - _MOST_OVERLAP), clear + _WIDEST_GAP + max(0.0, writer.letter_spacing))
        points = np.stack([shape.points[:, 0] * width, _heights(shape, base, writer) * size], axis=1)
        points[:, 0] += writer.tilt_jitter * jitter[2] * (points[:, 1] - points[:, 1].mean())
        points += (x, writer.height_jitter * jitter[3])
        strokes = np.split(points, shape.starts[1:]) + _marks(marks, points, 0.08 * jitter[4], writer)
        entry, leave = (None if end is None else points[end] for end in (shape.entry, shape.exit))
        placed.append(_Placed(strokes, entry, leave))
        taken = x + width * right
        x += max(0.25, width * shape.advance + writer.letter_spacing + shift)
        before = alphabet, base
    return placed


def _marks(marks: str, points: np.ndarray, jitter: float, writer: Writer) -> list[np.ndarray]:
    """The strokes of the marks of a letter with these points."""
    (left, _), (right, top) = points.min(axis=0), points.max(axis=0)
    middle = (left + right) / 2
    strokes = []
    for mark in marks:
        if mark in _ABOVE:
            lines, origin = _ABOVE[mark], (middle + writer.mark_shift + jitter, top)
        else:
            lines, origin = _BELOW[mark], (middle, 0.0)
        strokes += [np.array(line) * writer.mark_size + origin for line in lines]
    return strokes


@cache
def _parts(character: str) -> tuple[str, str]:
    """A Latin letter and its marks; other characters, and letters with marks of other kinds, stay whole."""
    base, *marks = unicodedata.normalize("NFD", character)
    if not (base.isascii() and base.isalpha() and all(mark in _ABOVE or mark in _BELOW for mark in marks)):
        return character, ""
    if any(mark in _ABOVE for mark in marks):
        base = {"i": "ı", "j": "ȷ"}.get(base, base)
    return base, "".join(marks)


def _is_tall(character: str) -> bool:
    return character.isalnum() and not character.islower()


def _heights(shape: Letter, character: str, writer: Writer) -> np.ndarray:
    """The heights of the letter's points in the hand's proportions."""
    y = shape.points[:, 1]
    if _is_tall(character):
        return y * writer.tall
    if not character.islower():
        return y
    return np.where(y > 1, 1 + (y - 1) * writer.ascent, np.where(y < 0, y * writer.descent, y))


def _joins(text: str, placed: list[_Placed], writer: Writer, rng: np.random.Generator) -> list[np.ndarray]:
    """Strokes from small letters to the next."""
    joins = []
    chances = rng.random(len(text))
    for index in range(len(text) - 1):
        start, end = placed[index].exit, placed[index + 1].entry
        if chances[index] >= writer.joined or start is None or end is None:
            continue
        loop = text[index] in "gjy"
        if not (text[index].islower() and text[index + 1].islower()) or (loop and not writer.loops):
            continue
        across, up = end - start
        if not -0.4 < across < _WIDEST_JOIN * (1.5 if loop else 1):
            continue
        reach = max(across, 0.25)
        leave = start + ((-0.15, 0.3) if loop else (0.45 * reach, -0.05))
        arrive = end - (0.4 * reach, 0.3 * up)
        t = np.linspace(0, 1, 8)[:, None]
        joins.append((1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * leave + 3 * (1 - t) * t**2 * arrive + t**3 * end)
    return joins


def _bend(points: np.ndarray, writer: Writer, rng: np.random.Generator) -> np.ndarray:
    """The points on an uneven baseline, leaning, and bent by smooth waves, so that no two letters are the same."""
    directions = rng.normal(0, 2.2, (5, 2))  # radians in an x-height
    amplitudes = rng.normal(0, writer.bend, (5, 2))
    points = points + np.sin(points @ directions.T + rng.uniform(0, 2 * math.pi, 5)) @ amplitudes
    x, y = points.T
    wave = writer.baseline_wave * np.sin(x * rng.uniform(0.05, 0.3) + rng.uniform(0, 2 * math.pi))
    return np.stack([x + writer.slant * y, y + wave + rng.normal(0, 0.008) * x], axis=1)


def _ink(points: np.ndarray, starts: np.ndarray, writer: Writer, rng: np.random.Generator) -> np.ndarray:
    nib_x, nib_y = writer.nib
    reach = np.array([writer.pen / 2 + abs(nib_x), writer.pen / 2 + abs(nib_y)]) + 0.1
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    usual = -0.45 * writer.descent, 1 + 0.5 * writer.ascent
    bottom, top = band.cut((low[1], high[1]), usual, 0.02, rng)
    left, right = low[0] - rng.uniform(0, 0.8), high[0] + rng.uniform(0, 0.8)
    scale = LINE_HEIGHT * _FINE / (top - bottom)
    width = math.ceil((right - left) * scale / _FINE)
    pixels = (points - (left, top)) * (scale, -scale)
    pen = writer.pen * scale
    widths = np.maximum(_FINE, np.rint(pen * (1 + 0.08 * rng.normal(size=len(starts) - 1)))).astype(int).tolist()
    offsets = _nib_offsets(nib_x * scale, -nib_y * scale, pen)

    picture = Image.new("L", (width * _FINE, LINE_HEIGHT * _FINE))
    canvas = ImageDraw.Draw(picture)
    for offset in offsets:
        flat = (pixels + offset).ravel().tolist()
        for index, stroke_width in enumerate(widths):
            stroke = flat[2 * starts[index] : 2 * starts[index + 1]]
            canvas.line(stroke, fill=255, width=stroke_width)
            radius = stroke_width / 2 if len(stroke) > 4 else 0.6 * stroke_width  # a dot is pressed
            for x, y in (stroke[:2], stroke[-2:]):  # round ends
                canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(picture.reduce(_FINE))


def _nib_offsets(x: float, y: float, pen: float) -> np.ndarray:
    """Where a round pen of `pen` pixels stands to draw the width of a nib from (-x, -y) to (x, y)."""
    length = 2 * math.hypot(x, y)
    count = 1 if length < 1 else math.ceil(length / (0.8 * pen)) + 1
    return np.linspace(-1 if count > 1 else 0, 1 if count > 1 else 0, count)[:, None] * (x, y)
