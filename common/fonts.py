"""Text on pictures, in any script: by fonts that have its characters, or else by their code points, as `U+3042`.

Matplotlib's DejaVu Sans has the alphabets of Europe and some more, Noto Sans CJK the scripts of East Asia; what neither
has is looked for in the fonts of the machine.
"""

import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont, features

_CJK = "noto_cjk_sans_jp_regular"
_BEFORE_A_LONE_MARK = "◌"
_SHARE_ON_THE_LEFT = {"l": 0, "m": 0.5, "r": 1}
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)
_JOINER = "\u200d"


def legible(text: str) -> str:
    """`text` with the code point in place of each character that no font has, so that none becomes a box."""
    return "".join(part for part, _ in _runs(text)).strip()


def families(text: str) -> list[str]:
    """The names of the fonts that have the characters of `text`, for Matplotlib."""
    from matplotlib.font_manager import FontProperties, fontManager

    paths = dict.fromkeys([_dejavu(), *(path for _, path in _runs(text))])
    known = {font.fname for font in fontManager.ttflist}
    for path in paths.keys() - known:
        fontManager.addfont(path)
    return [FontProperties(fname=path).get_name() for path in paths]


def length(text: str, size: int) -> float:
    """The width of a written text, in pixels."""
    return sum(font.getlength(part, **_from_left()) for part, font in _fonts(text, size))


def write(
    pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size: int, fill: str | int, anchor: str = "la"
) -> None:
    """Writes a line of text; `anchor` is one of Pillow's: `l`, `m` or `r`, and `a` or `m`."""
    ascent, descent = ImageFont.truetype(_dejavu(), size).getmetrics()
    left = place[0] - _SHARE_ON_THE_LEFT[anchor[0]] * length(text, size)
    baseline = place[1] + (ascent if anchor[1] == "a" else (ascent - descent) / 2)
    for part, font in _fonts(text, size):
        pen.text((left, baseline), part, fill, font, anchor="ls", **_from_left())
        left += font.getlength(part, **_from_left())


def wrap(text: str, size: int, width: float) -> list[str]:
    """The text in lines of at most `width` pixels, divided between words, and within those that are wider."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if length(longer, size) <= width:
            lines[-1] = longer
            continue
        lines += [""] if lines[-1] else []
        for cluster in _clusters(word):
            if lines[-1] and length(lines[-1] + cluster, size) > width:
                lines.append("")
            lines[-1] += cluster
    return lines


def _fonts(text: str, size: int) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    return [(part, ImageFont.truetype(path, size)) for part, path in _runs(text)]


def _runs(text: str) -> list[tuple[str, str]]:
    """The parts of a text that have one font each, and its path."""
    drawn = map(_drawn, _clusters(text))
    return [("".join(part for part, _ in parts), path) for path, parts in groupby(drawn, key=lambda one: one[1])]


def _clusters(text: str) -> Iterator[str]:
    """The characters of a text, each with the marks that belong to it."""
    cluster = ""
    for character in unicodedata.normalize("NFC", text):
        belongs = unicodedata.category(character).startswith("M") or character == _JOINER
        if cluster and cluster[-1] != _JOINER and (not belongs or cluster.isspace()):
            yield cluster
            cluster = ""
        cluster += _BEFORE_A_LONE_MARK + character if belongs and not cluster else character
    if cluster:
        yield cluster


@cache
def _drawn(cluster: str) -> tuple[str, str]:
    """What is drawn of a cluster, and the path of the font that has it."""
    visible = {ord(character) for character in cluster if not _is_invisible(character)}
    for path in _paths():
        if visible <= (known := _characters_of(path)):
            return "".join(one for one in cluster if ord(one) in known or not _is_invisible(one)), path
    return f" {' '.join(f'U+{code:04X}' for code in map(ord, cluster) if code in visible)} ", _dejavu()


def _is_invisible(character: str) -> bool:
    """Whether it only changes how others are drawn; a font that lacks it would draw a box."""
    return unicodedata.category(character) == "Cf" or ord(character) in _VARIATION_SELECTORS


def _paths() -> Iterator[str]:
    """The fonts in the order in which they are asked; those of the machine are only listed if they are needed."""
    yield _dejavu()
    if installed := find_spec(_CJK):
        yield from map(str, Path(installed.origin).parent.glob("*.otf"))
    yield from _of_this_machine()


@cache
def _dejavu() -> str:
    from matplotlib import get_data_path

    return f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf"


@cache
def _of_this_machine() -> list[str]:
    """Regular ones first. Matplotlib's own others are for formulas, and a last resort has boxes for all characters."""
    from matplotlib import get_data_path
    from matplotlib.font_manager import fontManager

    fonts = [
        font
        for font in fontManager.ttflist
        if not font.fname.startswith(get_data_path())
        and not any(name in font.name.lower().replace(" ", "") for name in ("lastresort", "coloremoji"))
    ]
    return [one.fname for one in sorted(fonts, key=lambda one: (one.style != "normal", one.weight != 400, one.fname))]


@cache
def _characters_of(path: str) -> frozenset[int]:
    """The code points that a font has; none if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        ImageFont.truetype(path, 12)
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@cache
def _from_left() -> dict[str, str]:
    """So that a number stands before a name that is written from right to left; only one of Pillow's layouts can."""
    return {"direction": "ltr"} if features.check("raqm") else {}
