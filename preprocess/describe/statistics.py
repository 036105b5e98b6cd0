"""Statistics of a split for people to read, accumulated chunk by chunk, and a chart of them."""

import io
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from common import fonts
from common.dataset.manifest import Shard, Split
from common.dataset.schema import GROUP, IMAGE, LABEL, TEXT, TEXT_LENGTH, WIDTH, Batch, Schema

if TYPE_CHECKING:
    from common.dataset.manifest import Manifest

WIDTH_STEP = 32
"""Lines are counted by width in steps of so many pixels."""

_INK = 128  # pixels of at least this are ink
_SATURATED = 0.9  # an image with at least this share of ink shows no character

_PANEL, _TITLE, _NAMES, _AXIS, _MARGIN = 250, 44, 26, 80, 12  # pixels of the picture
_TEXT, _LINE, _OF_WARNINGS = 12, 16, "#b00020"
_CLASS_WIDTH, _MIN_WIDTH, _MAX_WIDTH = 22, 720, 2160


@dataclass(frozen=True)
class Sums:
    """Exact sums that add up over chunks of examples."""

    pixels: "PixelSums" = field(default_factory=lambda: PixelSums())
    histogram: tuple[int, ...] = ()
    """How often each class or character occurs."""
    widths: tuple[int, ...] = ()
    """Lines by width, as in the manifest."""
    lengths: tuple[int, ...] = ()
    groups: frozenset[int] = frozenset()
    """The numbers of the groups of lines."""

    def __add__(self, other: "Sums") -> "Sums":
        counts = (
            tuple(left + right for left, right in zip_longest(mine, its, fillvalue=0))
            for mine, its in (
                (self.histogram, other.histogram),
                (self.widths, other.widths),
                (self.lengths, other.lengths),
            )
        )
        return Sums(self.pixels + other.pixels, *counts, self.groups | other.groups)


def sum_up(examples: Batch, schema: Schema) -> Sums:
    """The sums of a chunk of examples; of lines, only pixels inside them count."""
    if not schema.has_width:
        return Sums(sum_pixels(examples[IMAGE]), _counts(examples[LABEL], len(schema.characters)))
    widths, lengths, texts = examples[WIDTH], examples[TEXT_LENGTH], examples[TEXT]
    written = texts[np.arange(texts.shape[1]) < lengths[:, None]]
    return Sums(
        sum_pixels(examples[IMAGE], widths * schema.image_shape[0]),
        _counts(written, len(schema.characters)),
        _counts((widths - 1) // WIDTH_STEP),
        _counts(lengths),
        frozenset(examples[GROUP].tolist()),
    )


def _counts(numbers: np.ndarray, at_least: int = 0) -> tuple[int, ...]:
    return tuple(np.bincount(numbers, minlength=at_least).tolist())


@dataclass(frozen=True)
class PixelSums:
    """Exact sums that add up over chunks of images."""

    num_pixels: int = 0
    pixels: int = 0
    """The sum of all pixel values."""
    squares: int = 0
    foreground_pixels: int = 0
    empty_images: int = 0
    saturated_images: int = 0

    def __add__(self, other: "PixelSums") -> "PixelSums":
        return PixelSums(*(left + right for left, right in zip(astuple(self), astuple(other), strict=True)))


def sum_pixels(images: np.ndarray, sizes: np.ndarray | None = None) -> PixelSums:
    """The sums of a chunk of images, uint8 [N, …]; `sizes`, if given, are the pixels of each that count, the rest 0."""
    images = images.reshape(len(images), -1)
    sizes = np.full(len(images), images.shape[1]) if sizes is None else sizes
    ink = (images >= _INK).sum(axis=1)
    return PixelSums(
        num_pixels=int(sizes.sum()),
        pixels=int(images.sum(axis=1, dtype=np.uint32).sum(dtype=np.uint64)),
        squares=int(np.square(images, dtype=np.uint16).sum(dtype=np.uint64)),
        foreground_pixels=int(ink.sum()),
        empty_images=int((images.max(axis=1) == 0).sum()),
        saturated_images=int((ink >= _SATURATED * sizes).sum()),
    )


def describe_split(shards: tuple[Shard, ...], sums: Sums, leaked: int, excluded: int) -> Split:
    """The manifest's entry for a split."""
    count = sum(shard.num_examples for shard in shards)
    of_pixels, class_histogram = sums.pixels, sums.histogram
    pixels = max(of_pixels.num_pixels, 1)
    mean = of_pixels.pixels / pixels
    present = [examples for examples in class_histogram if examples]
    return Split(
        num_examples=count,
        class_histogram=class_histogram,
        imbalance_ratio=max(present) / min(present) if present else 1.0,
        pixel_mean=mean,
        pixel_std=math.sqrt(max(of_pixels.squares / pixels - mean**2, 0)),
        foreground_fraction=of_pixels.foreground_pixels / pixels,
        empty_images=of_pixels.empty_images,
        saturated_images=of_pixels.saturated_images,
        leaked=leaked,
        excluded=excluded,
        num_groups=len(sums.groups),
        widths=sums.widths,
        lengths=sums.lengths,
        shards=shards,
    )


def draw(manifest: "Manifest") -> bytes:
    """A PNG with the class histogram of each split, and its statistics as text above it; of lines more histograms.

    The dataset's warnings stand above all. Drawing it with Matplotlib would take longer than making a small dataset.
    """
    charts = [chart for name, split in manifest.splits.items() for chart in _charts(name, split, manifest.schema)]
    width = min(max(_MIN_WIDTH, _CLASS_WIDTH * len(manifest.schema.characters)), _MAX_WIDTH)
    rooms = [_room_for_names(chart, width) for chart in charts]
    warnings = [
        line
        for warning in manifest.warnings
        for line in fonts.wrap(f"Warning: {warning}", _TEXT, width - _AXIS - _MARGIN)
    ]
    top = len(warnings) * _LINE + (_MARGIN if warnings else 0)
    picture = Image.new("RGB", (width, top + sum(_PANEL - _NAMES + room for room, _ in rooms)), "white")
    pen = ImageDraw.Draw(picture)
    _write_lines(pen, (_AXIS, _MARGIN // 2), warnings, _OF_WARNINGS)
    for chart, (room, is_upwards) in zip(charts, rooms, strict=True):
        _write_lines(pen, (_AXIS, top + 6), chart.title.split("\n"), "black")
        box = (_AXIS, top + _TITLE, width - _MARGIN, top + _PANEL - _NAMES)
        _draw_bars(pen, box, chart.counts)
        for place, label in zip(_places(box, len(chart.names)), chart.names, strict=True):
            _write(picture, (place, box[3] + 6), label, is_upwards)
        top = box[3] + room
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class _Chart:
    title: str
    counts: tuple[int, ...]
    names: tuple[str, ...]
    """The name of each bar; empty where there is no room for all."""


def _charts(name: str, split: Split, schema: Schema) -> list[_Chart]:
    of_classes = _Chart(_describe(name, split), split.class_histogram, schema.characters)
    if not schema.has_width:
        return [of_classes]
    widths = tuple(str((place + 1) * WIDTH_STEP) if place % 4 == 3 else "" for place in range(len(split.widths)))
    lengths = tuple(str(place) if place % 5 == 0 else "" for place in range(len(split.lengths)))
    return [
        of_classes,
        _Chart(f"{name}: lines by width in pixels, of {split.num_groups} groups", split.widths, widths),
        _Chart(f"{name}: lines by their number of characters", split.lengths, lengths),
    ]


def _room_for_names(chart: _Chart, width: int) -> tuple[int, bool]:
    """The pixels below the bars, and whether the names are written upwards."""
    longest = math.ceil(max(fonts.length(name, _TEXT) for name in chart.names))
    named = sum(map(bool, chart.names))
    is_upwards = longest > (width - _AXIS - _MARGIN) / named
    return longest + 12 if is_upwards else _NAMES, is_upwards


def _describe(name: str, split: Split) -> str:
    what = "lines; the most frequent character" if split.lengths else "examples, largest class"
    return (
        f"{name}: {split.num_examples:,} {what} {split.imbalance_ratio:.1f} times the smallest, "
        f"{split.class_histogram.count(0)} absent\n"
        f"pixels {split.pixel_mean:.1f} ± {split.pixel_std:.1f}, {split.foreground_fraction:.1%} ink, "
        f"{split.empty_images} empty, {split.saturated_images} saturated"
        + (f", {split.leaked} also in test" if name != "test" else "")
        + (f", {split.excluded} excluded" if split.excluded else "")
    )


def _places(box: tuple[int, int, int, int], count: int) -> list[float]:
    """The middle of each of `count` bars."""
    edges = np.linspace(box[0], box[2], count + 1)
    return ((edges[:-1] + edges[1:]) / 2).tolist()


def _write_lines(pen: ImageDraw.ImageDraw, place: tuple[int, int], lines: Sequence[str], fill: str) -> None:
    for number, line in enumerate(lines):
        fonts.write(pen, (place[0], place[1] + number * _LINE), line, _TEXT, fill)


def _write(picture: Image.Image, place: tuple[float, int], text: str, is_upwards: bool) -> None:
    """Writes the name of a class below its bar; upwards if names are wider than bars."""
    if not is_upwards:
        fonts.write(ImageDraw.Draw(picture), place, text, _TEXT, "black", "ma")
        return
    mask = Image.new("L", (math.ceil(fonts.length(text, _TEXT)), 18))
    fonts.write(ImageDraw.Draw(mask), (0, 1), text, _TEXT, 255)
    mask = mask.rotate(90, expand=True)
    picture.paste("black", (round(place[0] - mask.width / 2), place[1]), mask)


def _draw_bars(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], counts: tuple[int, ...]) -> None:
    left, top, right, bottom = box
    height = (bottom - top) / (1.05 * max(counts))  # of one example
    power = 10 ** (len(str(max(counts))) - 1)
    step = next(step for step in (power // 5, power // 2, power, 2 * power) if step and max(counts) <= 5 * step)
    for examples in range(0, max(counts) + 1, step):
        level = bottom - round(height * examples)
        pen.line((left - 4, level, left, level), "black")
        fonts.write(pen, (left - 7, level), f"{examples:,}", _TEXT, "black", "rm")
    half = 0.4 * (right - left) / len(counts)
    for place, examples in zip(_places(box, len(counts)), counts, strict=True):
        if examples:
            pen.rectangle((place - half, bottom - height * examples, place + half, bottom), "#1f77b4")
    pen.rectangle(box, outline="black")
