"""Converts a picture of one character, as people take and draw them, to the image of an example.

The same code runs in NumPy (`xp` is `arrays`) and in the graph of a served model (`trainer.serving.tensors`).
"""

from collections.abc import Callable
from types import ModuleType

import numpy as np

from common.dataset.schema import EMNIST_SIZE, ImageSize
from common.formats.picture import decode
from common.normalize import arrays, paper, parts, view
from common.normalize.filters import Array
from common.normalize.paper import FULL
from common.normalize.parts import Ink
from common.normalize.view import SIDE, Box, View

VERSION = 3
"""The version of this conversion: datasets of pictures and models name the one that they were made with."""

CODES = ("", "no-ink", "several", "cut-off", "low-contrast", "polarity")
"""What can be wrong with a picture that was decoded; see `problems`."""
NONE, NO_INK, SEVERAL, CUT_OFF, LOW_CONTRAST, POLARITY = range(len(CODES))

JPEG = b"\xff\xd8\xff"
"""What a JPEG file begins with."""

# As EMNIST's own step does it to characters drawn by a pen: chosen on validation characters.
LONG_SIDE = 23.5 / 28
"""Of the character, in sides of the image."""
_SPREAD = 0.4  # σ of a pixel's weights, in pixels of the image
_USUAL = 64  # the longer side of writing in a view that is neither too coarse nor narrower than the paper's window
_FIRST, _STRICT, _CLOSER, _NO_MORE = range(4)
"""Looks at a picture: the second only if the first has a doubt of its parts, the third if the writing is small."""
_MARGIN = 50  # hundredths of the longer side


def read(content: bytes, size: ImageSize = EMNIST_SIZE) -> tuple[np.ndarray, str]:
    """The image, uint8 [H, W], light on dark, of a picture file, and the code of its problem (see `problems`), or "".

    Raises `PictureError` for a file that is not decoded.
    """
    colours = (lambda: decode(content, in_colour=True)) if content.startswith(JPEG) else None
    image, problem = to_image(arrays, decode(content), size, colours)
    return image.astype(np.uint8), CODES[problem]


def to_image(
    xp: ModuleType, pixels: Array, size: ImageSize, colours: Callable[[], Array] | None = None
) -> tuple[Array, Array]:
    """The image, float32 [H, W] of integers 0 to 255, and the problem of a picture uint8 [height, width, C].

    `colours` decodes the same picture with its colours. It is called if the picture shows too little without them.
    """
    pixels, whole = at_a_glance(xp, pixels, colours)
    return to_image_of(xp, pixels, whole, size)


def at_a_glance(xp: ModuleType, pixels: Array, colours: Callable[[], Array] | None) -> tuple[Array, View]:
    """The picture, with its colours if it needs them, and a view of the whole."""
    whole = _whole(xp, pixels)
    if not colours:
        return pixels, whole

    def coloured() -> tuple[Array, View]:
        decoded = colours()
        return decoded, _whole(xp, decoded)

    return xp.cond(view.is_pale(xp, whole), coloured, lambda: (pixels, whole))


def to_image_of(xp: ModuleType, pixels: Array, whole: View, size: ImageSize) -> tuple[Array, Array]:
    """The image and the problem, as `to_image` gives them, from a picture and a view of the whole."""
    choice = view.choose_plane(xp, whole)
    shown = view.plane(xp, whole.planes, choice)
    is_light, is_doubtful = paper.polarity(xp, shown, whole)
    height, width, _ = xp.shape(pixels)
    # A picture as small as an image is one, of a dataset; its ink may end at the edge.
    can_be_cut = xp.maximum(height, width) > max(size)

    def look(which: Array, strictness: Array, shown: View, before: Ink, problem: Array) -> tuple:
        ink, has_rules = _ink(xp, shown, choice, is_light, strictness)
        # That many dark lines are rules shows that the paper is light.
        seen = _problem(xp, ink, is_doubtful & ~has_rules, can_be_cut)
        # The closer look corrects what ran into the edge; others than the writing are seen in the first ones only.
        corrected = xp.where((which == _CLOSER) & (problem != CUT_OFF), problem, seen)
        # The strict look counts if it leaves one whole character, the closer one if it leaves any ink.
        strictness, ink, problem = xp.cond(
            (which != _FIRST) & (seen == NO_INK) | (which == _STRICT) & _is_of_parts(seen),
            lambda: (xp.integers(parts.USUAL), before, problem),
            lambda: (strictness, ink, corrected),
        )
        strictly = (which == _FIRST) & (_is_of_parts(problem) | ink.has_shade)
        stricter = xp.where(ink.has_shade, parts.WITHOUT_SHADE, parts.WITHOUT_RESTS)
        strictness = xp.where(strictly, stricter, strictness)
        longest = xp.maximum(ink.box.height, ink.box.width)
        is_usual = (longest * 4 > _USUAL * 3) & (longest * 4 < _USUAL * 5)
        closer = (which != _CLOSER) & ~strictly & ~is_usual & (ink.median > 0)
        shown = xp.cond(closer, lambda: _closer(xp, pixels, ink.box, shown), lambda: shown)
        return xp.where(strictly, _STRICT, xp.where(closer, _CLOSER, _NO_MORE)), strictness, shown, ink, problem

    start = (xp.integers(_FIRST), xp.integers(parts.USUAL), whole, parts.no_ink(xp), xp.integers(NONE))
    *_, ink, problem = xp.loop(lambda which, *_: which != _NO_MORE, look, start)
    return drawn(xp, _stretched(xp, ink), size), problem


def _is_of_parts(problem: Array) -> Array:
    """Whether the problem can come from the rest of a shadow, which is paler than the ink."""
    return (problem == SEVERAL) | (problem == CUT_OFF)


def _closer(xp: ModuleType, pixels: Array, box: Box, whole: View) -> View:
    """A view of the writing in a box of a view of the whole picture, in which the writing has the usual size."""
    height, width, _ = xp.shape(pixels)
    longest = xp.maximum(box.height, box.width)
    part = _around(xp, box, whole, height, width)
    side = xp.maximum(part.height, part.width) * _USUAL * SIDE // (longest * xp.maximum(height, width))
    return view.scaled(xp, pixels, part, xp.maximum(xp.minimum(side, SIDE), 1))


def _whole(xp: ModuleType, pixels: Array) -> View:
    height, width, _ = xp.shape(pixels)
    zero = xp.integers(0)
    return view.scaled(xp, pixels, Box(zero, zero, height, width), zero + SIDE)


def _ink(xp: ModuleType, shown: View, choice: Array, is_light: Array, strictness: Array) -> tuple[Ink, Array]:
    """The ink, and whether many rules were removed from it."""
    values = view.plane(xp, shown.planes, choice)
    values = xp.where(is_light, 255 - values, values)
    dark = paper.darkness(xp, values, shown)
    noise, inside = paper.noise_of(xp, dark, shown.inside), shown.inside

    def without_rules(count: Array, dark: Array, inside: Array) -> tuple[Array, Array, Array]:
        dark = paper.without_rules(xp, dark, inside, noise)
        return count + 1, xp.transpose(dark, (1, 0)), xp.transpose(inside, (1, 0))

    # Once along the rows, and once along the columns.
    _, plain, _ = xp.loop(lambda count, *_: count < 2, without_rules, (xp.integers(0), dark, inside))
    return parts.writing(xp, plain, shown, noise, strictness), xp.total(plain != dark) * 7 > xp.total(inside)


def _problem(xp: ModuleType, ink: Ink, is_doubtful: Array, can_be_cut: Array) -> Array:
    is_weak = (ink.median < 66) | (ink.median < 8 * ink.noise)
    problem = xp.where(is_doubtful | ink.is_block, POLARITY, NONE)
    problem = xp.where(is_weak, LOW_CONTRAST, problem)
    problem = xp.where(ink.is_cut & can_be_cut, CUT_OFF, problem)
    problem = xp.where(ink.is_several, SEVERAL, problem)
    return xp.where(ink.median == 0, NO_INK, problem)


def _around(xp: ModuleType, box: Box, shown: View, height: Array, width: Array) -> Box:
    """The part of the picture around a box of a view of the whole picture."""
    margin = xp.maximum(xp.maximum(box.height, box.width) * _MARGIN // 100, 4)
    top, bottom = xp.maximum(box.top - margin, 0), xp.minimum(box.top + box.height + margin, shown.height)
    left, right = xp.maximum(box.left - margin, 0), xp.minimum(box.left + box.width + margin, shown.width)
    top, bottom = top * height // shown.height, bottom * height // shown.height
    left, right = left * width // shown.width, right * width // shown.width
    return Box(top, left, xp.maximum(bottom - top, 1), xp.maximum(right - left, 1))


def _stretched(xp: ModuleType, ink: Ink) -> Array:
    """int32 [SIDE, SIDE], 0 to 255: full where the ink is as dark as usual, 0 in the grain of the paper."""
    relative = xp.minimum(ink.darkness * FULL // xp.maximum(ink.median, 1), FULL)
    low = xp.minimum(xp.maximum(3 * ink.noise, 41), 358)
    return xp.maximum(relative - low, 0) * 255 // (FULL - low)


def drawn(xp: ModuleType, ink: Array, size: ImageSize) -> Array:
    """Scales the ink, int32 [SIDE, SIDE], to an image: its longer side fills 23.5 of 28 pixels, its box is centred.

    Ink counts by its square, which leaves strokes as wide as EMNIST's. The image is float32 [H, W], integers 0 to 255.
    """
    mask = ink > 30
    rows, columns = xp.integers(xp.any_of(mask, axis=1)), xp.integers(xp.any_of(mask, axis=0))
    (top, bottom), (left, right) = _ends(xp, rows), _ends(xp, columns)
    scale = xp.maximum(xp.floats(bottom - top) / (size[0] * LONG_SIDE), xp.floats(right - left) / (size[1] * LONG_SIDE))
    down = _weights(xp, xp.floats(top + bottom) / 2, scale, size[0])
    across = _weights(xp, xp.floats(left + right) / 2, scale, size[1])
    image = xp.matmul(xp.matmul(down, xp.floats(ink * ink)), xp.transpose(across, (1, 0)))
    most = xp.largest(image)
    return xp.rounded(image * (255 / xp.where(most > 0, most, 1.0)))


def _ends(xp: ModuleType, filled: Array) -> tuple[Array, Array]:
    """The first filled place, and the place behind the last."""
    return xp.first_largest(filled), SIDE - xp.first_largest(filled[::-1])


def _weights(xp: ModuleType, middle: Array, scale: Array, side: int) -> Array:
    """float32 [side, SIDE]: a Gaussian around the place of each pixel of the image."""
    places = (xp.floats(xp.arange(side)) + 0.5 - side / 2)[:, None] * scale + middle
    offsets = (xp.floats(xp.arange(SIDE)) + 0.5)[None, :] - places
    return xp.exp(-0.5 * (offsets / (_SPREAD * xp.maximum(scale, 1.0))) ** 2)
