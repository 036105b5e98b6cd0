"""Writers: what stays the same in all the lines of one hand."""

import string
from dataclasses import dataclass

import numpy as np

from preprocess.sources.drawing.alphabets import FALLBACK, has

# How often a hand is based on an alphabet. Few people write serifs, least on capitals and digits.
_LOWER = {
    "sans": 3,
    "mono": 1,
    "serif": 0.5,
    "serif-italic": 2,
    "times": 1,
    "times-italic": 3,
    "roman": 1,
    "grotesque": 3,
    "typewriter": 2,
    "italic": 4,
    "math-italic": 4,
    "script": 5,
}
_UPPER = {"sans": 6, "mono": 2, "grotesque": 6, "typewriter": 1, "times-italic": 1, "italic": 2, "script": 2}
_DIGITS = {"sans": 4, "grotesque": 4, "typewriter": 1, "times-italic": 2, "italic": 3}
_SYMBOLS = {"sans": 4, "mono": 2, "serif-italic": 1, "times": 1, "times-italic": 2}
_ONE_STOREY = {"a": ("italic", "math-italic", "times-italic", "script"), "g": ("sans", "grotesque", "italic", "script")}


@dataclass(frozen=True)
class Writer:
    """The properties of one hand. Lengths are in x-heights, the height of its own small x."""

    shapes: dict[str, str]
    """The alphabet of each ASCII letter and digit."""
    symbols: str
    """The alphabet of all other characters; what it lacks comes from `alphabets.FALLBACK`."""
    slant: float
    """How far letters lean to the right: the tangent."""
    stretch: float
    """The width of letters, as a multiple of the alphabet's."""
    ascent: float
    """The length of what small letters have above the x-height, as a multiple of the alphabet's."""
    descent: float
    """The length of what letters have below the baseline, likewise."""
    tall: float
    """The size of capitals and digits, likewise."""
    letter_spacing: float
    """What is added to the alphabet's distance between two letters."""
    word_spacing: float
    """The width of a space."""
    pen: float
    """The thickness of the pen."""
    nib: tuple[float, float]
    """From the middle of a broad nib to its end, (x, y); 0, 0 for a round pen."""
    joined: float
    """The share of neighbouring small letters with a stroke between them."""
    loops: bool
    """Whether g, j and y are among those."""
    bend: float
    """How far the strokes depart from the alphabet's: the amplitude of smooth waves."""
    size_jitter: float
    """By how much one letter is larger than another: the standard deviation, as a share."""
    tilt_jitter: float
    """By how much one letter leans more than another: the standard deviation of the tangent."""
    height_jitter: float
    """By how much a letter stands above or below the line: the standard deviation."""
    spacing_jitter: float
    """By how much distances between letters differ: the standard deviation."""
    baseline_wave: float
    """The amplitude of the baseline's waves."""
    mark_size: float
    """The size of accents, as a multiple of the usual one."""
    mark_shift: float
    """How far accents stand to the right of their letters' middle."""


def draw_writer(rng: np.random.Generator) -> Writer:
    """A hand, each of its properties drawn from `rng`."""
    lower, upper, digits, symbols = (_choose(weights, rng) for weights in (_LOWER, _UPPER, _DIGITS, _SYMBOLS))
    shapes = dict.fromkeys(string.ascii_lowercase, lower)
    shapes |= dict.fromkeys(string.ascii_uppercase, upper) | dict.fromkeys(string.digits, digits)
    variants = rng.uniform(0, 0.35)  # some letters are of a shape of their own
    for character in shapes:
        weights = _LOWER if character.islower() else _UPPER if character.isupper() else _DIGITS
        if rng.random() < variants:
            shapes[character] = _choose(weights, rng)
    for character, alphabets in _ONE_STOREY.items():
        if rng.random() < 0.85 and shapes[character] not in alphabets:
            shapes[character] = alphabets[rng.integers(len(alphabets))]
    cursive = lower in ("script", "italic", "math-italic", "times-italic")
    joined = rng.uniform(0.4, 1.0) if rng.random() < (0.75 if cursive else 0.3) else 0.0
    pen = rng.uniform(0.06, 0.18)
    nib_length = rng.uniform(0.02, 0.12 - pen / 2) if rng.random() < 0.3 else 0.0
    nib_angle = rng.uniform(0.3, 1.2)
    return Writer(
        shapes=shapes,
        symbols=symbols,
        slant=float(np.clip(rng.normal(0.18, 0.2), -0.25, 0.7)),
        stretch=float(np.exp(rng.normal(0.05, 0.16))),
        ascent=rng.uniform(0.8, 1.9),
        descent=rng.uniform(0.7, 1.6),
        tall=rng.uniform(0.85, 1.3),
        letter_spacing=float(np.clip(rng.normal(0.02 + 0.06 * (joined > 0), 0.09), -0.12, 0.4)),
        word_spacing=rng.uniform(0.55, 1.5),
        pen=pen,
        nib=(nib_length * np.cos(nib_angle), nib_length * np.sin(nib_angle)),
        joined=joined,
        loops=bool(rng.random() < 0.5),
        bend=rng.uniform(0.01, 0.07),
        size_jitter=rng.uniform(0.01, 0.09),
        tilt_jitter=rng.uniform(0.01, 0.06),
        height_jitter=rng.uniform(0.01, 0.07),
        spacing_jitter=rng.uniform(0.01, 0.07),
        baseline_wave=rng.uniform(0.0, 0.15),
        mark_size=rng.uniform(0.7, 1.3),
        mark_shift=rng.uniform(-0.05, 0.2),
    )


def alphabet_of(writer: Writer, character: str) -> str:
    """The alphabet from which the writer takes a character."""
    wanted = writer.shapes.get(character, writer.symbols)
    return wanted if has(wanted, character) else FALLBACK


def _choose(weights: dict[str, float], rng: np.random.Generator) -> str:
    shares = np.array(list(weights.values()), float)
    return list(weights)[rng.choice(len(shares), p=shares / shares.sum())]
