"""Alphabets: ways to write letters, each from a font, brought to one size and upright so that a hand can mix them.

All lengths are in x-heights: the height of the alphabet's own x is 1, the baseline 0.
"""

import string
import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np

from preprocess.sources.drawing import glyphs
from preprocess.sources.drawing.strokes import strokes

FALLBACK = "sans"
"""The alphabet that draws what another lacks."""

_LETTERS = frozenset(string.ascii_letters)
_PLAIN = _LETTERS | frozenset(string.digits)
_SCRIPT_FIRST = {"A": 0x1D49C, "a": 0x1D4B6}
_SCRIPT_ELSEWHERE = dict(zip("BEFHILMRego", "ℬℰℱℋℐℒℳℛℯℊℴ", strict=True))  # in Unicode before the other script letters


@dataclass(frozen=True)
class Alphabet:
    """A font, and what is to be known to use its letters beside those of others."""

    font: str
    slant: float = 0.0
    """How far the font's letters lean to the right: the tangent."""
    characters: frozenset[str] | None = None
    """Those to take from the font; None for all that it has."""
    script: bool = False
    """Whether letters stand at Unicode's mathematical script letters."""


ALPHABETS = {
    "sans": Alphabet("DejaVuSans"),
    "mono": Alphabet("DejaVuSansMono"),
    "serif": Alphabet("DejaVuSerif"),
    "serif-italic": Alphabet("DejaVuSerif-Italic", 0.2),
    "times": Alphabet("STIXGeneral"),
    "times-italic": Alphabet("STIXGeneralItalic", 0.28),
    "roman": Alphabet("cmr10", 0.0, _PLAIN),
    "grotesque": Alphabet("cmss10", 0.0, _PLAIN),
    "typewriter": Alphabet("cmtt10", 0.0, _PLAIN),
    "italic": Alphabet("cmti10", 0.25, _PLAIN),
    "math-italic": Alphabet("cmmi10", 0.25, _LETTERS),
    "script": Alphabet("STIXGeneralItalic", 0.45, _LETTERS, script=True),
}


@dataclass(frozen=True)
class Letter:
    """One character of an alphabet, upright; lengths in x-heights, x from its origin, y upwards from the baseline."""

    points: np.ndarray
    """The points of its strokes one after another, float32 [points, 2]."""
    starts: tuple[int, ...]
    """The index of each stroke's first point."""
    advance: float
    """How far the pen moves on after it."""
    left: float
    right: float
    body: tuple[float, float]
    """Its least and greatest x between baseline and x-height, where its neighbours are."""
    entry: int | None
    """The index of the point that a stroke from the letter before would reach; None without one near the line."""
    exit: int | None
    """The index of the point where a stroke to the letter after would begin."""


@cache
def drawable() -> frozenset[str]:
    """The characters that every hand can write, besides the space: those of the `FALLBACK` alphabet with ink.

    Scripts from right to left, and marks without a letter, are not among them.
    """
    font = ALPHABETS[FALLBACK].font
    return frozenset(
        character
        for character in glyphs.characters(font)
        if unicodedata.category(character)[0] not in "ZCM"
        and unicodedata.bidirectional(character) not in ("R", "AL", "AN")
        and glyphs.has_ink(font, character)
    )


def not_drawable(text: str) -> str:
    """The characters of the text, sorted, that cannot be drawn; empty if it can be drawn whole. The text is NFC."""
    return "".join(sorted(set(text) - drawable() - {" "}))


@cache
def has(alphabet: str, character: str) -> bool:
    wanted = ALPHABETS[alphabet]
    return character in (glyphs.characters(wanted.font) if wanted.characters is None else wanted.characters)


@cache
def letter(alphabet: str, character: str) -> Letter:
    """A character that the alphabet has."""
    wanted = ALPHABETS[alphabet]
    scale = 1 / strokes(wanted.font, _coded(wanted, "x")).points[:, 1].max()
    coded = _coded(wanted, character)
    drawn = strokes(wanted.font, coded)
    points = drawn.points * scale
    points[:, 0] -= wanted.slant * points[:, 1]
    left, right = float(points[:, 0].min()), float(points[:, 0].max())
    body = points[(points[:, 1] > -0.1) & (points[:, 1] < 1.1), 0]
    return Letter(
        points=points,
        starts=drawn.starts,
        advance=glyphs.advance(wanted.font, coded) * scale,
        left=left,
        right=right,
        body=(float(body.min()), float(body.max())) if len(body) else (left, right),
        entry=_foremost(-points[:, 0], points[:, 1], 0.0, 1.05),
        exit=_exit(points, character),
    )


@cache
def kerning(alphabet: str, left: str, right: str) -> float:
    """By how much two neighbours of one alphabet move apart, in x-heights."""
    wanted = ALPHABETS[alphabet]
    scale = 1 / strokes(wanted.font, _coded(wanted, "x")).points[:, 1].max()
    return glyphs.kerning(wanted.font, _coded(wanted, left), _coded(wanted, right)) * float(scale)


def _coded(alphabet: Alphabet, character: str) -> str:
    """The character as which the font has it."""
    if not alphabet.script:
        return character
    first = "A" if character <= "Z" else "a"
    return _SCRIPT_ELSEWHERE.get(character) or chr(_SCRIPT_FIRST[first] + ord(character) - ord(first))


def _exit(points: np.ndarray, character: str) -> int | None:
    if character in "orvwb":  # these end high
        return _foremost(points[:, 0], points[:, 1], 0.5, 1.1)
    if character in "gjy":  # the loop below the line
        return _foremost(-points[:, 0], points[:, 1], -2.0, -0.2)
    return _foremost(points[:, 0], points[:, 1], -0.15, 0.45)


def _foremost(value: np.ndarray, height: np.ndarray, low: float, high: float) -> int | None:
    """The index of the point of greatest `value` among those of a height between `low` and `high`."""
    candidates = np.flatnonzero((height >= low) & (height <= high))
    return int(candidates[value[candidates].argmax()]) if len(candidates) else None
