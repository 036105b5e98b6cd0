"""The kinds of photographs, with strengths as the world has them."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from common.photographs import surroundings
from common.photographs.files import as_jpeg, as_palette_png, as_png, as_rotated_jpeg, to_image, white_balanced
from common.photographs.sheet import Sheet, cover, draw_strokes, extent, grain, lay_out, paper

_INKS = {
    "blue": (25, 45, 150),
    "red": (185, 30, 40),
    "green": (20, 110, 60),
    "violet": (100, 35, 140),
    "orange": (220, 110, 20),
}
_PAPERS = {
    "white": (245, 245, 243),
    "cream": (243, 234, 208),
    "pale blue": (214, 228, 240),
    "pale green": (216, 236, 214),
    "pale pink": (243, 218, 222),
    "pale yellow": (246, 240, 180),
}
_RULES = {"blue": (120, 150, 205), "grey": (150, 150, 150), "pale": (205, 215, 225), "dark": (95, 100, 120)}


def photograph(character: np.ndarray, kind: str, rng: np.random.Generator, side: int | None = None) -> bytes:
    """A PNG or JPEG file with a picture of `character`, uint8 [28, 28], upright, light on dark, with some ink.

    It is dark ink on light paper, unless the kind, one of `KINDS`, says otherwise. `side` is the picture's longer side
    in pixels; without it, it is drawn too: 300 to 1,200, for `small` 1,000 to 2,000, for `tight` 40 to 300. The same
    state of `rng` gives the same bytes. Raises KeyError for another kind.
    """
    make = _KINDS[kind]
    shortest, longest = _SIDES.get(kind, (300, 1200))
    return make(character, rng, side or round(math.exp(rng.uniform(math.log(shortest), math.log(longest)))))


def _clean(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    return as_png(to_image(_written(lay_out(character, rng, side), rng)))


def _shadow(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side)
    return _taken(_written(sheet, rng) * surroundings.soft_shadow(sheet.shape, rng.uniform(0.4, 0.7), rng), rng)


def _hand_shadow(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side)
    return _taken(_written(sheet, rng) * surroundings.hand_shadow(sheet, rng.uniform(0.4, 0.7), rng), rng)


def _ruled(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side)
    distance = _millimetre(sheet, rng) * rng.uniform(8, 14)
    lines = surroundings.rules(sheet.shape, distance, rng.uniform(1, 3), rng.uniform(-2, 2), rng.uniform(0, distance))
    return _taken(_written_over(lines, sheet, rng), rng)


def _squared(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side)
    distance = _millimetre(sheet, rng) * 5
    first = (rng.uniform(0, distance), rng.uniform(0, distance))
    lines = surroundings.squares(sheet.shape, distance, rng.uniform(1, 3), rng.uniform(-2, 2), first)
    return _taken(_written_over(lines, sheet, rng), rng)


def _frame(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side, (0.2, 0.5), 0.17)
    picture = _written(sheet, rng)
    widths = (rng.uniform(0.03, 0.15, 4) * min(sheet.shape)).astype(int).tolist()
    surroundings.frame(picture, widths, rng.uniform(5, 80), rng)
    return as_png(to_image(picture))


def _strip(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side, (0.2, 0.55), 0.12)
    picture = _written(sheet, rng)
    widths = (rng.uniform(0.02, 0.1, 4) * min(sheet.shape)).astype(int)
    widths[rng.permutation(4)[rng.integers(1, 3) :]] = 0
    surroundings.frame(picture, widths.tolist(), rng.uniform(5, 90), rng)
    return as_png(to_image(picture))


def _speck(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side)
    picture = _written(sheet, rng)
    surroundings.specks(picture, sheet, rng)
    return as_png(to_image(picture))


def _noisy(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side)
    picture = _written(sheet, rng) + rng.uniform(5, 15) * grain(sheet.shape, rng)[..., None]
    return as_jpeg(white_balanced(to_image(picture), rng), int(rng.integers(30, 71)))


def _small(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    return _taken(_written(lay_out(character, rng, side, (0.045, 0.1), 0.05), rng), rng)


def _tight(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    strokes = draw_strokes(character, side - 4, rng)
    strokes = strokes[extent(strokes, 0.1)]
    margins = rng.integers(0, 3, 4).tolist()
    height, width = strokes.shape
    sheet = Sheet(height + margins[0] + margins[1], width + margins[2] + margins[3], strokes, margins[0], margins[2])
    return as_png(to_image(_written(sheet, rng)))


def _coloured(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side)
    hue = np.array(rng.permutation(list(_PAPERS.values()))[0], np.float32)
    picture = paper(sheet.shape, hue.max(), rng) * (hue / hue.max())
    ink = np.array(rng.permutation(list(_INKS.values()))[0], np.float32)
    cover(picture, sheet.place, sheet.strokes, ink + rng.uniform(0, 40))
    return _taken(picture, rng)


def _pencil(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side)
    level = rng.uniform(200, 250)
    picture = paper(sheet.shape, level, rng)
    rough = np.clip(1 + 0.3 * grain(sheet.strokes.shape, rng), 0.3, 1.4)
    cover(picture, sheet.place, sheet.strokes * rough, level - rng.uniform(30, 90))
    return _taken(picture, rng)


def _chalk(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side)
    picture = paper(sheet.shape, rng.uniform(25, 80), rng)
    smudges = np.maximum(0, surroundings.clouds(sheet.shape, int(rng.integers(4, 9)), rng))
    picture += (rng.uniform(5, 25) * smudges)[..., None]
    rough = np.clip(1 + 0.3 * grain(sheet.strokes.shape, rng), 0.4, 1)
    cover(picture, sheet.place, sheet.strokes * rough, rng.uniform(180, 245))
    return _taken(picture, rng)


def _exif(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    image = white_balanced(to_image(_written(lay_out(character, rng, side), rng)), rng)
    return as_rotated_jpeg(image, int(rng.integers(75, 96)), int(rng.integers(2, 9)))


def _alpha_white(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side)
    pixels = np.zeros((*sheet.shape, 4), np.uint8)
    part = pixels[sheet.place]
    part[..., 3] = sheet.strokes * 255
    colour = (255, 255, 255) if rng.random() < 0.5 else rng.permutation(list(_INKS.values()))[0]
    part[part[..., 3] > 0, :3] = colour
    return as_png(Image.fromarray(pixels))


def _palette(character: np.ndarray, rng: np.random.Generator, side: int) -> bytes:
    sheet = lay_out(character, rng, side)
    bits = int(rng.choice([1, 2, 4, 8]))
    grey = np.full((*sheet.shape, 1), 255, np.float32)
    cover(grey, sheet.place, sheet.strokes, 0)
    ramp = np.linspace(0, 255, 2**bits).round().astype(np.uint8)
    if rng.random() < 0.5:
        return as_palette_png(to_image(grey), bits, np.repeat(ramp[:, None], 3, 1), None)
    ink = np.uint8([(0, 0, 0), (255, 255, 255), *_INKS.values()])[rng.integers(2 + len(_INKS))]
    colours = np.where(ramp[:, None] < 255, ink, np.uint8(0))
    return as_palette_png(to_image(grey), bits, colours, 255 - ramp)


def _written(sheet: Sheet, rng: np.random.Generator) -> np.ndarray:
    """The character in dark ink on plain paper: float32 [height, width, 1]."""
    picture = paper(sheet.shape, rng.uniform(200, 250), rng)
    cover(picture, sheet.place, sheet.strokes, rng.uniform(10, 90))
    return picture


def _written_over(lines: np.ndarray, sheet: Sheet, rng: np.random.Generator) -> np.ndarray:
    """The character in dark ink over printed lines: float32 [height, width, 3]."""
    level = rng.uniform(200, 250)
    picture = np.repeat(paper(sheet.shape, level, rng), 3, 2)
    colour = np.array(rng.permutation(list(_RULES.values()))[0], np.float32)
    cover(picture, (slice(None), slice(None)), lines, colour * (level / 250) + rng.uniform(-15, 5))
    cover(picture, sheet.place, sheet.strokes, rng.uniform(10, 90))
    return picture


def _taken(picture: np.ndarray, rng: np.random.Generator) -> bytes:
    """A camera's JPEG file."""
    return as_jpeg(white_balanced(to_image(picture), rng), int(rng.integers(75, 96)))


def _millimetre(sheet: Sheet, rng: np.random.Generator) -> float:
    """In pixels, if the character is 5 to 12 mm large."""
    return max(sheet.strokes.shape) / rng.uniform(5, 12)


_KINDS: dict[str, Callable[[np.ndarray, np.random.Generator, int], bytes]] = {
    "clean": _clean,
    "shadow": _shadow,
    "hand_shadow": _hand_shadow,
    "ruled": _ruled,
    "squared": _squared,
    "frame": _frame,
    "strip": _strip,
    "speck": _speck,
    "noisy": _noisy,
    "small": _small,
    "tight": _tight,
    "coloured": _coloured,
    "pencil": _pencil,
    "chalk": _chalk,
    "exif": _exif,
    "alpha_white": _alpha_white,
    "palette": _palette,
}
_SIDES = {"small": (1000, 2000), "tight": (40, 300)}
KINDS: tuple[str, ...] = tuple(_KINDS)
