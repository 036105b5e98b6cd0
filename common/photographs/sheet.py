"""A character drawn large, and the sheet that it stands on."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

_FAINTEST = 0.01  # of full ink; cutting off what is paler leaves no edge to be seen
_LARGEST = 1.25  # times the size asked for: as large as a character gets with its faint ends
_FINE = 4  # times 28 pixels: enough to smooth away the small image's pixels, and still cheap
_SMOOTHING = 0.35  # pixels of the small image
_TILE = 128  # pixels; grain repeats after so many, unnoticed, which saves most of its cost


@dataclass(frozen=True)
class Sheet:
    """A picture's height and width in pixels, and the strokes whose upper left corner is at `top` and `left`.

    Strokes are float32 [h, w], 1 where the ink covers the paper.
    """

    height: int
    width: int
    strokes: np.ndarray
    top: int
    left: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def place(self) -> tuple[slice, slice]:
        """The rows and columns of the character."""
        height, width = self.strokes.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def draw_strokes(character: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """A character, uint8 [28, 28], light on dark, as strokes, float32 [h, w], cropped to what can be seen of them.

    The longer side of what is inked by half is `size` pixels, or less where much is fainter. Half of the drawings keep
    the soft edges of the small image, the other half have a pen's sharp ones; all differ a little in thickness.
    """
    rows, columns = extent(character, 0)
    scale = size * min(_LARGEST / _longer_side(character, 0), 1 / _longer_side(character, np.max(character) / 2))
    smooth = Image.fromarray(character).resize((28 * _FINE, 28 * _FINE), Image.Resampling.BICUBIC)
    smooth = smooth.filter(ImageFilter.GaussianBlur(_SMOOTHING * _FINE))
    box = (max(columns.start - 1, 0), max(rows.start - 1, 0), min(columns.stop + 1, 28), min(rows.stop + 1, 28))
    width, height = (max(1, round((high - low) * scale)) for low, high in (box[::2], box[1::2]))
    large = smooth.resize((width, height), Image.Resampling.BICUBIC, [edge * _FINE for edge in box])
    strokes = np.asarray(large, np.float32) / 255
    if rng.random() < 0.5:
        strokes **= np.float32(np.exp(rng.uniform(-0.2, 0.2)))
    else:
        steepness = np.clip(scale * rng.uniform(0.5, 1.5), 1.5, 12)
        strokes = np.clip((strokes - rng.uniform(0.38, 0.46)) * np.float32(steepness) + 0.5, 0, 1)
    return strokes[extent(strokes, _FAINTEST)]


def _longer_side(strokes: np.ndarray, over: float) -> int:
    return max(part.stop - part.start for part in extent(strokes, over))


def extent(strokes: np.ndarray, over: float) -> tuple[slice, slice]:
    """The rows and columns with values over `over`."""
    ends = []
    for axis in (1, 0):
        inked = np.nonzero(np.max(strokes, axis) > over)[0]
        ends.append(slice(int(inked[0]), int(inked[-1]) + 1))
    return ends[0], ends[1]


def lay_out(
    character: np.ndarray,
    rng: np.random.Generator,
    side: int,
    share: tuple[float, float] = (0.2, 0.6),
    margin: float = 0.02,
) -> Sheet:
    """A sheet whose longer side is `side` pixels, with the character anywhere on it.

    The character's size is a `share` of the shorter side, between its two ends; a `margin`, also a share of the shorter
    side, stays free along the edges.
    """
    shorter = round(side * rng.uniform(0.65, 1))
    height, width = (side, shorter) if rng.random() < 0.5 else (shorter, side)
    strokes = draw_strokes(character, shorter * rng.uniform(*share), rng)
    edge = round(margin * shorter)
    top, left = (
        int(rng.integers(edge, max(edge, whole - edge - part) + 1))
        for whole, part in zip((height, width), strokes.shape, strict=True)
    )
    return Sheet(height, width, strokes, top, left)


def paper(shape: tuple[int, int], level: float, rng: np.random.Generator) -> np.ndarray:
    """Blank paper of brightness `level` of 255, with slight grain and gradient: float32 [height, width, 1]."""
    down, across = rng.uniform(-0.03, 0.03, 2) * level
    blank = grain(shape, rng) * np.float32(rng.uniform(0.3, 2))
    blank += np.linspace(level - down, level + down, shape[0], dtype=np.float32)[:, None]
    blank += np.linspace(-across, across, shape[1], dtype=np.float32)
    return blank[..., None]


def grain(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise of standard deviation 1: float32 [height, width]."""
    tile = rng.standard_normal((_TILE, _TILE), np.float32)
    return np.tile(tile, [-(-length // _TILE) for length in shape])[: shape[0], : shape[1]]


def cover(picture: np.ndarray, place: tuple[slice, slice], opacity: np.ndarray, colour: np.ndarray | float) -> None:
    """Lays `colour`, of as many channels as the picture, over its `place`, as far as `opacity` [h, w] covers it."""
    part = picture[place]
    part += opacity[..., None] * (np.asarray(colour, np.float32) - part)
