"""Lines cut out of a page's picture, by their geometry in its XML.

A line is cut by its polygon; without one by its baseline; without that by its box. Where there is a baseline the cut is
straightened: columns are shifted so that the baseline is level, and a line that slants by more than `TURNED_FROM`
degrees is turned first. All but the pixels follows from geometry alone. Arrays of points are float64 [N, 2], x and y,
in pixels of the page; sizes are height and width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from common.formats.page_xml import Line

Way = Literal["polygon", "baseline", "box"]

MARGIN = 0.03
"""By how much a polygon is widened on all sides, in heights of the line: people draw them close to the ink."""
TURNED_FROM = 3
"""Degrees. Up to here shifted columns slant letters less than hands do, and pixels stay as they are."""
STEEPEST = 30
"""Degrees. What is steeper is no line that a reader of lines has learned: a signature, or a note along the margin."""
LEAST_SIDE = 6
"""Pixels. What is lower or narrower shows no letter."""
ABOVE, BELOW = 0.75, 0.3
"""How far a line reaches above and below its baseline, in distances between lines, if only its baseline is known."""

PROBLEMS = {
    "no-text": "has no text",
    "no-place": "has no polygon, baseline or box",
    "vertical": f"is steeper than {STEEPEST} degrees",
    "outside": "lies outside of the picture",
    "too-small": f"is less than {LEAST_SIDE} pixels high or wide",
}
"""Why a line is left out, by code; to be put after its name."""

_ASPECT = 12  # a line without neighbours is so many times as wide as high,
_MOST_LINES, _LEAST_LINES = 80, 20  # but there is room for as many as these on the page
_STEPS = 64  # along a baseline, at which its direction is taken
_STEP, _MOST_STEPS = 16, 4096  # pixels along an edge of a polygon at which its height is taken, and how many at most
_NEIGHBOURS = 300  # baselines whose distances are taken
_DECIMALS = 3  # of a baseline's points: the slope between closer ones could be infinite


@dataclass(frozen=True)
class _Plan:
    """How a line is cut, in coordinates turned by `angle` radians, in which the line runs to the right."""

    angle: float
    left: int
    top: int
    size: tuple[int, int]
    shifts: np.ndarray
    """By how many rows the baseline is lower in each column than it is on average, int64 [width]."""
    outline: np.ndarray
    """What lies outside of it, further than `margin`, is paper."""
    margin: float


def way_of(line: Line) -> Way | None:
    """By what a line is cut; None if it has nothing of use. A polygon needs an area, a baseline a direction."""
    if _is_area(line.polygon):
        return "polygon"
    if _curve(line) is not None:
        return "baseline"
    return "box" if line.box and line.box[2] > line.box[0] and line.box[3] > line.box[1] else None


def size_of(line: Line, page_size: tuple[int, int]) -> tuple[int, int] | None:
    """The height and width of a line's cut, on a page of this height and width; None if it has a `problem_of` geometry.

    It is known without the page's pixels. However wrong the geometry is, a cut is no more than a few times the page.
    """
    plan = _plan(line, page_size)
    return None if isinstance(plan, str) else plan.size


def problem_of(line: Line, page_size: tuple[int, int], needs_text: bool = True) -> str:
    """Why a line cannot be cut, or not be learned from: a code of `PROBLEMS`, or ""."""
    if needs_text and not line.text:
        return "no-text"
    plan = _plan(line, page_size)
    return plan if isinstance(plan, str) else ""


def cut(page: np.ndarray, line: Line) -> np.ndarray:
    """A line's picture, uint8 of `size_of` the line, from a page, uint8 [H, W], with the page's contrast.

    What is outside of the line's polygon, or of the page, is paper: the median of the lighter half of what is inside,
    or of the darker half if the writing is the lighter. That is so if the lightest values are farther from the median
    than the darkest. Raises `ValueError` if the line has a `problem_of` geometry.
    """
    plan = _plan(line, page.shape)
    if isinstance(plan, str):
        raise ValueError(f"line {line.id} {PROBLEMS[plan]}")
    lowest, highest = int(plan.shifts.min()), int(plan.shifts.max())
    left, top = plan.left, plan.top + lowest
    height, width = plan.size[0] + highest - lowest, plan.size[1]
    strip = _strip(page, plan.angle, left, top, height, width)
    inside = _inside(page, plan, left, top, height, width)
    if highest > lowest:
        rows = np.arange(plan.size[0])[:, None] + (plan.shifts - lowest)
        strip, inside = np.take_along_axis(strip, rows, 0), np.take_along_axis(inside, rows, 0)
    seen = strip[inside]
    return np.where(inside, strip, np.uint8(_paper(seen if seen.size else strip)))


def with_boxes(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines of one page; those of which only the baseline is known get a box, by the distances between them.

    The distance is the median of those from a baseline to the next one below it. Where there is none, lines are left as
    they are, and `cut` takes a twelfth of the baseline's length for the height.
    """
    curves = [_curve(line) if way_of(line) == "baseline" and not line.box else None for line in lines]
    distance = _distance([curve for curve in curves if curve is not None])
    if not distance:
        return tuple(lines)
    return tuple(
        line if curve is None else replace(line, box=_box(curve, ABOVE * distance, BELOW * distance))
        for line, curve in zip(lines, curves, strict=True)
    )


def _box(curve: np.ndarray, above: float, below: float) -> tuple[float, float, float, float]:
    (left, top), (right, bottom) = curve.min(0).tolist(), curve.max(0).tolist()
    return left, top - above, right, bottom + below


def _distance(curves: list[np.ndarray]) -> float | None:
    """The median distance from a baseline to the next one below it that shares half of the shorter one's columns."""
    if len(curves) < 2:
        return None
    step = len(curves) / min(len(curves), _NEIGHBOURS)
    some = [curves[int(number * step)] for number in range(min(len(curves), _NEIGHBOURS))]
    lefts, rights = np.array([[curve[:, 0].min(), curve[:, 0].max()] for curve in some]).T
    middles = np.array([curve[:, 1].mean() for curve in some])
    shared = np.minimum(rights[:, None], rights) - np.maximum(lefts[:, None], lefts)
    shorter = np.minimum((rights - lefts)[:, None], rights - lefts)
    below = middles - middles[:, None]
    nearest = np.where((shared * 2 > shorter) & (below > LEAST_SIDE), below, np.inf).min(axis=1)
    return float(np.median(nearest[np.isfinite(nearest)])) if np.isfinite(nearest).any() else None


def _is_area(polygon: tuple[tuple[float, float], ...]) -> bool:
    """Whether its points do not all lie on one straight line."""
    if len(polygon) < 3:
        return False
    points = np.array(polygon)
    edges = points - points[0]
    longest = edges[np.abs(edges).sum(1).argmax()]
    return bool((np.abs(edges[:, 0] * longest[1] - edges[:, 1] * longest[0]) >= 1).any())


def _curve(line: Line) -> np.ndarray | None:
    """The points of the baseline; None if it shows no direction: a point, or less than half as long as the line."""
    if len(line.baseline) < 2:
        return None
    points = np.round(line.baseline, _DECIMALS)
    around = np.array(line.polygon or (line.box and (line.box[:2], line.box[2:])) or ((0, 0),))
    length = math.hypot(*np.ptp(points, axis=0))
    return points if length >= max(1, np.ptp(around, axis=0).max() / 2) else None


def _direction(curve: np.ndarray) -> float:
    """The angle at which a baseline falls to the right, in radians from -π/2 to π/2, whichever end is its first."""
    lengths = np.hypot(*np.diff(curve, axis=0).T)
    along = np.concatenate([[0], np.cumsum(lengths)])
    steps = np.linspace(0, along[-1], _STEPS)
    x, y = (np.interp(steps, along, curve[:, axis]) for axis in (0, 1))
    (of_x, of_both), (_, of_y) = np.cov(x, y)
    return math.atan2(2 * of_both, of_x - of_y) / 2


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    """The same points in coordinates that are turned by the angle."""
    if not angle:
        return points
    cosine, sine = math.cos(angle), math.sin(angle)
    return points @ np.array([[cosine, -sine], [sine, cosine]])


def _plan(line: Line, page_size: tuple[int, int]) -> _Plan | str:
    """How a line is cut, or the code of its problem. Points outside of the page count as on its edge."""
    way, curve, angle = way_of(line), _curve(line), 0.0
    if not way:
        return "no-place"
    if curve is not None:
        angle = _direction(curve)
        if abs(angle) > math.radians(STEEPEST):
            return "vertical"
        angle = angle if abs(angle) > math.radians(TURNED_FROM) else 0.0
    outline = np.clip(_outline(line, way, curve, page_size[0]), 0, page_size[::-1])
    if not np.ptp(outline, axis=0).all():
        return "outside"
    outline = _turned(outline, angle)
    left, right = outline[:, 0].min(), outline[:, 0].max()
    columns, level = np.array([left, right]), np.zeros(2)
    if curve is not None:
        columns, level = _by_column(_turned(np.clip(curve, 0, page_size[::-1]), angle))
        level = level - np.interp(np.linspace(left, right, _STEPS), columns, level).mean()
    edge = _with_steps(outline)
    straight = edge[:, 1] - np.interp(edge[:, 0], columns, level)
    margin = MARGIN * float(np.ptp(straight)) if way == "polygon" else 0.0
    left, right = math.floor(left - margin), math.ceil(right + margin)
    top, bottom = math.floor(straight.min() - margin), math.ceil(straight.max() + margin)
    if min(bottom - top, right - left) < LEAST_SIDE:
        return "too-small"
    shifts = np.rint(np.interp(np.arange(left, right) + 0.5, columns, level)).astype(np.int64)
    return _Plan(angle, left, top, (bottom - top, right - left), shifts, outline, margin)


def _outline(line: Line, way: Way, curve: np.ndarray | None, page_height: int) -> np.ndarray:
    if way == "polygon":
        return np.array(line.polygon)
    if way == "box":
        left, top, right, bottom = line.box
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    box = line.box
    if not box or box[1] >= curve[:, 1].min() or box[3] < curve[:, 1].max():
        height = min(max(np.ptp(curve[:, 0]) / _ASPECT, page_height / _MOST_LINES), page_height / _LEAST_LINES)
        box = _box(curve, height * ABOVE / (ABOVE + BELOW), height * BELOW / (ABOVE + BELOW))
    # A box touches the ink above the highest part of the baseline and below the lowest one.
    above, below = curve[:, 1].min() - box[1], box[3] - curve[:, 1].max()
    return np.concatenate([curve - np.array((0, above)), curve[::-1] + np.array((0, below))])


def _by_column(curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The columns, increasing, and the rows of a baseline's points; of points in one column, the first."""
    columns, first = np.unique(curve[:, 0].round(_DECIMALS), return_index=True)
    return columns, curve[first, 1]


def _with_steps(outline: np.ndarray) -> np.ndarray:
    """The closed outline with more points on long edges, since a bent baseline also bends them."""
    ends = np.roll(outline, -1, axis=0)
    across = np.abs(ends[:, 0] - outline[:, 0])
    counts = np.ceil(across / max(_STEP, across.sum() / _MOST_STEPS)).astype(np.int64).clip(1)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (number / np.repeat(counts, counts))[:, None]
    return np.repeat(outline, counts, axis=0) * (1 - share) + np.repeat(ends, counts, axis=0) * share


def _strip(page: np.ndarray, angle: float, left: int, top: int, height: int, width: int) -> np.ndarray:
    """uint8 [height, width] of the page in turned coordinates; anything where it has no pixels."""
    if angle:
        cosine, sine = math.cos(angle), math.sin(angle)
        x, y = left * cosine - top * sine, left * sine + top * cosine
        whole = Image.fromarray(np.ascontiguousarray(page))  # which copies nothing
        affine = (cosine, -sine, x, sine, cosine, y)
        return np.asarray(whole.transform((width, height), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR))
    rows, columns = slice(max(top, 0), max(top + height, 0)), slice(max(left, 0), max(left + width, 0))
    part = page[rows, columns]
    strip = np.zeros((height, width), np.uint8)
    down, across = max(-top, 0), max(-left, 0)
    strip[down : down + part.shape[0], across : across + part.shape[1]] = part
    return strip


def _inside(page: np.ndarray, plan: _Plan, left: int, top: int, height: int, width: int) -> np.ndarray:
    """bool [height, width]: what is inside of the outline, or no farther from it than the margin, and on the page."""
    outline = _drawn(plan.outline - (left, top), (height, width), plan.margin)
    bottom, right = page.shape[0] - 1, page.shape[1] - 1
    corners = np.array([(0, 0), (right, 0), (right, bottom), (0, bottom)], np.float64)
    return outline & _drawn(_turned(corners, plan.angle) - (left, top), (height, width))


def _drawn(outline: np.ndarray, size: tuple[int, int], margin: float = 0.0) -> np.ndarray:
    """bool of this height and width: the area of an outline; where it crosses itself, its inner part may be outside."""
    image = Image.new("1", size[::-1])
    draw = ImageDraw.Draw(image)
    points = outline.ravel().tolist()
    draw.polygon(points, fill=1)
    if margin >= 0.5:
        draw.line([*points, *points[:4]], fill=1, width=2 * round(margin) + 1, joint="curve")
    return np.asarray(image)


def _paper(pixels: np.ndarray) -> int:
    darkest, median, lightest = np.percentile(pixels, (1, 50, 99))
    half = pixels[pixels <= median] if lightest - median > median - darkest else pixels[pixels >= median]
    return int(np.median(half))
