"""Finds the writing in a picture of one character: on lined or squared paper, in shadow, beside frames and specks.

All decisions are made on integers, in a view of at most 128×128 pixels, by functions of `arrays`. So the NumPy
reference and the graph of a served model, which run this code on arrays and on tensors, decide alike. `xp` is the
module with the array operations.
"""

from types import ModuleType
from typing import Any, NamedTuple

Array = Any
"""An array of NumPy's or a tensor."""

SIDE = 128
"""The sides, in pixels, of a view."""
FULL = 1024
"""The darkness of ink that reflects nothing; paper has 0."""

_WINDOW = 25  # strokes are narrower, shadows wider
_HALF, _HALF_WINDOW = SIDE // 2, 13
_RING = 8
_THIN = 7  # rules have shorter runs across
_SHEAR = 6  # the most rows that a rule climbs on half of the view, at 5 degrees
_ANGLES = 21  # by 0.5 degrees
_BAND = 4  # rows within which a rule may be bent
_LEAST_PAPER = 20
_LEVELS = 256


class Box(NamedTuple):
    """A part of a picture, in its pixels."""

    top: Array
    left: Array
    height: Array
    width: Array


class View(NamedTuple):
    """A part of a picture, scaled; the rest of the array repeats its last row or column."""

    planes: Array
    """int32 [4, SIDE, SIDE], 0 to 255: red, green and blue, multiplied by the opacity, and the opacity."""
    height: Array
    width: Array
    inside: Array
    """bool [SIDE, SIDE]: what is no repetition."""


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


def no_ink(xp: ModuleType) -> Ink:
    nothing, no = xp.integers(0), xp.integers(0) > 1
    darkness = xp.reshape(xp.arange(SIDE * SIDE), (SIDE, SIDE)) * 0
    return Ink(darkness, Box(nothing, nothing, nothing, nothing), nothing, nothing, no, no)


def view(xp: ModuleType, pixels: Array, box: Box, side: Array = SIDE) -> View:
    """A view of `box` of a picture, uint8 [H, W, C], grey, RGB or RGBA; its longer side becomes `side` pixels."""
    longest = xp.maximum(box.height, box.width)
    step = xp.maximum(longest // SIDE, 1)
    row_step, column_step = xp.minimum(step, box.height), xp.minimum(step, box.width)
    rows, columns = box.height // row_step, box.width // column_step
    channels = xp.shape(pixels)[2]
    part = pixels[box.top : box.top + rows * row_step, box.left : box.left + columns * column_step]
    weight = xp.where(channels == 4, 255, 1)
    part = xp.cond(channels == 4, lambda: _premultiplied(xp, part), lambda: xp.integers(part))
    area = row_step * column_step * weight
    part = (xp.block_sums(part, row_step, column_step) + area // 2) // area
    part = xp.transpose(part, (2, 0, 1))
    longest = xp.maximum(rows, columns)
    height = xp.maximum((rows * side + longest // 2) // longest, 1)
    width = xp.maximum((columns * side + longest // 2) // longest, 1)
    # The sums are at most 255 · 255 · 255, so they are exact in float32, in whatever order they are made.
    down, across = _overlaps(xp, rows, height), _overlaps(xp, columns, width)
    scaled = xp.matmul(xp.matmul(down, xp.floats(part)), xp.transpose(across, (1, 0)))
    scaled = (xp.integers(scaled) + rows * columns // 2) // (rows * columns)
    opacity = xp.where(channels == 4, scaled[channels - 1], 255)
    colours = [scaled[xp.minimum(channel, channels - 1)] for channel in range(3)]
    numbers = xp.arange(SIDE)
    inside = (numbers < height)[:, None] & (numbers < width)[None, :]
    return View(xp.stack([*colours, opacity]), height, width, inside)


def _premultiplied(xp: ModuleType, pixels: Array) -> Array:
    """255 times the opacity, and the colours times it: transparent pixels have no colour."""
    pixels = xp.integers(pixels)
    opacity = pixels[..., 3:]
    return xp.concat([pixels[..., :3] * opacity, 255 * opacity], -1)


def _overlaps(xp: ModuleType, count: Array, side: Array) -> Array:
    """float32 [SIDE, count]: how much of each of `count` pixels lies in each of `side`; the last row is repeated."""
    outputs, inputs = xp.minimum(xp.arange(SIDE), side - 1)[:, None], xp.arange(count)[None, :]
    ends = xp.minimum((outputs + 1) * count, (inputs + 1) * side)
    return xp.floats(xp.maximum(ends - xp.maximum(outputs * count, inputs * side), 0))


# --- the plane that shows the ink ---

GREY, OPACITY, RED_GREEN, BLUE_YELLOW = range(4)
PALE = 40
"""A lower contrast in grey, of 255, is no reason to look at grey only."""


def grey(xp: ModuleType, planes: Array) -> Array:
    """int32 [SIDE, SIDE], 0 to 255: ITU-R 601, rounded as Pillow does; not yet laid on white."""
    return xp.right_shift(planes[0] * 19595 + planes[1] * 38470 + planes[2] * 7471 + 32768, 16)


def plane(xp: ModuleType, planes: Array, choice: Array) -> Array:
    """The chosen plane, int32 [SIDE, SIDE], 0 to 255."""
    red, green, blue, opacity = planes[0], planes[1], planes[2], planes[3]
    on_white = grey(xp, planes) + 255 - opacity
    red_green = xp.minimum(xp.maximum(red - green + 128, 0), 255)
    blue_yellow = xp.minimum(xp.maximum(blue - xp.right_shift(red + green, 1) + 128, 0), 255)
    result = xp.where(choice == OPACITY, 255 - opacity, on_white)
    result = xp.where(choice == RED_GREEN, red_green, result)
    return xp.where(choice == BLUE_YELLOW, blue_yellow, result)


def choose_plane(xp: ModuleType, shown: View) -> Array:
    """The plane that shows the ink: grey, unless ink of one colour lies on transparency, or differs by hue only."""
    opacity = shown.planes[3]
    is_transparent = xp.total(shown.inside & (opacity < 255)) * 100 > xp.total(shown.inside)
    straight = grey(xp, shown.planes) * 255 // xp.maximum(opacity, 1)
    solid = shown.inside & (opacity >= 64)
    spread = xp.largest(xp.where(solid, straight, 0)) - xp.smallest(xp.where(solid, straight, 255))
    in_grey, *in_hue = (contrast(xp, shown, choice) for choice in (GREY, RED_GREEN, BLUE_YELLOW))
    is_hue = ~is_transparent & (in_grey < PALE) & (xp.maximum(*in_hue) > 2 * in_grey)
    hue = xp.where(in_hue[0] >= in_hue[1], RED_GREEN, BLUE_YELLOW)
    return xp.where(is_hue, hue, xp.where(is_transparent & (spread < 30), OPACITY, GREY))


def contrast(xp: ModuleType, shown: View, choice: int) -> Array:
    """The distance of the 0.5 % and the 99.5 % quantile of a plane."""
    values = blurred(xp, plane(xp, shown.planes, choice))
    low, _, high = _quantiles(xp, values, shown.inside)
    return high - low


# --- filters ---


def histogram(xp: ModuleType, values: Array, mask: Array, bins: int) -> Array:
    """How often each of 0 … bins - 1 occurs among the masked values, int32 [bins]."""
    return xp.sums_by(xp.reshape(values, (-1,)), xp.integers(xp.reshape(mask, (-1,))), bins)


def quantile(xp: ModuleType, counts: Array, thousandths: int) -> Array:
    """The least value that so many thousandths of the counted values do not exceed."""
    cumulated = xp.cumulated(counts)
    return xp.total(cumulated * 1000 < cumulated[-1] * thousandths)


def blurred(xp: ModuleType, values: Array) -> Array:
    """A binomial blur of 3×3, σ = 0.7; edges are repeated."""
    down = xp.concat([values[:1], values[:-1]], 0) + 2 * values + xp.concat([values[1:], values[-1:]], 0)
    left, right = xp.concat([down[:, :1], down[:, :-1]], 1), xp.concat([down[:, 1:], down[:, -1:]], 1)
    return xp.right_shift(left + 2 * down + right + 8, 4)


def smallest_within(xp: ModuleType, values: Array, height: int, width: int) -> Array:
    """The smallest value, of 0 to 255, within a window; what lies outside the array is ignored."""
    return 255 - xp.largest_within(255 - values, height, width)


def closed(xp: ModuleType, values: Array, inside: Array, window: int) -> Array:
    """A morphological closing of values 0 to 255 by a square window; what lies outside is ignored."""
    high = xp.largest_within(xp.where(inside, values, 0), window, window)
    return smallest_within(xp, xp.where(inside, high, 255), window, window)


# --- polarity ---


def polarity(xp: ModuleType, values: Array, shown: View) -> tuple[Array, Array]:
    """Whether the ink is light on dark, and whether that is in doubt: the right reading explains all edges."""
    quarter = values[0::2, 0::2] + values[1::2, 0::2] + values[0::2, 1::2] + values[1::2, 1::2]
    small = xp.right_shift(quarter + 2, 2)
    numbers = xp.arange(_HALF)
    height, width = (shown.height + 1) // 2, (shown.width + 1) // 2
    inside = (numbers < height)[:, None] & (numbers < width)[None, :]
    middle_rows = (numbers >= _RING) & (numbers < height - _RING)
    middle_columns = (numbers >= _RING) & (numbers < width - _RING)
    ring = inside & ~(middle_rows[:, None] & middle_columns[None, :])
    low, median, high = _quantiles(xp, small, inside)
    middle = (low + high) // 2
    in_ring = _quantiles(xp, small, ring)[1]

    # A frame is a border unlike a wide part of what it surrounds. It counts as paper.
    closing, opening = _closing_and_opening(xp, small)
    fifth = xp.total(inside) // 5
    edge = inside & ~((numbers > 0) & (numbers < height - 1))[:, None] | ~((numbers > 0) & (numbers < width - 1))
    edge = edge & inside
    num_dark, num_light = xp.total(edge & (small < middle)), xp.total(edge & (small > middle))
    has_dark_frame = (num_light * 10 < num_dark) & (xp.total(inside & (opening > middle)) > fifth)
    has_light_frame = (num_dark * 10 < num_light) & (xp.total(inside & (closing < middle)) > fifth)

    def unframed() -> tuple[Array, Array, Array]:
        filled = xp.where(has_dark_frame & (closing < middle), high, small)
        filled = xp.where(has_light_frame & (opening > middle), low, filled)
        return filled, *_closing_and_opening(xp, filled)

    small, closing, opening = xp.cond(has_dark_frame | has_light_frame, unframed, lambda: (small, closing, opening))
    in_ring = xp.where(has_dark_frame, high, xp.where(has_light_frame, low, in_ring))
    dark, light = xp.where(inside, closing - small, 0), xp.where(inside, small - opening, 0)
    counts = histogram(xp, xp.maximum(dark, light), inside, _LEVELS)
    strongest = _LEVELS - 1 - xp.total(xp.cumulated(counts[::-1]) < 12)
    of_dark = _variation(xp, xp.maximum(dark - strongest // 5, 0), inside)
    of_light = _variation(xp, xp.maximum(light - strongest // 5, 0), inside)
    score = 3000 * (of_light - of_dark) // xp.maximum(of_light + of_dark, 1)
    for level in (median, in_ring):
        place = xp.minimum(xp.maximum(level - low, 0), high - low)
        score = score + (500 - 1000 * place // xp.maximum(high - low, 1))
    return score > 200, xp.absolute(score - 200) < 400


def _quantiles(xp: ModuleType, values: Array, mask: Array) -> tuple[Array, Array, Array]:
    counts = histogram(xp, values, mask, _LEVELS)
    return quantile(xp, counts, 5), quantile(xp, counts, 500), quantile(xp, counts, 995)


def _closing_and_opening(xp: ModuleType, small: Array) -> tuple[Array, Array]:
    """Of an array [_HALF, _HALF]; its border is repeated outwards, so that frames count as wide."""
    reach, window = _HALF_WINDOW, (_HALF_WINDOW, _HALF_WINDOW)
    repeated = xp.minimum(xp.maximum(xp.arange(_HALF + 2 * reach) - reach, 0), _HALF - 1)
    wide = xp.transpose(xp.take(xp.transpose(xp.take(small, repeated), (1, 0)), repeated), (1, 0))
    closing = smallest_within(xp, xp.largest_within(wide, *window), *window)
    opening = xp.largest_within(smallest_within(xp, wide, *window), *window)
    return closing[reach:-reach, reach:-reach], opening[reach:-reach, reach:-reach]


def _variation(xp: ModuleType, values: Array, inside: Array) -> Array:
    rows = xp.absolute(values[1:] - values[:-1]) * xp.integers(inside[1:] & inside[:-1])
    columns = xp.absolute(values[:, 1:] - values[:, :-1]) * xp.integers(inside[:, 1:] & inside[:, :-1])
    return xp.total(rows) + xp.total(columns)


# --- darkness of the ink ---


def darkness(xp: ModuleType, values: Array, shown: View) -> Array:
    """int32 [SIDE, SIDE], 0 to FULL, of dark ink on light paper, whose brightness is estimated at each place."""
    smooth = blurred(xp, values)
    paper = _without_blobs(xp, smooth, blurred(xp, closed(xp, smooth, shown.inside, _WINDOW)), shown)
    lost = xp.maximum(paper - smooth, 0) * FULL // xp.maximum(paper, _LEAST_PAPER)
    return xp.where(shown.inside, xp.minimum(lost, FULL), 0)


def _without_blobs(xp: ModuleType, values: Array, paper: Array, shown: View) -> Array:
    """The paper's brightness also under strokes that are wider than the window, which were taken for paper.

    Unlike shadows, frames and fingers they are as dark as ink and hardly touch the border.
    """
    low, _, high = _quantiles(xp, values, shown.inside)
    dark = low + (high - low) * 35 // 100
    flat = shown.inside & (paper < dark)

    def filled() -> Array:
        labels, count = xp.components(shown.inside & (values < dark))
        labels = xp.reshape(labels, (-1,))
        numbers = xp.arange(SIDE)
        rows, columns = (numbers > 0) & (numbers < shown.height - 1), (numbers > 0) & (numbers < shown.width - 1)
        edge = shown.inside & ~(rows[:, None] & columns[None, :])
        area, contact, wide = (
            xp.sums_by(labels, xp.integers(xp.reshape(mask, (-1,))), count + 1) for mask in (shown.inside, edge, flat)
        )
        is_blob = (wide > 0) & (contact * contact * 9 < area) & (xp.arange(count + 1) > 0)
        in_blob = xp.reshape(xp.take(is_blob, labels), (SIDE, SIDE))
        usual = quantile(xp, histogram(xp, paper, shown.inside & (paper >= dark), _LEVELS), 500)
        near = xp.largest_within(xp.integers(in_blob), 3, 3) > 0
        return xp.where(near, xp.maximum(paper, usual), paper)

    return xp.cond(xp.any_of(flat), filled, lambda: paper)


def noise_of(xp: ModuleType, dark: Array, inside: Array) -> Array:
    """The grain of the paper, in units of `darkness`."""
    steps = xp.absolute(dark[:, 1:] - dark[:, :-1])
    counts = histogram(xp, steps, inside[:, 1:], FULL + 1)
    return quantile(xp, counts, 500) * 1000 // 954 + 4


def without_rules(xp: ModuleType, dark: Array, inside: Array, noise: Array) -> Array:
    """The darkness without printed lines that cross the view from left to right, turned by at most 5 degrees."""
    darkest = quantile(xp, histogram(xp, dark, inside, FULL + 1), 995)
    mask = dark > xp.maximum(xp.maximum(32, 3 * noise), darkest // 6)
    shrunk = smallest_within(xp, xp.where(mask, 255, 0), _THIN, 1)
    thick = xp.largest_within(shrunk, _THIN, 1) > 0
    thin = xp.integers(mask & ~thick)
    # A rule is known by its upper edge, one pixel in each column.
    edge = thin * (1 - xp.pad(thin[:-1], (1, 0), (0, 0), 0))
    width = xp.total(xp.any_of(inside, axis=0))

    def removed() -> Array:
        numbers, count = xp.arange(SIDE), SIDE + 2 * _SHEAR
        places = xp.places(xp.reshape(edge, (-1,)))
        y, x = places // SIDE, places % SIDE
        angles = xp.arange(_ANGLES)[:, None]
        sheared = y[None, :] + _climb(xp, x[None, :], angles) + _SHEAR
        groups = xp.reshape(angles * count + sheared, (-1,))
        counts = xp.reshape(xp.sums_by(groups, xp.ones_like(groups), _ANGLES * count), (_ANGLES, count))
        best = xp.first_largest(xp.total(counts * counts * counts, axis=1))
        rows = numbers[:, None] + _climb(xp, numbers[None, :], best) + _SHEAR
        # Strokes are as long, but do not run from border to border.
        is_rule = xp.ones_like(xp.arange(count - _BAND + 1)) > 0
        for part in (numbers >= 0, numbers * 6 < width, numbers * 6 >= width * 5):
            filled = histogram(xp, rows, (edge > 0) & part, count)
            filled = sum(filled[start : start + count - _BAND + 1] for start in range(_BAND))
            whole = histogram(xp, rows, inside & ~thick & part, count)[_BAND // 2 : 1 - _BAND // 2]
            is_rule = is_rule & (filled * 10 >= whole * 6) & (whole * 2 >= xp.total(inside & part) // SIDE)
        start = xp.pad(xp.integers(is_rule)[:, None], (_BAND - 1, _BAND - 1), (0, 0), 0)[:, 0]
        in_band = sum(start[place : place + count] for place in range(_BAND))
        line = edge * xp.minimum(xp.reshape(xp.take(in_band, xp.reshape(rows, (-1,))), (SIDE, SIDE)), 1)
        # Down to the lower edge, and its soft edges.
        below = xp.pad(line[: -_THIN // 2], (_THIN // 2 + 1, 0), (0, 0), 0)
        line = xp.largest_within(line + thin * xp.largest_within(below, _THIN, 1), _THIN, 1) > 0
        return xp.where(line & ~thick, 0, dark)

    return xp.cond(xp.total(edge) * 2 > width, removed, lambda: dark)


def _climb(xp: ModuleType, x: Array, angle: Array) -> Array:
    """By how many rows a rule has climbed, or fallen, from the middle of the view."""
    return xp.right_shift((x - SIDE // 2) * (angle - _ANGLES // 2) * 9, 10)


def threshold(xp: ModuleType, dark: Array, shown: View, noise: Array) -> Array:
    """The darkness that divides ink from paper: Otsu's, within bounds; by the middle, since frames lie outside."""
    numbers = xp.arange(SIDE)
    rows = (numbers * 6 >= shown.height) & (numbers * 6 < shown.height * 5)
    columns = (numbers * 6 >= shown.width) & (numbers * 6 < shown.width * 5)
    middle = shown.inside & rows[:, None] & columns[None, :]
    counts = histogram(xp, xp.right_shift(xp.minimum(dark, FULL - 1), 3), middle, SIDE)
    below = xp.cumulated(xp.long_integers(counts))
    moment = xp.cumulated(xp.long_integers(counts * numbers))
    difference = xp.right_shift(moment[-1] * below - moment * below[-1], 6)
    between = difference * difference // xp.maximum(below * (below[-1] - below), 1)
    least = xp.maximum((xp.first_largest(between) + 1) * 8 - 1, xp.maximum(72, noise * 9 // 2))
    in_middle = histogram(xp, dark, middle & (dark > least), FULL + 1)
    anywhere = histogram(xp, dark, shown.inside & (dark > least), FULL + 1)
    median = quantile(xp, xp.where(xp.total(in_middle) > 0, in_middle, anywhere), 500)
    return xp.where(median > 0, xp.minimum(xp.maximum(least, median * 35 // 100), median * 60 // 100), least)


# --- parts ---


def parts(xp: ModuleType, dark: Array, shown: View, noise: Array) -> Ink:
    """Chooses the parts of `dark` that are the writing."""
    inside = shown.inside
    cut = threshold(xp, dark, shown, noise)
    mask = inside & (dark > cut)
    labels, count = xp.components(mask)
    count = xp.maximum(count, 1)
    labels = xp.reshape(labels, (-1,))
    places = xp.places(labels)
    group = xp.take(labels, places) - 1
    y, x = places // SIDE, places % SIDE
    area = xp.sums_by(group, xp.ones_like(group), count)
    strength = xp.sums_by(group, xp.take(xp.reshape(dark, (-1,)), places), count)
    bottom, right = xp.largest_by(group, y, count), xp.largest_by(group, x, count)
    top, left = (
        SIDE - 1 - xp.largest_by(group, SIDE - 1 - y, count),
        SIDE - 1 - xp.largest_by(group, SIDE - 1 - x, count),
    )
    ones = xp.integers(mask)
    around = xp.pad(ones, (1, 1), (1, 1), 0)
    inner = ones * around[:-2, 1:-1] * around[2:, 1:-1] * around[1:-1, :-2] * around[1:-1, 2:]
    perimeter = area - xp.sums_by(group, xp.take(xp.reshape(inner, (-1,)), places), count)
    longer = xp.maximum(bottom - top, right - left) + 1
    solid = area > 0

    # Frames and a scanner's strips lie along the border.
    reach = 2
    at_top, at_left = top < reach, left < reach
    at_bottom, at_right = bottom >= shown.height - reach, right >= shown.width - reach
    touches = solid & (at_top | at_left | at_bottom | at_right)
    tenth = xp.maximum(shown.height, shown.width) // 10
    is_outer = (y < tenth) | (x < tenth) | (y >= shown.height - tenth) | (x >= shown.width - tenth)
    outer = xp.sums_by(group, xp.integers(is_outer), count)
    is_frame = touches & (outer * 4 > area * 3) & (longer * 20 > xp.maximum(shown.height, shown.width) * 9)
    remains = xp.any_of(solid & ~is_frame)
    candidate = solid & ~(is_frame & remains)
    # What touches the border gives way to what is free of it: easily, if it reaches in from one side like a finger.
    reaches_in = touches & ~(at_top & at_bottom) & ~(at_left & at_right)
    loose = strength * xp.integers(candidate)
    strongest_free = xp.largest(loose * xp.integers(~touches))
    gives_way = touches & (strongest_free * xp.where(reaches_in, 8, 2) > xp.largest(loose))
    candidate = candidate & ~gives_way
    main = xp.first_largest(strength * xp.integers(candidate))
    stroke = 2 * area[main] // xp.maximum(perimeter[main], 1)  # its width
    gap_y = xp.maximum(xp.maximum(top - bottom[main], top[main] - bottom), 0)
    gap_x = xp.maximum(xp.maximum(left - right[main], left[main] - right), 0)
    gap = xp.maximum(gap_y, gap_x)
    mean, main_mean = strength // xp.maximum(area, 1), strength[main] // xp.maximum(area[main], 1)
    is_main = xp.arange(count) == main
    is_near = candidate & (gap * 2 <= longer[main])
    is_part = (area * 100 >= 35 * stroke * stroke) & (area * 200 >= 3 * area[main]) & (mean * 10 >= 6 * main_mean)
    kept = solid & (is_main | (is_near & is_part))

    kept_place = xp.integers(xp.take(kept, group))
    kept_flat = xp.sums_by(places, kept_place, SIDE * SIDE)
    kept_mask = xp.reshape(kept_flat, (SIDE, SIDE))
    reach = 3
    soft = xp.largest_within(kept_mask, 2 * reach + 1, 2 * reach + 1)
    # Soft edges stay, but not those of other parts.
    others = xp.largest_within(ones * (1 - kept_mask), 3, 3)
    soft = soft * (1 - others * (1 - kept_mask))
    median = quantile(xp, histogram(xp, dark, kept_mask > 0, FULL + 1), 500)
    big = xp.integers(kept)
    box_top, box_left = xp.smallest(xp.where(kept, top, SIDE)), xp.smallest(xp.where(kept, left, SIDE))
    box_bottom, box_right = xp.largest(bottom * big), xp.largest(right * big)
    box = Box(box_top, box_left, box_bottom - box_top + 1, box_right - box_left + 1)

    # Doubts.
    is_far = candidate & ~is_main & (area * 4 > area[main]) & (gap * 2 > longer[main]) & (mean * 10 >= 6 * main_mean)
    columns = xp.largest(kept_mask, axis=0)
    filled = xp.cumulated(columns)
    is_gap = (columns == 0) & (filled > 0) & (filled < filled[-1])
    has_gap = xp.total(is_gap) * 100 > 6 * box.height
    num_parts = xp.total(candidate & (area * 50 > area[main]) & (mean * 10 >= 6 * main_mean))
    num_kept = xp.total(kept & (area * 50 > area[main]))
    is_long = (box.width > 2 * box.height) | ((box.width * 2 > 3 * box.height) & (num_kept > 1))
    is_several = xp.any_of(is_far) | has_gap | (num_parts >= 7) | is_long
    at_top, at_left = top[main] < 1, left[main] < 1
    at_bottom, at_right = bottom[main] >= shown.height - 1, right[main] >= shown.width - 1
    far = longer[main] // 6
    is_cut = (
        (at_top & (bottom[main] < shown.height - 1 - far))
        | (at_bottom & (top[main] >= far))
        | (at_left & (right[main] < shown.width - 1 - far))
        | (at_right & (left[main] >= far))
    ) & xp.any_of(solid)
    return Ink(dark * soft, box, median, noise, is_several, is_cut)
