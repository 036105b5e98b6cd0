"""The band of a page that a picture of a line shows: its height is always the same, its ink's is not."""

import numpy as np

LINE_HEIGHT = 64
"""The height of a drawn or composed line, in pixels."""

_LEAST = 0.65  # of the usual band: a line of a single hyphen is not enlarged until it fills the picture


def cut(
    ink: tuple[float, float], usual: tuple[float, float], margin: float, rng: np.random.Generator
) -> tuple[float, float]:
    """The bottom and top of the band to show, y upwards: all of the ink, and a margin above and below.

    Layout analysis cuts some lines close to their ink and some at the usual ascenders and descenders, so each edge
    lies anywhere between the two.
    """
    bottom = ink[0] - rng.random() * max(0.0, ink[0] - usual[0])
    top = ink[1] + rng.random() * max(0.0, usual[1] - ink[1])
    missing = max(0.0, _LEAST * (usual[1] - usual[0]) - (top - bottom)) / 2
    return bottom - missing - margin, top + missing + margin
