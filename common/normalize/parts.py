"""The parts of a view that hang together, and which of them are the writing."""

from types import ModuleType
from typing import NamedTuple

from common.normalize.filters import Array, histogram, quantile
from common.normalize.paper import FULL
from common.normalize.view import SIDE, Box, View

_NEAR_BORDER = 2  # pixels
_SOFT_EDGE = 3  # pixels around a part that belong to its strokes
_SHADE_APART = 7  # pixels: paler places so far from dark ones are no soft edges

USUAL, WITHOUT_RESTS, WITHOUT_SHADE = range(3)
"""Strictness: ink is all that is dark, or only what is darker than shadows beside it, or than one that it runs into."""


class Ink(NamedTuple):
    """The parts of the writing in a view."""

    darkness: Array
    """int32 [SIDE, SIDE], 0 to FULL: of the parts that were kept, with their soft edges; 0 elsewhere."""
    box: Box
    """Of the kept parts, in pixels of the view."""
    median: Array
    """The median darkness of the kept parts; 0 if there are none."""
    noise: Array
    is_several: Array
    is_cut: Array
    has_shade: Array
    """Whether much of it is paler, as a shadow is that it runs into."""
    is_block: Array
    """Whether it fills its box like a sheet of paper, of which the writing was left out."""


class _Parts(NamedTuple):
    """The parts of a mask, int32 [N] each, and where they are."""

    places: Array
    """int32 [K]: the pixels of the mask, as places in the flat view."""
    group: Array
    """int32 [K]: the number of the part that each of them belongs to."""
    area: Array
    strength: Array
    """The sum of its darkness."""
    perimeter: Array
    outer: Array
    """Its pixels in the outer tenth of the view."""
    top: Array
    left: Array
    bottom: Array
    right: Array

    def longer(self, xp: ModuleType) -> Array:
        return xp.maximum(self.bottom - self.top, self.right - self.left) + 1

    def mean(self, xp: ModuleType) -> Array:
        return self.strength // xp.maximum(self.area, 1)

    def gap(self, xp: ModuleType, number: Array) -> Array:
        """The distance of the boxes from that of one part."""
        down = xp.maximum(self.top - self.bottom[number], self.top[number] - self.bottom)
        across = xp.maximum(self.left - self.right[number], self.left[number] - self.right)
        return xp.maximum(xp.maximum(down, across), 0)

    def borders(self, shown: View, reach: int) -> tuple[Array, Array, Array, Array]:
        """Whether each part comes within `reach` pixels of the top, the left, the bottom and the right."""
        at_bottom, at_right = self.bottom >= shown.height - reach, self.right >= shown.width - reach
        return self.top < reach, self.left < reach, at_bottom, at_right


def no_ink(xp: ModuleType) -> Ink:
    nothing, no = xp.integers(0), xp.integers(0) > 1
    darkness = xp.reshape(xp.arange(SIDE * SIDE), (SIDE, SIDE)) * 0
    return Ink(darkness, Box(nothing, nothing, nothing, nothing), nothing, nothing, no, no, no, no)


def writing(xp: ModuleType, dark: Array, shown: View, noise: Array, strictness: Array) -> Ink:
    """The parts of `dark`, as `paper.darkness` gives it, that are the writing; `strictness` is `USUAL` or stricter."""
    mask = shown.inside & (dark > _threshold(xp, dark, shown, noise, strictness))
    parts = _measured(xp, mask, dark, shown)
    candidate = _without_surroundings(xp, parts, shown)
    main = xp.first_largest(parts.strength * xp.integers(candidate))
    kept = _belonging(xp, parts, candidate, main)
    of_kept = xp.sums_by(parts.places, xp.integers(xp.take(kept, parts.group)), SIDE * SIDE)
    of_kept = xp.reshape(of_kept, (SIDE, SIDE))
    # Soft edges stay, but not those of other parts.
    others = xp.largest_within(xp.integers(mask) * (1 - of_kept), 3, 3)
    soft = xp.largest_within(of_kept, 2 * _SOFT_EDGE + 1, 2 * _SOFT_EDGE + 1) * (1 - others * (1 - of_kept))
    box = _box(xp, parts, kept)
    is_several = (
        _is_several(xp, parts, candidate, main, shown) | _has_gap(xp, of_kept, box) | _is_long(xp, parts, kept, box)
    )
    # Of a shadow's rest nothing is left; of a thin character some places are.
    is_several = is_several | (strictness == WITHOUT_RESTS) & xp.any_of(candidate & ~kept)
    median = quantile(xp, histogram(xp, dark, of_kept > 0, FULL + 1), 500)
    return Ink(
        darkness=dark * soft,
        box=box,
        median=median,
        noise=noise,
        is_several=is_several,
        is_cut=_is_cut(xp, parts, main, shown),
        has_shade=_has_shade(xp, dark, of_kept),
        is_block=_is_block(xp, of_kept, box),
    )


def _threshold(xp: ModuleType, dark: Array, shown: View, noise: Array, strictness: Array) -> Array:
    """The darkness that divides ink from paper: Otsu's, within bounds; by the middle, since frames lie outside.

    A stricter one divides ink from shadows, too, if the ink is at least a third as dark as can be.
    """
    numbers = xp.arange(SIDE)
    rows = (numbers * 6 >= shown.height) & (numbers * 6 < shown.height * 5)
    columns = (numbers * 6 >= shown.width) & (numbers * 6 < shown.width * 5)
    middle = shown.inside & rows[:, None] & columns[None, :]
    least = xp.maximum(_otsu(xp, dark, middle), xp.maximum(72, noise * 9 // 2))
    in_middle = histogram(xp, dark, middle & (dark > least), FULL + 1)
    anywhere = histogram(xp, dark, shown.inside & (dark > least), FULL + 1)
    median = quantile(xp, xp.where(xp.total(in_middle) > 0, in_middle, anywhere), 500)
    usual = xp.where(median > 0, xp.minimum(xp.maximum(least, median * 35 // 100), median * 60 // 100), least)
    darkest = quantile(xp, histogram(xp, dark, shown.inside & (dark > usual), FULL + 1), 900)
    of_shade = xp.where(strictness == WITHOUT_SHADE, _otsu(xp, dark, shown.inside & (dark > usual)), 0)
    strict = xp.maximum(xp.maximum(usual, of_shade), darkest * 65 // 100)
    return xp.where((strictness != USUAL) & (darkest * 3 > FULL), strict, usual)


def _otsu(xp: ModuleType, dark: Array, mask: Array) -> Array:
    """The darkness that divides the masked places into two classes as different as can be; Otsu, 1979."""
    numbers = xp.arange(SIDE)
    counts = histogram(xp, xp.right_shift(xp.minimum(dark, FULL - 1), 3), mask, SIDE)
    below = xp.cumulated(xp.long_integers(counts))
    moment = xp.cumulated(xp.long_integers(counts * numbers))
    difference = xp.right_shift(moment[-1] * below - moment * below[-1], 6)
    between = difference * difference // xp.maximum(below * (below[-1] - below), 1)
    return (xp.first_largest(between) + 1) * 8 - 1


def _measured(xp: ModuleType, mask: Array, dark: Array, shown: View) -> _Parts:
    """There is one part at least; it is empty if the mask is."""
    labels, count = xp.components(mask)
    count = xp.maximum(count, 1)
    labels = xp.reshape(labels, (-1,))
    places = xp.places(labels)
    group = xp.take(labels, places) - 1
    y, x = places // SIDE, places % SIDE

    def of_each(values: Array) -> Array:
        return xp.sums_by(group, xp.take(xp.reshape(values, (-1,)), places), count)

    area = xp.sums_by(group, xp.ones_like(group), count)
    ones = xp.integers(mask)
    around = xp.pad(ones, (1, 1), (1, 1), 0)
    inner = ones * around[:-2, 1:-1] * around[2:, 1:-1] * around[1:-1, :-2] * around[1:-1, 2:]
    tenth = xp.maximum(shown.height, shown.width) // 10
    is_outer = (y < tenth) | (x < tenth) | (y >= shown.height - tenth) | (x >= shown.width - tenth)
    return _Parts(
        places=places,
        group=group,
        area=area,
        strength=of_each(dark),
        perimeter=area - of_each(inner),
        outer=xp.sums_by(group, xp.integers(is_outer), count),
        top=SIDE - 1 - xp.largest_by(group, SIDE - 1 - y, count),
        left=SIDE - 1 - xp.largest_by(group, SIDE - 1 - x, count),
        bottom=xp.largest_by(group, y, count),
        right=xp.largest_by(group, x, count),
    )


def _without_surroundings(xp: ModuleType, parts: _Parts, shown: View) -> Array:
    """A mask, bool [N], of the parts that are no frame, no scanner's strip, and nothing that reaches into the view."""
    is_solid = parts.area > 0
    at_top, at_left, at_bottom, at_right = parts.borders(shown, _NEAR_BORDER)
    touches = is_solid & (at_top | at_left | at_bottom | at_right)
    is_lengthy = parts.longer(xp) * 20 > xp.maximum(shown.height, shown.width) * 9
    is_frame = touches & (parts.outer * 4 > parts.area * 3) & is_lengthy
    candidate = is_solid & ~(is_frame & xp.any_of(is_solid & ~is_frame))
    # What touches the border gives way to what is free of it: easily, if it reaches in from one side like a finger.
    reaches_in = touches & ~(at_top & at_bottom) & ~(at_left & at_right)
    strength = parts.strength * xp.integers(candidate)
    strongest_free = xp.largest(strength * xp.integers(~touches))
    gives_way = touches & (strongest_free * xp.where(reaches_in, 8, 2) > xp.largest(strength))
    return candidate & ~gives_way


def _belonging(xp: ModuleType, parts: _Parts, candidate: Array, main: Array) -> Array:
    """A mask, bool [N], of the main part and what belongs to it: dots and pieces of strokes near it, but no specks."""
    stroke = 2 * parts.area[main] // xp.maximum(parts.perimeter[main], 1)  # its width
    is_near = candidate & (parts.gap(xp, main) * 2 <= parts.longer(xp)[main])
    is_large = (parts.area * 100 >= 35 * stroke * stroke) & (parts.area * 200 >= 3 * parts.area[main])
    is_main = xp.arange(xp.shape(parts.area)[0]) == main
    return (parts.area > 0) & (is_main | (is_near & is_large & _is_as_dark(xp, parts, main)))


def _is_as_dark(xp: ModuleType, parts: _Parts, main: Array) -> Array:
    mean = parts.mean(xp)
    return mean * 10 >= 6 * mean[main]


def _box(xp: ModuleType, parts: _Parts, kept: Array) -> Box:
    top, left = (xp.smallest(xp.where(kept, side, SIDE)) for side in (parts.top, parts.left))
    bottom, right = (xp.largest(side * xp.integers(kept)) for side in (parts.bottom, parts.right))
    return Box(top, left, bottom - top + 1, right - left + 1)


def _is_several(xp: ModuleType, parts: _Parts, candidate: Array, main: Array, shown: View) -> Array:
    """Whether another large part, clear of the border, is far from the main one, or there are many, as of a texture."""
    is_alike = candidate & _is_as_dark(xp, parts, main)
    at_top, at_left, at_bottom, at_right = parts.borders(shown, _NEAR_BORDER)
    is_whole = ~(at_top | at_left | at_bottom | at_right)  # what reaches in can be the rest of a shadow
    is_other = (
        is_alike & is_whole & (parts.area * 8 > parts.area[main]) & (parts.gap(xp, main) * 2 > parts.longer(xp)[main])
    )
    is_main = xp.arange(xp.shape(parts.area)[0]) == main
    num_parts = xp.total(is_alike & (parts.area * 50 > parts.area[main]))
    return xp.any_of(is_other & ~is_main) | (num_parts >= 7)


def _has_gap(xp: ModuleType, of_kept: Array, box: Box) -> Array:
    """Whether the writing falls into pieces that stand side by side."""
    columns = xp.largest(of_kept, axis=0)
    filled = xp.cumulated(columns)
    is_gap = (columns == 0) & (filled > 0) & (filled < filled[-1])
    return xp.total(is_gap) * 100 > 6 * box.height


def _is_long(xp: ModuleType, parts: _Parts, kept: Array, box: Box) -> Array:
    """Whether the writing is as long as a word."""
    main_area = xp.largest(parts.area * xp.integers(kept))
    num_kept = xp.total(kept & (parts.area * 50 > main_area))
    return (box.width * 2 > 5 * box.height) | ((box.width > 2 * box.height) & (num_kept > 1))


def _is_block(xp: ModuleType, of_kept: Array, box: Box) -> Array:
    longer, shorter = xp.maximum(box.height, box.width), xp.minimum(box.height, box.width)
    fills = xp.total(of_kept) * 100 > box.height * box.width * 85
    return fills & (longer < 2 * shorter) & (longer * 4 > SIDE)  # unlike an I, and writing too small to be seen yet


def _has_shade(xp: ModuleType, dark: Array, of_kept: Array) -> Array:
    strong = of_kept * xp.integers(dark > _otsu(xp, dark, of_kept > 0))
    pale = of_kept * (1 - xp.largest_within(strong, _SHADE_APART, _SHADE_APART))
    whole = xp.total(of_kept)
    return (xp.total(pale) * 8 > whole) & (xp.total(strong) * 12 > whole)


def _is_cut(xp: ModuleType, parts: _Parts, main: Array, shown: View) -> Array:
    """Whether the main part ends at one border, and far from the opposite one: a close crop is near to both."""
    top, left, bottom, right = (side[main] for side in (parts.top, parts.left, parts.bottom, parts.right))
    at_top, at_left, at_bottom, at_right = (at_side[main] for at_side in parts.borders(shown, 1))
    far = parts.longer(xp)[main] // 6
    is_cut = at_top & (bottom < shown.height - 1 - far) | at_bottom & (top >= far)
    is_cut = is_cut | at_left & (right < shown.width - 1 - far) | at_right & (left >= far)
    return is_cut & (parts.area[main] > 0)
