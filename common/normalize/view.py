"""Views of a picture: its parts, scaled to one size, and the planes in which ink can show.

All decisions about a picture are made on integers, in views, by the operations of `arrays`. So the NumPy reference and
the graph of a served model, which run this code on arrays and on tensors, decide alike. `xp` is the module with the
operations.
"""

from types import ModuleType
from typing import NamedTuple

from common.normalize.filters import Array, blurred, quantiles

SIDE = 128
"""The sides, in pixels, of a view."""
GREY, OPACITY, RED_GREEN, BLUE_YELLOW = range(4)
_PALE = 40  # of 255: with less contrast, grey is not enough

_SOLID = 64  # the least opacity, of 255, at which a colour is to be seen
_ONE_COLOUR = 30  # brightness of one ink varies less


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


def scaled(xp: ModuleType, pixels: Array, box: Box, side: Array = SIDE) -> View:
    """The view of `box` of a picture, uint8 [H, W, C], grey, RGB or RGBA; its longer side becomes `side` pixels."""
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


def grey(xp: ModuleType, planes: Array) -> Array:
    """int32 [SIDE, SIDE], 0 to 255: ITU-R 601, rounded as Pillow does; not yet laid on white."""
    return xp.right_shift(planes[0] * 19595 + planes[1] * 38470 + planes[2] * 7471 + 32768, 16)


def plane(xp: ModuleType, planes: Array, choice: Array) -> Array:
    """The chosen plane, int32 [SIDE, SIDE], 0 to 255."""
    shown = _each_plane(xp, planes)
    result = xp.where(choice == OPACITY, shown[OPACITY], shown[GREY])
    result = xp.where(choice == RED_GREEN, shown[RED_GREEN], result)
    return xp.where(choice == BLUE_YELLOW, shown[BLUE_YELLOW], result)


def _each_plane(xp: ModuleType, planes: Array) -> tuple[Array, Array, Array, Array]:
    """Grey laid on white, what is not opaque, and two differences of colours."""
    red, green, blue, opacity = planes[0], planes[1], planes[2], planes[3]
    red_green = xp.minimum(xp.maximum(red - green + 128, 0), 255)
    blue_yellow = xp.minimum(xp.maximum(blue - xp.right_shift(red + green, 1) + 128, 0), 255)
    return _on_white(xp, planes), 255 - opacity, red_green, blue_yellow


def _on_white(xp: ModuleType, planes: Array) -> Array:
    return grey(xp, planes) + 255 - planes[3]


def choose_plane(xp: ModuleType, shown: View) -> Array:
    """The plane that shows the ink: grey, unless ink of one colour lies on transparency, or differs by hue only."""
    opacity = shown.planes[3]
    is_transparent = xp.total(shown.inside & (opacity < 255)) * 100 > xp.total(shown.inside)
    straight = grey(xp, shown.planes) * 255 // xp.maximum(opacity, 1)
    solid = shown.inside & (opacity >= _SOLID)
    spread = xp.largest(xp.where(solid, straight, 0)) - xp.smallest(xp.where(solid, straight, 255))
    on_white, _, *hues = _each_plane(xp, shown.planes)
    in_grey, *in_hue = (_contrast(xp, values, shown.inside) for values in (on_white, *hues))
    is_hue = ~is_transparent & (in_grey < _PALE) & (xp.maximum(*in_hue) > 2 * in_grey)
    hue = xp.where(in_hue[0] >= in_hue[1], RED_GREEN, BLUE_YELLOW)
    return xp.where(is_hue, hue, xp.where(is_transparent & (spread < _ONE_COLOUR), OPACITY, GREY))


def is_pale(xp: ModuleType, shown: View) -> Array:
    """Whether a view shows too little in grey alone."""
    return _contrast(xp, _on_white(xp, shown.planes), shown.inside) < _PALE


def _contrast(xp: ModuleType, values: Array, inside: Array) -> Array:
    """The distance of the 0.5 % and the 99.5 % quantile."""
    low, _, high = quantiles(xp, blurred(xp, values), inside)
    return high - low
