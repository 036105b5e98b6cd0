"""What is in a picture beside the character: light and shadow, printed rules, frames, dirt.

Light is float32 [height, width, 1], to multiply a picture with. All lengths are pixels.
"""

import math

import numpy as np
from PIL import Image

from common.photographs.sheet import Sheet, cover, grain

_FIELD = 256  # pixels of the longer side that light is computed at; it is enlarged to the picture's


def soft_shadow(shape: tuple[int, int], lowest: float, rng: np.random.Generator) -> np.ndarray:
    """Light that falls off across the picture, from 1 to `lowest`."""
    y, x = _grid(shape)
    angle = rng.uniform(0, 2 * math.pi)
    along = y * np.float32(math.sin(angle)) + x * np.float32(math.cos(angle))
    along = (along - along.min()) / np.ptp(along)
    start = rng.uniform(-0.2, 0.5)
    ramp = np.clip((along - start) / rng.uniform(0.3, 1), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return enlarge(1 - np.float32((1 - lowest) / ramp.max()) * ramp, shape)[..., None]


def hand_shadow(sheet: Sheet, lowest: float, rng: np.random.Generator) -> np.ndarray:
    """The shadow of a hand and its arm, whose curved, rather sharp edge crosses the character."""
    height, width = sheet.strokes.shape
    tip = (sheet.top + height * rng.uniform(0.25, 0.75), sheet.left + width * rng.uniform(0.25, 0.75))
    shade = hand(sheet.shape, tip, rng.uniform(0, 2 * math.pi), rng.uniform(0.15, 0.6), rng)
    return 1 - np.float32(1 - lowest) * shade[..., None]


def hand(
    shape: tuple[int, int], tip: tuple[float, float], angle: float, radius: float, rng: np.random.Generator
) -> np.ndarray:
    """The opacity, float32 [height, width], of a hand that reaches to `tip`, a row and a column, and its arm.

    The arm lies in the direction `angle`, from the columns' towards the rows'; the hand's `radius` is a share of the
    shape's shorter side.
    """
    y, x = _grid(shape)
    down, right, radius = np.float32([math.sin(angle), math.cos(angle), radius])
    y, x = y - (np.float32(tip[0] / min(shape)) + radius * down), x - (np.float32(tip[1] / min(shape)) + radius * right)
    arm = np.maximum(0, y * down + x * right)
    fingers = np.float32(rng.integers(3, 8))
    phase, height = rng.uniform((0, 0), (2 * math.pi, 0.06)).astype(np.float32)
    knuckles = 1 + height * np.sin(fingers * np.arctan2(y, x) + phase)
    outside = np.hypot(y - arm * down, x - arm * right) - radius * knuckles
    inside = 1 / (1 + np.exp(np.clip(outside / np.float32(rng.uniform(0.004, 0.02)), -30, 30)))
    return enlarge(inside, shape)


def _grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the field that light is computed on, in units of the picture's shorter side."""
    scale = min(1, _FIELD / max(shape))
    y, x = (np.linspace(0, length / min(shape), max(1, round(length * scale)), dtype=np.float32) for length in shape)
    return y[:, None], x


def enlarge(field: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A float32 field [h, w] resized smoothly to `shape`."""
    return np.asarray(Image.fromarray(field).resize(shape[::-1], Image.Resampling.BICUBIC))


def clouds(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth random patches, about `cells` along a side, within about -1 to 1: float32 [height, width]."""
    return enlarge(rng.uniform(-1, 1, (cells, cells)).astype(np.float32), shape)


def rules(shape: tuple[int, int], distance: float, thickness: float, degrees: float, first: float) -> np.ndarray:
    """The opacity, float32 [height, width], of parallel lines, `first` pixels below the top at its left end."""
    height, width = shape
    slope = math.tan(math.radians(degrees))
    reach = math.ceil(abs(slope) * width / distance) + 1
    starts = first + distance * np.arange(-reach, height / distance + reach)
    middles = starts[:, None] + slope * np.arange(width)
    half = thickness / 2
    rows = np.floor(middles)[..., None] + np.arange(-math.ceil(half), math.ceil(half) + 2)
    opacity = np.clip(half + 0.5 - np.abs(rows - middles[..., None]), 0, min(1, thickness))
    columns = np.broadcast_to(np.arange(width)[:, None], rows.shape)
    inside = (rows >= 0) & (rows < height)
    lines = np.zeros(shape, np.float32)
    lines[rows[inside].astype(int), columns[inside]] = opacity[inside]
    return lines


def squares(
    shape: tuple[int, int], distance: float, thickness: float, degrees: float, first: tuple[float, float]
) -> np.ndarray:
    """The opacity, float32 [height, width], of squared paper: rules both ways."""
    across = rules(shape, distance, thickness, degrees, first[0])
    down = rules(shape[::-1], distance, thickness, -degrees, first[1])
    return np.maximum(across, down.T)


def frame(picture: np.ndarray, widths: tuple[int, int, int, int], level: float, rng: np.random.Generator) -> None:
    """Darkens the `widths` pixels along the top, bottom, left and right edge to about `level`.

    A band's inner edge is slightly turned and soft; where a width is 0 there is none.
    """
    for turns, width in zip((0, 2, 3, 1), widths, strict=True):
        if width:
            seen = np.rot90(picture, turns)
            tilt = width * rng.uniform(0, 0.15) * np.linspace(0, 1, seen.shape[1])[:: rng.choice([1, -1])]
            rows = np.arange(width + 1)[:, None]
            opacity = np.clip((width - tilt - rows) / rng.uniform(0.5, 2), 0, 1).astype(np.float32)
            dark = level + 3 * grain(opacity.shape, rng)
            cover(seen, (slice(width + 1), slice(None)), opacity, dark[..., None])


def specks(picture: np.ndarray, sheet: Sheet, rng: np.random.Generator) -> None:
    """Lays one to five dark specks, 2 to 8 pixels in diameter, beside the character."""
    height, width = sheet.shape
    away = 4
    for _ in range(rng.integers(1, 6)):
        radius = rng.uniform(1, 4)
        box = 2 * math.ceil(radius) + 1
        for _ in range(20):
            top, left = int(rng.integers(height - box)), int(rng.integers(width - box))
            rows, columns = sheet.place
            beside = top > rows.stop + away or top + box < rows.start - away
            beside = beside or left > columns.stop + away or left + box < columns.start - away
            if beside:
                y, x = np.ogrid[-(box // 2) : box // 2 + 1, -(box // 2) : box // 2 + 1]
                round_spot = np.clip(radius + 0.5 - np.hypot(y * rng.uniform(0.8, 1.25), x), 0, 1).astype(np.float32)
                level = rng.uniform(10, 110)
                cover(picture, (slice(top, top + box), slice(left, left + box)), round_spot, level)
                break
