"""Statistics of a split that a person can use, gathered chunk by chunk, and one picture of them."""

import io
import math
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.dataset.manifest import Shard, Split
from common.dataset.records import IMAGE_BYTES

if TYPE_CHECKING:
    from common.dataset.manifest import Manifest

_INK = 128  # pixels from here on count as ink
_SATURATED = 0.9  # of all pixels being ink, an image shows no character any more

_PANEL, _TITLE, _NAMES, _AXIS, _MARGIN = 250, 44, 26, 80, 12  # pixels of the picture
_CLASS_WIDTH, _MIN_WIDTH, _MAX_WIDTH = 22, 720, 2160


@dataclass(frozen=True)
class PixelSums:
    """What can be added up over chunks of images, exactly."""

    pixels: int = 0
    squares: int = 0
    ink_pixels: int = 0
    empty_images: int = 0
    saturated_images: int = 0

    def __add__(self, other: "PixelSums") -> "PixelSums":
        return PixelSums(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))


def sum_pixels(images: np.ndarray) -> PixelSums:
    """The sums of a chunk of images, uint8 [N, 784]."""
    ink = (images >= _INK).sum(axis=1)
    return PixelSums(
        pixels=int(images.sum(axis=1, dtype=np.uint32).sum(dtype=np.uint64)),
        squares=int(np.square(images, dtype=np.uint16).sum(dtype=np.uint64)),
        ink_pixels=int(ink.sum()),
        empty_images=int((images.max(axis=1) == 0).sum()),
        saturated_images=int((ink >= _SATURATED * IMAGE_BYTES).sum()),
    )


def describe_split(
    shards: tuple[Shard, ...], class_histogram: tuple[int, ...], sums: PixelSums, leaked: int, dropped: int
) -> Split:
    """The manifest's entry of a split."""
    count = sum(shard.num_examples for shard in shards)
    pixels = max(count, 1) * IMAGE_BYTES
    mean = sums.pixels / pixels
    present = [examples for examples in class_histogram if examples]
    return Split(
        num_examples=count,
        class_histogram=class_histogram,
        imbalance_ratio=max(present) / min(present) if present else 1.0,
        pixel_mean=mean,
        pixel_std=math.sqrt(max(sums.squares / pixels - mean**2, 0)),
        ink_fraction=sums.ink_pixels / pixels,
        empty_images=sums.empty_images,
        saturated_images=sums.saturated_images,
        leaked=leaked,
        dropped=dropped,
        shards=shards,
    )


def draw(manifest: "Manifest") -> bytes:
    """A PNG: the class histogram of each split, with its figures in words above it.

    Matplotlib would take longer to draw it than all else takes to make a small dataset; only its font is used.
    """
    from matplotlib import get_data_path

    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 12)
    width = min(max(_MIN_WIDTH, _CLASS_WIDTH * len(manifest.class_names)), _MAX_WIDTH)
    picture = Image.new("RGB", (width, _PANEL * len(manifest.splits)), "white")
    pen = ImageDraw.Draw(picture)
    for number, (name, split) in enumerate(manifest.splits.items()):
        pen.text((_AXIS, number * _PANEL + 6), _describe(name, split), "black", font)
        box = (_AXIS, number * _PANEL + _TITLE, width - _MARGIN, (number + 1) * _PANEL - _NAMES)
        _draw_bars(pen, font, box, split.class_histogram, manifest.class_names)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _describe(name: str, split: Split) -> str:
    return (
        f"{name}: {split.num_examples:,} examples, largest class {split.imbalance_ratio:.1f} times the smallest, "
        f"{split.class_histogram.count(0)} classes absent\n"
        f"pixels {split.pixel_mean:.1f} ± {split.pixel_std:.1f}, {split.ink_fraction:.1%} ink, "
        f"{split.empty_images} empty, {split.saturated_images} saturated"
        + (f", {split.leaked} also in test" if name != "test" else "")
        + (f", {split.dropped} dropped" if split.dropped else "")
    )


def _draw_bars(
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont,
    box: tuple[int, int, int, int],
    counts: tuple[int, ...],
    names: tuple[str, ...],
) -> None:
    left, top, right, bottom = box
    height = (bottom - top) / (1.05 * max(counts))  # of one example
    power = 10 ** (len(str(max(counts))) - 1)
    step = next(step for step in (power // 5, power // 2, power, 2 * power) if step and max(counts) <= 5 * step)
    for examples in range(0, max(counts) + 1, step):
        level = bottom - round(height * examples)
        pen.line((left - 4, level, left, level), "black")
        pen.text((left - 7, level), f"{examples:,}", "black", font, anchor="rm")
    places = np.linspace(left, right, len(names) + 1).tolist()
    for (start, end), examples, name in zip(pairwise(places), counts, names, strict=True):
        gap = 0.1 * (end - start)
        if examples:
            pen.rectangle((start + gap, bottom - height * examples, end - gap, bottom), "#1f77b4")
        pen.text(((start + end) / 2, bottom + 6), name, "black", font, anchor="ma")
    pen.rectangle(box, outline="black")
