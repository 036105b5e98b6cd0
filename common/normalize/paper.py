"""The paper of a view: which side of the contrast it is, how bright it is at each place, and what is printed on it."""

from types import ModuleType

from common.normalize.filters import LEVELS, Array, blurred, closed, histogram, quantile, quantiles, smallest_within
from common.normalize.view import SIDE, View

FULL = 1024
"""The darkness of ink that reflects nothing; paper has 0."""

_WINDOW = 25  # strokes are narrower, shadows wider
_HALF, _HALF_WINDOW = SIDE // 2, 13
_RING = 8
_THIN = 7  # rules have shorter runs across
_SHEAR = 6  # the most rows that a rule climbs on half of the view, at 5 degrees
_ANGLES = 21  # by 0.5 degrees
_END = 3  # columns at either border, which rules reach
_BAND = 4  # rows within which a rule may be bent
_LEAST_PAPER = 20


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
    low, median, high = quantiles(xp, small, inside)
    middle = (low + high) // 2
    in_ring = quantiles(xp, small, ring)[1]

    # A frame is a border unlike a wide part of what it surrounds. It counts as paper.
    closing, opening = _closing_and_opening(xp, small)
    num_inside = xp.total(inside)
    inner_rows, inner_columns = (numbers > 0) & (numbers < height - 1), (numbers > 0) & (numbers < width - 1)
    edge = inside & ~(inner_rows[:, None] & inner_columns[None, :])
    num_dark, num_light = xp.total(edge & (small < middle)), xp.total(edge & (small > middle))
    has_dark_frame = (num_light * 10 < num_dark) & (xp.total(inside & (opening > middle)) * 5 > num_inside)
    # Around a board, that is: the thick strokes of a tight crop cover less.
    has_light_frame = (num_dark * 10 < num_light) & (xp.total(inside & (closing < middle)) * 5 > num_inside * 2)

    def unframed() -> tuple[Array, Array, Array]:
        filled = xp.where(has_dark_frame & (closing < middle), high, small)
        filled = xp.where(has_light_frame & (opening > middle), low, filled)
        return filled, *_closing_and_opening(xp, filled)

    small, closing, opening = xp.cond(has_dark_frame | has_light_frame, unframed, lambda: (small, closing, opening))
    in_ring = xp.where(has_dark_frame, high, xp.where(has_light_frame, low, in_ring))
    dark, light = xp.where(inside, closing - small, 0), xp.where(inside, small - opening, 0)
    counts = histogram(xp, xp.maximum(dark, light), inside, LEVELS)
    strongest = LEVELS - 1 - xp.total(xp.cumulated(counts[::-1]) < 12)
    of_dark = _variation(xp, xp.maximum(dark - strongest // 5, 0), inside)
    of_light = _variation(xp, xp.maximum(light - strongest // 5, 0), inside)
    score = 3000 * (of_light - of_dark) // xp.maximum(of_light + of_dark, 1)
    for level in (median, in_ring):
        place = xp.minimum(xp.maximum(level - low, 0), high - low)
        score = score + (500 - 1000 * place // xp.maximum(high - low, 1))
    return score > 200, xp.absolute(score - 200) < 400


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
    low, _, high = quantiles(xp, values, shown.inside)
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
        usual = quantile(xp, histogram(xp, paper, shown.inside & (paper >= dark), LEVELS), 500)
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
        ends = (numbers < _END, numbers >= width - _END)
        for part in (numbers >= 0, numbers * 6 < width, numbers * 6 >= width * 5, *ends):
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
