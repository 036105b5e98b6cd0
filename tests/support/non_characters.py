"""Pictures of what is no character, in six kinds: grey, uint8 [H, W], mostly dark ink on light paper.

Shapes that look like a character are not drawn: circles (0, O), single straight lines (1, l, I), crosses (X, x), angles
(V, L), zigzags of few corners (Z, N, W, M). Of the signs, some do look like one in some handwriting (see `ALIKE`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
from PIL import Image, ImageDraw
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from preprocess.sources import synthetic

PUNCTUATION = ".,;:!?-()/&%+=*\"'#@"
ALIKE = "/()!+"
"""The signs that are read as 1, l, I, C, c, J, i or t with good reason; enlarged, nothing tells them from these."""
_SIDE, _INK, _PAPER = 256, 30, 255
_SURE_INK = 100
"""Of 255; fainter pixels of a character are its soft edge."""


@dataclass(frozen=True)
class Material:
    """What is cut up or put together."""

    characters: np.ndarray
    """Upright and light on dark, uint8 [N, 28, 28]."""
    scenes: list[np.ndarray]
    """Grey lines of handwriting, and photographs, uint8 [H, W] each."""


def scribble(material: Material, rng: np.random.Generator) -> np.ndarray:
    """One to three smooth curves without any meaning."""
    strokes = []
    for _ in range(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15])):
        turns = int(rng.integers(6, 16))
        wandering = np.cumsum(rng.normal(size=(turns, 2)), axis=0) * rng.uniform(0, 0.6) + rng.normal(size=(turns, 2))
        strokes.append(_smooth(wandering))
    return _draw(strokes, rng)


def touching(material: Material, rng: np.random.Generator) -> np.ndarray:
    """Two or three characters side by side, each so near to the one before that their ink touches."""
    number = int(rng.choice([2, 3], p=[0.7, 0.3]))
    chosen = material.characters[rng.choice(len(material.characters), number, replace=False)]
    word = reduce(partial(_join, overlap=int(rng.integers(2, 12))), [_letter(image, rng) for image in chosen])
    return 255 - np.pad(word, 24)


def _letter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A character as high as a letter of a word, cropped to its ink from left to right: uint8 [256, width]."""
    rows, columns = (np.flatnonzero((image > _SURE_INK).any(axis=axis)) for axis in (1, 0))
    ink = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, top = (int(rng.uniform(*bounds) * _SIDE) for bounds in ((0.4, 0.6), (0.15, 0.25)))
    width = max(1, round(height * ink.shape[1] / ink.shape[0] * rng.uniform(0.85, 1.15)))
    letter = np.zeros((_SIDE, width), np.uint8)
    letter[top : top + height] = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC))
    return letter


def _join(left: np.ndarray, right: np.ndarray, overlap: int) -> np.ndarray:
    """The brighter of both, `right` moved to the left until its ink overlaps with that of `left` by some pixels."""
    is_left, is_right = left > _SURE_INK, right > _SURE_INK
    ends = np.where(is_left.any(axis=1), left.shape[1] - is_left[:, ::-1].argmax(axis=1), -_SIDE)
    starts = np.where(is_right.any(axis=1), is_right.argmax(axis=1), _SIDE)
    place = int(np.clip((ends - starts).max() - overlap, 0, left.shape[1]))
    width = max(left.shape[1], place + right.shape[1])
    return np.maximum(
        np.pad(left, ((0, 0), (0, width - left.shape[1]))),
        np.pad(right, ((0, 0), (place, width - place - right.shape[1]))),
    )


def cut_out(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A piece of a line of handwriting, which shows several letters or parts of some, or of a photograph."""
    scene = material.scenes[rng.integers(len(material.scenes))]
    height = int(rng.uniform(0.75, 1) * min(scene.shape))
    if height > _SIDE:  # a photograph
        height = int(rng.uniform(_SIDE / 4, _SIDE))
    width = min(int(height * rng.uniform(1, 2)), scene.shape[1])
    top, left = rng.integers(scene.shape[0] - height + 1), rng.integers(scene.shape[1] - width + 1)
    return scene[top : top + height, left : left + width]


def punctuation(material: Material, rng: np.random.Generator) -> np.ndarray:
    """One sign, drawn as the embedded dataset draws characters."""
    return sign(PUNCTUATION, rng)


def sign(choice: str, rng: np.random.Generator) -> np.ndarray:
    return 255 - synthetic.draw(choice[rng.integers(len(choice))], rng)


def shape(material: Material, rng: np.random.Generator) -> np.ndarray:
    """A square, triangle, star, arrow, heart, zigzag, spiral or the like, drawn by hand or filled."""
    outlines = _SHAPES[list(_SHAPES)[rng.integers(len(_SHAPES))]](rng)
    angle, stretch = rng.normal(0, 0.15), math.exp(rng.normal(0, 0.1))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    strokes = [_unsteady(points @ turn.T * (stretch, 1 / stretch), rng) for points in outlines]
    return _draw(strokes, rng, is_filled=len(strokes) == 1 and len(outlines[0]) < 30 and rng.random() < 0.25)


def stained_paper(material: Material, rng: np.random.Generator) -> np.ndarray:
    """Empty paper with grain, uneven light, some blots and a fold."""
    y, x = np.mgrid[:_SIDE, :_SIDE] / _SIDE
    paper = rng.uniform(180, 240) + rng.normal(0, rng.uniform(1, 4), (_SIDE, _SIDE))
    paper += _unevenness(rng.uniform(3, 12), rng)
    for _ in range(rng.integers(1, 6)):
        middle, radius, depth = rng.uniform(0, 1, 2), rng.uniform(0.03, 0.3), rng.uniform(10, 70)
        distance = np.hypot(x - middle[0], (y - middle[1]) * rng.uniform(0.7, 1.4)) / radius + _unevenness(0.2, rng)
        blot = expit((1 - distance) * rng.uniform(3, 20))
        if rng.random() < 0.4:  # a ring, as a cup leaves
            blot -= 0.8 * expit((0.85 - distance) * 20)
        paper -= depth * blot
    if rng.random() < 0.4:
        across = (x - rng.uniform(0.2, 0.8)) + (y - 0.5) * rng.normal(0, 0.3)
        paper -= rng.uniform(5, 25) * np.exp(-((across * rng.uniform(60, 150)) ** 2))
    return np.rint(np.clip(gaussian_filter(paper, 0.7), 0, 255)).astype(np.uint8)


def _unevenness(strength: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random surface of this standard deviation, float32 [256, 256]."""
    coarse = Image.fromarray(rng.normal(0, strength, (6, 6)).astype(np.float32))
    return np.asarray(coarse.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))


KINDS: dict[str, Callable[[Material, np.random.Generator], np.ndarray]] = {
    "scribbles": scribble,
    "touching characters": touching,
    "cut-outs": cut_out,
    "punctuation": punctuation,
    "shapes": shape,
    "stained paper": stained_paper,
}


def _draw(strokes: list[np.ndarray], rng: np.random.Generator, is_filled: bool = False) -> np.ndarray:
    """Strokes, float [points, 2] each, drawn with one pen in the middle of a sheet."""
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = rng.uniform(0.55, 0.8) * _SIDE / (high - low).max()
    sheet = Image.new("L", (_SIDE, _SIDE), _PAPER)
    pen = ImageDraw.Draw(sheet)
    width = int(rng.integers(6, 22))
    for stroke in strokes:
        placed = [tuple(point) for point in (stroke - (low + high) / 2) * scale + _SIDE / 2]
        if is_filled:
            pen.polygon(placed, fill=_INK)
        pen.line(placed, fill=_INK, width=width, joint="curve")
        for x, y in (placed[0], placed[-1]):
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=_INK)
    return np.asarray(sheet)


def _smooth(points: np.ndarray) -> np.ndarray:
    """A smooth curve through the points."""
    return CubicSpline(np.arange(len(points)), points)(np.linspace(0, len(points) - 1, 12 * len(points)))


def _unsteady(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same line, drawn by a hand that trembles a little."""
    lengths = np.cumsum(np.hypot(*np.diff(points, axis=0, prepend=points[:1]).T))
    at = np.linspace(0, lengths[-1], 80)
    dense = np.stack([np.interp(at, lengths, column) for column in points.T], axis=1)
    return dense + gaussian_filter(rng.normal(0, 0.1, dense.shape), (4, 0))


def _closed(points: list[tuple[float, float]]) -> np.ndarray:
    return np.array([*points, points[0]], float)


def _ring(corners: int, radii: tuple[float, ...], turn: float = 0.0) -> np.ndarray:
    angles = turn - math.pi / 2 + 2 * math.pi * np.arange(corners) / corners
    reach = np.resize(radii, corners)
    return _closed([(r * math.cos(a), r * math.sin(a)) for r, a in zip(reach, angles, strict=True)])


def _square(rng: np.random.Generator) -> list[np.ndarray]:
    return [_ring(4, (1.0,), math.pi / 4 * rng.integers(2))]


def _house(rng: np.random.Generator) -> list[np.ndarray]:
    return [_closed([(-1, 1), (-1, -0.3), (0, -1.2), (1, -0.3), (1, 1)]), np.array([(-1, -0.3), (1, -0.3)], float)]


def _triangle(rng: np.random.Generator) -> list[np.ndarray]:
    return [_ring(3, (1.0,), math.pi * rng.integers(2))]


def _star(rng: np.random.Generator) -> list[np.ndarray]:
    corners = int(rng.integers(5, 8))
    return [_ring(2 * corners, (1.0, rng.uniform(0.35, 0.55)))]


def _arrow(rng: np.random.Generator) -> list[np.ndarray]:
    turn = math.pi / 2 * rng.integers(4)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    if rng.random() < 0.5:
        return [_closed([(-1, -0.3), (0.2, -0.3), (0.2, -0.8), (1, 0), (0.2, 0.8), (0.2, 0.3), (-1, 0.3)]) @ rotation.T]
    return [np.array(stroke, float) @ rotation.T for stroke in ([(-1, 0), (1, 0)], [(0.4, -0.6), (1, 0), (0.4, 0.6)])]


def _heart(rng: np.random.Generator) -> list[np.ndarray]:
    t = np.linspace(0, 2 * math.pi, 60)
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return [np.stack([16 * np.sin(t) ** 3, y], axis=1)]


def _zigzag(rng: np.random.Generator) -> list[np.ndarray]:
    corners = int(rng.integers(6, 11))  # with fewer it is a W, M, N or Z
    return [np.stack([np.arange(corners) * 0.5, np.arange(corners) % 2 * rng.uniform(0.8, 1.6)], axis=1)]


def _spiral(rng: np.random.Generator) -> list[np.ndarray]:
    t = np.linspace(0.1, 1, 100)
    turn = 2 * math.pi * rng.uniform(2.2, 3.5) * t * rng.choice([-1, 1])
    return [np.stack([t * np.cos(turn), t * np.sin(turn)], axis=1)]


def _grid(rng: np.random.Generator) -> list[np.ndarray]:
    ends = [[(-1, place), (1, place)] for place in (-0.5, 0, 0.5)]
    return [np.array(line, float)[:, ::order] for line in ends for order in (1, -1)]


def _crossed_square(rng: np.random.Generator) -> list[np.ndarray]:
    return [_ring(4, (1.0,), math.pi / 4), *(np.array([(-0.7, y), (0.7, -y)]) for y in (-0.7, 0.7))]


def _sun(rng: np.random.Generator) -> list[np.ndarray]:
    rays = [np.array([(math.cos(a), math.sin(a))]) * np.array([[0.65], [1.1]]) for a in np.arange(8) * math.pi / 4]
    return [_ring(40, (0.5,)), *rays]


_SHAPES: dict[str, Callable[[np.random.Generator], list[np.ndarray]]] = {
    "square": _square,
    "house": _house,
    "triangle": _triangle,
    "star": _star,
    "arrow": _arrow,
    "heart": _heart,
    "zigzag": _zigzag,
    "spiral": _spiral,
    "grid": _grid,
    "crossed square": _crossed_square,
    "sun": _sun,
}
