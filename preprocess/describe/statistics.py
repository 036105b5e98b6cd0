"""Statistics of a split that a person can use, gathered chunk by chunk, and one picture of them."""

import io
import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.dataset.manifest import Shard, Split

if TYPE_CHECKING:
    from common.dataset.manifest import Manifest

_INK = 128  # pixels from here on count as ink
_SATURATED = 0.9  # of all pixels being ink, an image shows no character any more


@dataclass(frozen=True)
class PixelSums:
    """What can be added up over chunks of images, exactly."""

    num_pixels: int = 0
    pixels: int = 0
    """The sum of their values."""
    squares: int = 0
    ink_pixels: int = 0
    empty_images: int = 0
    saturated_images: int = 0

    def __add__(self, other: "PixelSums") -> "PixelSums":
        return PixelSums(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))


def sum_pixels(images: np.ndarray) -> PixelSums:
    """The sums of a chunk of images, uint8 [N, …]."""
    images = images.reshape(len(images), -1)
    ink = (images >= _INK).sum(axis=1)
    return PixelSums(
        num_pixels=images.size,
        pixels=int(images.sum(axis=1, dtype=np.uint32).sum(dtype=np.uint64)),
        squares=int(np.square(images, dtype=np.uint16).sum(dtype=np.uint64)),
        ink_pixels=int(ink.sum()),
        empty_images=int((images.max(axis=1) == 0).sum()),
        saturated_images=int((ink >= _SATURATED * images.shape[1]).sum()),
    )


def describe_split(
    shards: tuple[Shard, ...], class_histogram: tuple[int, ...], sums: PixelSums, leaked: int, dropped: int
) -> Split:
    """The manifest's entry of a split."""
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
        ink_fraction=sums.ink_pixels / pixels,
        empty_images=sums.empty_images,
        saturated_images=sums.saturated_images,
        leaked=leaked,
        dropped=dropped,
        shards=shards,
    )


def draw(manifest: "Manifest") -> bytes:
    """A PNG: the class histogram of each split, with its figures in words above it."""
    from matplotlib.figure import Figure

    num_classes = len(manifest.class_names)
    longest = max(map(len, manifest.class_names))
    room = 0.08 * longest if longest > 2 else 0.0  # inches for names that are written upwards
    width, height = min(max(7, num_classes / 4), 24), (2.8 + room) * len(manifest.splits)
    # Fixed margins and one shape for all bars: a layout that measures each text costs as much as a small dataset does.
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(0.8 / width, (0.3 + room) / height, 1 - 0.1 / width, 1 - 0.5 / height, 0, 0.45 + room / 2)
    panels = figure.subplots(len(manifest.splits), 1, squeeze=False)[:, 0]
    edges = (np.arange(num_classes)[:, None] + (-0.4, 0.4)).ravel()  # of bars with gaps between them
    for axes, (name, split) in zip(panels, manifest.splits.items(), strict=True):
        heights = np.zeros(len(edges) - 1)
        heights[::2] = split.class_histogram
        axes.stairs(heights, edges, fill=True)
        axes.set_xticks(range(num_classes), manifest.class_names, rotation=90 if room else 0)
        axes.set_xlim(-0.7, num_classes - 0.3)
        axes.set_ylabel("examples")
        axes.set_title(
            f"{name}: {split.num_examples:,} examples, largest class {split.imbalance_ratio:.1f} times the smallest, "
            f"{split.class_histogram.count(0)} classes absent\n"
            f"pixels {split.pixel_mean:.1f} ± {split.pixel_std:.1f}, {split.ink_fraction:.1%} ink, "
            f"{split.empty_images} empty, {split.saturated_images} saturated"
            + (f", {split.leaked} also in test" if name != "test" else "")
            + (f", {split.dropped} dropped" if split.dropped else ""),
            fontsize=9,
            loc="left",
        )
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=90, metadata={"Software": None})
    return buffer.getvalue()
