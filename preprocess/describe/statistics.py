"""Statistics of a split for people to read, accumulated chunk by chunk, and a chart of them."""

import io
import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.dataset.manifest import Shard, Split

if TYPE_CHECKING:
    from common.dataset.manifest import Manifest

_INK = 128  # pixels of at least this are ink
_SATURATED = 0.9  # an image with at least this share of ink shows no character

_PANEL, _TITLE, _NAMES, _AXIS, _MARGIN = 250, 44, 26, 80, 12  # pixels of the picture
_CLASS_WIDTH, _MIN_WIDTH, _MAX_WIDTH = 22, 720, 2160


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


def sum_pixels(images: np.ndarray) -> PixelSums:
    """The sums of a chunk of images, uint8 [N, …]."""
    images = images.reshape(len(images), -1)
    ink = (images >= _INK).sum(axis=1)
    return PixelSums(
        num_pixels=images.size,
        pixels=int(images.sum(axis=1, dtype=np.uint32).sum(dtype=np.uint64)),
        squares=int(np.square(images, dtype=np.uint16).sum(dtype=np.uint64)),
        foreground_pixels=int(ink.sum()),
        empty_images=int((images.max(axis=1) == 0).sum()),
        saturated_images=int((ink >= _SATURATED * images.shape[1]).sum()),
    )


def describe_split(
    shards: tuple[Shard, ...], class_histogram: tuple[int, ...], sums: PixelSums, leaked: int, excluded: int
) -> Split:
    """The manifest's entry for a split."""
    count = sum(shard.num_examples for shard in shards)
    pixels = max(sums.num_pixels, 1)
    mean = sums.pixels / pixels
    present = [examples for examples in class_histogram if examples]
    return Split(
        num_examples=count,
        class_histogram=class_histogram,
        imbalance_ratio=max(present) / min(present) if present else 1.0,
        pixel_mean=mean,
        pixel_std=math.sqrt(max(sums.squares / pixels - mean**2, 0)),
        foreground_fraction=sums.foreground_pixels / pixels,
        empty_images=sums.empty_images,
        saturated_images=sums.saturated_images,
        leaked=leaked,
        excluded=excluded,
        shards=shards,
    )


def draw(manifest: "Manifest") -> bytes:
    """A PNG with the class histogram of each split, and its statistics as text above it.

    Drawing it with Matplotlib would take longer than making a small dataset, so only Matplotlib's font is used.
    """
    from matplotlib import get_data_path

    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 12)
    width = min(max(_MIN_WIDTH, _CLASS_WIDTH * len(manifest.class_names)), _MAX_WIDTH)
    longest = math.ceil(max(map(font.getlength, manifest.class_names)))
    is_upwards = longest > (width - _AXIS - _MARGIN) / len(manifest.class_names)
    room = longest + 12 if is_upwards else _NAMES
    panel = _PANEL - _NAMES + room
    picture = Image.new("RGB", (width, panel * len(manifest.splits)), "white")
    pen = ImageDraw.Draw(picture)
    for number, (name, split) in enumerate(manifest.splits.items()):
        pen.text((_AXIS, number * panel + 6), _describe(name, split), "black", font)
        box = (_AXIS, number * panel + _TITLE, width - _MARGIN, (number + 1) * panel - room)
        _draw_bars(pen, font, box, split.class_histogram)
        for place, label in zip(_places(box, len(manifest.class_names)), manifest.class_names, strict=True):
            _write(picture, (place, box[3] + 6), label, font, is_upwards)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _describe(name: str, split: Split) -> str:
    return (
        f"{name}: {split.num_examples:,} examples, largest class {split.imbalance_ratio:.1f} times the smallest, "
        f"{split.class_histogram.count(0)} classes absent\n"
        f"pixels {split.pixel_mean:.1f} ± {split.pixel_std:.1f}, {split.foreground_fraction:.1%} ink, "
        f"{split.empty_images} empty, {split.saturated_images} saturated"
        + (f", {split.leaked} also in test" if name != "test" else "")
        + (f", {split.excluded} excluded" if split.excluded else "")
    )


def _places(box: tuple[int, int, int, int], count: int) -> list[float]:
    """The middle of each of `count` bars."""
    edges = np.linspace(box[0], box[2], count + 1)
    return ((edges[:-1] + edges[1:]) / 2).tolist()


def _write(
    picture: Image.Image, place: tuple[float, int], text: str, font: ImageFont.FreeTypeFont, is_upwards: bool
) -> None:
    """Writes the name of a class below its bar; upwards if names are wider than bars."""
    if not is_upwards:
        ImageDraw.Draw(picture).text(place, text, "black", font, anchor="ma")
        return
    mask = Image.new("L", (math.ceil(font.getlength(text)), 16))
    ImageDraw.Draw(mask).text((0, 0), text, 255, font)
    mask = mask.rotate(90, expand=True)
    picture.paste("black", (round(place[0] - mask.width / 2), place[1]), mask)


def _draw_bars(
    pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, box: tuple[int, int, int, int], counts: tuple[int, ...]
) -> None:
    left, top, right, bottom = box
    height = (bottom - top) / (1.05 * max(counts))  # of one example
    power = 10 ** (len(str(max(counts))) - 1)
    step = next(step for step in (power // 5, power // 2, power, 2 * power) if step and max(counts) <= 5 * step)
    for examples in range(0, max(counts) + 1, step):
        level = bottom - round(height * examples)
        pen.line((left - 4, level, left, level), "black")
        pen.text((left - 7, level), f"{examples:,}", "black", font, anchor="rm")
    half = 0.4 * (right - left) / len(counts)
    for place, examples in zip(_places(box, len(counts)), counts, strict=True):
        if examples:
            pen.rectangle((place - half, bottom - height * examples, place + half, bottom), "#1f77b4")
    pen.rectangle(box, outline="black")
