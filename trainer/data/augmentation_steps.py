"""The names and strengths of the augmentation steps, without TensorFlow; `augmentation` implements them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from common.dataset.schema import Schema
from common.errors import InputError, unknown


@dataclass(frozen=True)
class Strength:
    """The one parameter of a step."""

    meaning: str
    default: float
    lowest: float
    highest: float
    """Beyond it, characters turn into others or vanish."""


STEPS = {
    "rotate": Strength("degrees, either way", 10, 0, 45),
    "scale": Strength("share of the size, larger or smaller", 0.1, 0, 0.5),
    "shear": Strength("degrees of slant, either way", 10, 0, 30),
    "shift": Strength("pixels, in both directions", 2, 0, 8),
    "elastic": Strength("pixels of the largest displacement", 1.5, 0, 2.5),
    "redraw": Strength("as the share of the images that are drawn anew, like those of pictures", 0.5, 0, 1),
    "erase": Strength("pixels of the largest erased square's side", 8, 1, 14),
    "random_patch": Strength("pixels of the smallest patch's side", 24, 14, 28),
}

STEPS_OF_LINES = {
    "stretch": Strength("as the share of the width, wider or narrower", 0.25, 0, 0.5),
    "grow": Strength("as the share of the height, larger or smaller", 0.15, 0, 0.4),
    "slant": Strength("degrees, either way", 25, 0, 45),
    "tilt": Strength("degrees, either way", 1, 0, 5),
    "lift": Strength("pixels, up or down", 2, 0, 8),
    "warp": Strength("pixels that letters move by, each its own way", 3, 0, 6),
    "thicken": Strength("as the share of a pixel that strokes grow or shrink by", 0.7, 0, 1),
    "fade": Strength("as the share of the brightness, more or less", 0.3, 0, 0.8),
    "blank": Strength("as the share of the columns that are blanked, a few at a time", 0.1, 0, 0.5),
}
"""Of lines; a line is never narrower than its text needs."""

_FORM = re.compile(r"(\w+)(?:\(\s*([-+.\deE]*)\s*\))?")


def parse(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Parses texts such as `rotate(10)` or `erase` into steps and strengths. Raises `InputError` for anything else."""
    return tuple(_parse_one(text) for text in texts)


def check_fits(texts: Sequence[str], schema: Schema) -> None:
    """Raises `InputError` for a step that is for another task, or would not change images of this size."""
    height, width, _ = schema.image_shape
    known = STEPS_OF_LINES if schema.has_width else STEPS
    for text, (name, strength) in zip(texts, parse(texts), strict=True):
        if name not in known:
            raise InputError(
                f"--augmentation {text}: is not for {schema.task}, which have the steps {', '.join(known)}"
            )
        if name == "random_patch" and strength >= min(height, width):
            raise InputError(f"--augmentation {text}: the patch must be smaller than the images, {height}×{width}")


def _parse_one(text: str) -> tuple[str, float]:
    match = _FORM.fullmatch(text.strip())
    if not match:
        raise InputError(f"--augmentation {text}: must look like rotate(10)")
    name, number = match.groups()
    every = STEPS | STEPS_OF_LINES
    if name not in every:
        raise unknown("augmentation step", name, tuple(every))
    strength = every[name]
    try:
        value = float(number) if number else strength.default
    except ValueError:
        value = float("nan")
    if not strength.lowest <= value <= strength.highest:
        allowed = f"{strength.lowest:g} to {strength.highest:g}"
        raise InputError(f"--augmentation {text}: {name} takes {allowed} {strength.meaning}")
    return name, value
