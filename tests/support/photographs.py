"""Harder photographs than people usually take, pictures that are no character's, and a corpus of all there are."""

import io
import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from common.photographs import KINDS, photograph, surroundings
from common.photographs.files import as_jpeg, as_png, to_image, white_balanced
from common.photographs.sheet import Sheet, cover, draw_strokes, grain, lay_out, paper
from preprocess.catalogue import find
from preprocess.sources.synthetic import draw_split
from tests.support.picture_files import FORMS

_EVERYWHERE = (slice(None), slice(None))


def hostile(count: int, seed: int, characters: np.ndarray | None = None) -> list[tuple[str, bytes]]:
    """`count` names and files that spread evenly over all of `KINDS`, `HARD`, `FORMS` and `REFUSED`.

    A name is the kind, a hyphen and a number. The characters, uint8 [N, 28, 28], upright and light on dark, are taken
    at random; without any, they are synthetic ones. The same arguments give the same bytes.
    """
    if characters is None:
        characters = _synthetic_characters()
    makers = (
        {kind: partial(photograph, kind=kind) for kind in KINDS}
        | {kind: partial(hard_photograph, kind=kind) for kind in HARD}
        | {form: partial(in_form, form=form) for form in FORMS}
    )
    names = [*makers, *REFUSED]
    corpus = []
    for number in range(count):
        name = names[number * len(names) // count]
        rng = np.random.default_rng([seed, number])
        some = characters[rng.integers(len(characters), size=12)]
        file = REFUSED[name](some, rng) if name in REFUSED else makers[name](some[0], rng=rng)
        corpus.append((f"{name}-{number}", file))
    return corpus


@cache
def _synthetic_characters() -> np.ndarray:
    return draw_split(find("synthetic/byclass"), "test", 1, seed=0, workers=1)[0]


def hard_photograph(character: np.ndarray, kind: str, rng: np.random.Generator) -> bytes:
    """A PNG or JPEG file of `character`, uint8 [28, 28], upright and light on dark, of one of the kinds `HARD`."""
    return HARD[kind](character, rng)


def in_form(character: np.ndarray, form: str, rng: np.random.Generator) -> bytes:
    """A plain picture of `character`, uint8 [28, 28], in one of the `FORMS`."""
    plain = Image.open(io.BytesIO(photograph(character, "clean", rng, 320))).convert("RGB")
    return FORMS[form](plain, rng)


def _side(rng: np.random.Generator) -> int:
    return int(rng.integers(300, 801))


def _jpeg(picture: np.ndarray, rng: np.random.Generator) -> bytes:
    return as_jpeg(white_balanced(to_image(picture), rng), int(rng.integers(75, 96)))


def _dark_on_light(sheet: Sheet, rng: np.random.Generator) -> np.ndarray:
    picture = paper(sheet.shape, rng.uniform(200, 250), rng)
    cover(picture, sheet.place, sheet.strokes, rng.uniform(10, 90))
    return picture


def _stroke_width(strokes: np.ndarray) -> float:
    """Twice the area by the length of the outline, in pixels."""
    outline = sum(np.abs(np.diff(strokes, axis=axis, prepend=0, append=0)).sum() for axis in (0, 1))
    return float(2 * strokes.sum() / outline * math.sqrt(2))


def _pen_ruled(character: np.ndarray, rng: np.random.Generator) -> bytes:
    """A thin pen, and rules as dark, half as thick, turned by up to 4 degrees."""
    sheet = lay_out(character, rng, _side(rng))
    strokes = np.clip((gaussian_filter(sheet.strokes, 1) - rng.uniform(0.6, 0.75)) * 8 + 0.5, 0, 1).astype(np.float32)
    level, ink = rng.uniform(200, 250), rng.uniform(30, 90)
    distance = max(sheet.strokes.shape) / rng.uniform(5, 12) * rng.uniform(8, 14)
    thickness = np.clip(_stroke_width(strokes) / 2, 1, 4)
    lines = surroundings.rules(sheet.shape, distance, thickness, rng.uniform(-4, 4), rng.uniform(0, distance))
    picture = paper(sheet.shape, level, rng)
    cover(picture, _EVERYWHERE, lines, ink)
    cover(picture, sheet.place, strokes, ink)
    return _jpeg(picture, rng)


def _squares(sheet: Sheet, degrees: float, rng: np.random.Generator) -> np.ndarray:
    distance = max(sheet.strokes.shape) / rng.uniform(5, 12) * 5
    first = (rng.uniform(0, distance), rng.uniform(0, distance))
    return surroundings.squares(sheet.shape, distance, rng.uniform(1, 3), degrees, first)


def _squared_turned(character: np.ndarray, rng: np.random.Generator) -> bytes:
    """Squares turned by 2 to 5 degrees either way."""
    sheet = lay_out(character, rng, _side(rng))
    picture = paper(sheet.shape, rng.uniform(200, 250), rng)
    degrees = rng.uniform(2, 5) * rng.choice([-1, 1])
    cover(picture, _EVERYWHERE, _squares(sheet, degrees, rng), rng.uniform(110, 180))
    cover(picture, sheet.place, sheet.strokes, rng.uniform(10, 90))
    return _jpeg(picture, rng)


def _pencil_squared(character: np.ndarray, rng: np.random.Generator) -> bytes:
    """A pencil, and squares as faint."""
    sheet = lay_out(character, rng, _side(rng))
    level = rng.uniform(200, 250)
    grey = level - rng.uniform(40, 90)
    picture = paper(sheet.shape, level, rng)
    cover(picture, _EVERYWHERE, _squares(sheet, rng.uniform(-2, 2), rng), grey)
    rough = np.clip(1 + 0.3 * grain(sheet.strokes.shape, rng), 0.3, 1.4)
    cover(picture, sheet.place, sheet.strokes * rough, grey)
    return _jpeg(picture, rng)


def _dark_hand(character: np.ndarray, rng: np.random.Generator) -> bytes:
    """A hand's shadow down to 25 to 40 % of the paper's brightness."""
    sheet = lay_out(character, rng, _side(rng))
    picture = paper(sheet.shape, rng.uniform(200, 250), rng)
    cover(picture, sheet.place, sheet.strokes, rng.uniform(10, 50))
    return _jpeg(picture * surroundings.hand_shadow(sheet, rng.uniform(0.25, 0.4), rng), rng)


def _chalk_frame(character: np.ndarray, rng: np.random.Generator) -> bytes:
    """Chalk on a board with its wooden frame."""
    sheet = lay_out(character, rng, _side(rng), (0.2, 0.5), 0.17)
    picture = paper(sheet.shape, rng.uniform(25, 70), rng)
    rough = np.clip(1 + 0.3 * grain(sheet.strokes.shape, rng), 0.4, 1)
    cover(picture, sheet.place, sheet.strokes * rough, rng.uniform(180, 245))
    widths = (rng.uniform(0.03, 0.15, 4) * min(sheet.shape)).astype(int).tolist()
    surroundings.frame(picture, widths, rng.uniform(90, 200), rng)
    return _jpeg(picture, rng)


def _isoluminant(character: np.ndarray, rng: np.random.Generator) -> bytes:
    """Ink and paper of different hue, but of the same grey."""
    pairs = [((200, 120, 60), (60, 165, 190)), ((215, 90, 110), (90, 150, 90)), ((190, 140, 40), (120, 140, 255))]
    ink, sheet_colour = (np.array(colour, np.float32) for colour in pairs[rng.integers(len(pairs))])
    sheet = lay_out(character, rng, _side(rng))
    grey = np.array([0.299, 0.587, 0.114], np.float32)
    ink += grey @ sheet_colour - grey @ ink
    picture = paper(sheet.shape, 0, rng) + sheet_colour
    cover(picture, sheet.place, sheet.strokes, ink)
    return as_png(to_image(picture))


def _bleed(character: np.ndarray, rng: np.random.Generator) -> bytes:
    """Writing on the back shows through: several of the character's mirror images."""
    sheet = lay_out(character, rng, _side(rng))
    picture = paper(sheet.shape, rng.uniform(200, 250), rng)
    soft = gaussian_filter(np.fliplr(sheet.strokes), max(1, min(sheet.shape) / 150))
    back = np.zeros(sheet.shape, np.float32)
    for _ in range(rng.integers(3, 7)):
        top, left = (int(rng.integers(whole - part // 2)) for whole, part in zip(sheet.shape, soft.shape, strict=True))
        onto = back[top : top + soft.shape[0], left : left + soft.shape[1]]
        part = soft[: onto.shape[0], : onto.shape[1]]
        np.maximum(onto, part, out=onto)
    cover(picture, _EVERYWHERE, back * rng.uniform(0.1, 0.3), 60)
    cover(picture, sheet.place, sheet.strokes, rng.uniform(10, 70))
    return _jpeg(picture, rng)


def _crumpled(character: np.ndarray, rng: np.random.Generator) -> bytes:
    """Folds: each has a bright and a dark side, and a thin crease."""
    sheet = lay_out(character, rng, _side(rng))
    height, width = sheet.shape
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    light = np.ones(sheet.shape, np.float32)
    for _ in range(rng.integers(5, 12)):
        angle, row, column = rng.uniform((0, 0, 0), (2 * math.pi, height, width)).astype(np.float32)
        away = ((y - row) * np.sin(angle) + (x - column) * np.cos(angle)) / np.float32(min(sheet.shape))
        light += rng.uniform(0.03, 0.1) * np.sign(away) * np.exp(-np.abs(away) / rng.uniform(0.05, 0.3))
        light -= rng.uniform(0, 0.08) * np.exp(-((away / 0.006) ** 2))
    return _jpeg(_dark_on_light(sheet, rng) * np.clip(light, 0.4, 1.2)[..., None], rng)


def _lowres(character: np.ndarray, rng: np.random.Generator) -> bytes:
    """A thumbnail: 48 to 110 pixels, with JPEG's blocks."""
    sheet = lay_out(character, rng, int(rng.integers(48, 111)), (0.3, 0.6))
    return as_jpeg(white_balanced(to_image(_dark_on_light(sheet, rng)), rng), int(rng.integers(40, 80)))


def _motion(character: np.ndarray, rng: np.random.Generator) -> bytes:
    """Blurred along a line as long as a stroke is wide, at most."""
    sheet = lay_out(character, rng, _side(rng), (0.2, 0.5), 0.1)
    sharp = _dark_on_light(sheet, rng)
    angle, length = rng.uniform(0, math.pi), _stroke_width(sheet.strokes) * rng.uniform(0.5, 1)
    steps = np.linspace(-length / 2, length / 2, 12)
    shifts = [(round(step * math.sin(angle)), round(step * math.cos(angle))) for step in steps]
    return _jpeg(sum(np.roll(sharp, shift, (0, 1)) for shift in shifts) / len(shifts), rng)


def _lined_shadow(character: np.ndarray, rng: np.random.Generator) -> bytes:
    """Ruled paper in a hand's shadow."""
    sheet = lay_out(character, rng, _side(rng))
    distance = max(sheet.strokes.shape) / rng.uniform(5, 12) * rng.uniform(8, 14)
    lines = surroundings.rules(sheet.shape, distance, rng.uniform(1, 3), rng.uniform(-2, 2), rng.uniform(0, distance))
    picture = paper(sheet.shape, rng.uniform(200, 250), rng)
    cover(picture, _EVERYWHERE, lines, rng.uniform(90, 190))
    cover(picture, sheet.place, sheet.strokes, rng.uniform(10, 80))
    return _jpeg(picture * surroundings.hand_shadow(sheet, rng.uniform(0.4, 0.7), rng), rng)


def _finger(character: np.ndarray, rng: np.random.Generator) -> bytes:
    """A finger that holds the paper reaches in from the edge that is farthest from the character."""
    sheet = lay_out(character, rng, _side(rng), (0.2, 0.45), 0.1)
    picture = np.repeat(_dark_on_light(sheet, rng), 3, 2)
    rows, columns = sheet.place
    free = {0: sheet.width - columns.stop, 1: sheet.height - rows.stop, 2: columns.start, 3: rows.start}
    turn = max(free, key=free.get)
    reach = free[turn] * rng.uniform(0.3, 0.8)
    along = rng.uniform(0.1, 0.9) * np.array(sheet.shape)
    tip = [(along[0], sheet.width - reach), (sheet.height - reach, along[1]), (along[0], reach), (reach, along[1])][
        turn
    ]
    finger = surroundings.hand(
        sheet.shape, tip, turn * math.pi / 2 + rng.uniform(-0.2, 0.2), rng.uniform(0.08, 0.14), rng
    )
    skin = np.array([(225, 172, 145), (190, 130, 100), (110, 70, 50)][rng.integers(3)], np.float32)
    cover(picture, _EVERYWHERE, finger, skin)
    return _jpeg(picture, rng)


def _twelve_megapixels(character: np.ndarray, rng: np.random.Generator) -> bytes:
    return photograph(character, ("shadow", "small")[rng.integers(2)], rng, side=4000)


HARD: dict[str, Callable[[np.ndarray, np.random.Generator], bytes]] = {
    "pen_ruled": _pen_ruled,
    "squared_turned": _squared_turned,
    "pencil_squared": _pencil_squared,
    "dark_hand": _dark_hand,
    "chalk_frame": _chalk_frame,
    "isoluminant": _isoluminant,
    "bleed": _bleed,
    "crumpled": _crumpled,
    "lowres": _lowres,
    "motion": _motion,
    "lined_shadow": _lined_shadow,
    "finger": _finger,
    "twelve_megapixels": _twelve_megapixels,
}
"""Kinds that are harder than those of `KINDS`."""


def _blank(rng: np.random.Generator, level: float = 230) -> np.ndarray:
    side = _side(rng)
    return paper((side, round(side * rng.uniform(0.65, 1))), level, rng)


def _several_characters(characters: np.ndarray, rng: np.random.Generator) -> bytes:
    """Two to four in a row, apart from each other."""
    size = rng.uniform(60, 200)
    drawn = [draw_strokes(character, size, rng) for character in characters[: rng.integers(2, 5)]]
    gap = round(size * rng.uniform(0.25, 0.6))
    height = max(strokes.shape[0] for strokes in drawn)
    picture = paper((2 * height, sum(strokes.shape[1] + gap for strokes in drawn) + gap), 230, rng)
    left = gap
    for strokes in drawn:
        top = round(1.5 * height) - strokes.shape[0]
        cover(picture, (slice(top, top + strokes.shape[0]), slice(left, left + strokes.shape[1])), strokes, 40)
        left += strokes.shape[1] + gap
    return _jpeg(picture, rng)


def _printed_line(characters: np.ndarray, rng: np.random.Generator) -> bytes:
    lines = ("The quick brown fox", "jumps over the lazy dog", "Total: 1,204.50 EUR", "Name and address", "Chapter 12")
    text, size = lines[rng.integers(len(lines))], float(rng.uniform(16, 48))
    font = ImageFont.load_default(size)
    left, top, right, bottom = map(round, font.getbbox(text))
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font)
    picture = paper((round(mask.height + 2 * size), round(mask.width + 2 * size)), rng.uniform(200, 250), rng)
    place = (slice(round(size), round(size) + mask.height), slice(round(size), round(size) + mask.width))
    cover(picture, place, np.asarray(mask, np.float32) / 255, rng.uniform(10, 90))
    return _jpeg(picture, rng)


def _texture(characters: np.ndarray, rng: np.random.Generator) -> bytes:
    """Stone, weave or wood: patches, a lattice or streaks all over the picture."""
    shape = _blank(rng).shape[:2]
    sort = rng.integers(3)
    if sort == 0:
        pattern = gaussian_filter(rng.standard_normal(shape, np.float32), rng.uniform(1, 8))
        pattern /= 2 * pattern.std()
    elif sort == 1:
        y, x = np.ogrid[: shape[0], : shape[1]]
        waves = rng.uniform(0.1, 0.6, 2)
        pattern = np.sin(y * waves[0]) * np.sin(x * waves[1])
    else:
        streaks = rng.uniform(-1, 1, (int(rng.integers(15, 50)), 3)).astype(np.float32)
        pattern = surroundings.enlarge(streaks, shape)
    picture = 150 + rng.uniform(30, 80) * pattern + 5 * grain(shape, rng)
    return _jpeg(picture[..., None], rng)


def _stained_paper(characters: np.ndarray, rng: np.random.Generator) -> bytes:
    """Blank paper with one to four pale stains, and perhaps a shadow."""
    picture = _blank(rng, rng.uniform(200, 250))
    height, width = picture.shape[:2]
    y, x = np.ogrid[:height, :width]
    for _ in range(rng.integers(1, 5)):
        row, column, radius = rng.uniform((0, 0, 0.05), (height, width, 0.25)) * (1, 1, min(height, width))
        ragged = radius * (1 + 0.5 * surroundings.clouds((height, width), 8, rng))
        inside = np.clip((ragged - np.hypot(y - row, x - column)) / (radius * rng.uniform(0.2, 0.9)), 0, 1)
        cover(picture, _EVERYWHERE, (inside * rng.uniform(0.05, 0.2)).astype(np.float32), 120)
    if rng.random() < 0.5:
        picture = picture * surroundings.soft_shadow((height, width), rng.uniform(0.5, 0.8), rng)
    return _jpeg(picture, rng)


def _cut_off(characters: np.ndarray, rng: np.random.Generator) -> bytes:
    """A character of which the picture's edge cuts a third to a half."""
    sheet = lay_out(characters[0], rng, _side(rng), (0.3, 0.6))
    picture = _dark_on_light(sheet, rng)
    rows, columns = sheet.place
    row, column = (part.start + round((part.stop - part.start) * rng.uniform(0.35, 0.5)) for part in (rows, columns))
    rest = [picture[row:], picture[: rows.stop - row + rows.start], picture[:, column:]][rng.integers(3)]
    return _jpeg(rest, rng)


def _too_faint(characters: np.ndarray, rng: np.random.Generator) -> bytes:
    """Ink that is 2 to 6 levels of 255 darker than its paper."""
    sheet = lay_out(characters[0], rng, _side(rng))
    picture = paper(sheet.shape, 220, rng)
    part = picture[sheet.place]
    part -= rng.uniform(2, 6) * sheet.strokes[..., None]
    return _jpeg(picture, rng)


def _nothing(characters: np.ndarray, rng: np.random.Generator) -> bytes:
    """One colour, or blank paper."""
    if rng.random() < 0.5:
        return as_png(Image.new("L", (_side(rng), _side(rng)), int(rng.integers(256))))
    return _jpeg(_blank(rng, rng.uniform(60, 250)), rng)


def _all_transparent(characters: np.ndarray, rng: np.random.Generator) -> bytes:
    """A character is in the colours, but nothing of it can be seen."""
    colours = to_image(np.repeat(_dark_on_light(lay_out(characters[0], rng, _side(rng)), rng), 3, 2))
    colours.putalpha(0)
    return as_png(colours)


REFUSED: dict[str, Callable[[np.ndarray, np.random.Generator], bytes]] = {
    "several_characters": _several_characters,
    "printed_line": _printed_line,
    "texture": _texture,
    "stained_paper": _stained_paper,
    "cut_off": _cut_off,
    "too_faint": _too_faint,
    "nothing": _nothing,
    "all_transparent": _all_transparent,
}
"""Pictures to refuse or to doubt, made from characters, uint8 [N, 28, 28]."""
