"""Draws the pictures of a run folder: `curves.png` and, with augmentation, `augmentation.png`."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from common import fonts

_GAP = 0.1  # between two images, of their side


def draw_curves(epochs: list[dict[str, Any]], path: Path) -> None:
    """Plots loss and accuracy from the lines of `metrics.jsonl`; training solid, validation (if any) dashed."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, style in (("train", "o-"), ("validation", "s--")):
            points = [(epoch["epoch"], epoch[split][name]) for epoch in epochs if split in epoch]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=split)
        axes.set(title=name.capitalize(), xlabel="epoch", ylabel="cross-entropy (nats)" if name == "loss" else None)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    figure.savefig(path, dpi=110)


def draw_augmentation(
    images: np.ndarray, augmented: list[np.ndarray], names: list[str], steps: tuple[str, ...], path: Path
) -> None:
    """Draws a column for each of `images`, uint8 [N, H, W, 1], titled by `names`; below it, its augmented versions.

    `augmented`: for each version 0…255, [N, H, W, 1].
    """
    rows = np.stack([images, *augmented])[..., 0]
    gaps = [round(side * _GAP) for side in rows.shape[2:]]
    # One picture of all images: axes of its own for each would take seconds.
    framed = np.pad(rows, [(0, 0), (0, 0), *((0, gap) for gap in gaps)], constant_values=255)
    num_rows, num_columns, height, width = framed.shape
    figure = Figure(figsize=(0.6 * num_columns + 0.4, 0.6 * num_rows + 0.9), layout="constrained")
    figure.suptitle(f"first row original, then {' '.join(steps)}", fontsize=8)
    axes = figure.subplots()
    axes.imshow(framed.swapaxes(1, 2).reshape(num_rows * height, num_columns * width), cmap="gray", vmin=0, vmax=255)
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    axes.xaxis.tick_top()
    axes.set_xticks((np.arange(num_columns) + 0.5) * width - gaps[1] / 2, **_labels(names), fontsize=9)
    axes.tick_params(length=0)
    figure.savefig(path, dpi=110)


def draw_augmentation_of_lines(
    images: np.ndarray, augmented: list[np.ndarray], names: list[str], steps: tuple[str, ...], path: Path
) -> None:
    """Draws `images`, uint8 [N, H, W, 1], titled by `names`, and below each its augmented versions.

    `augmented`: for each version 0…255, [N, H, any width, 1].
    """
    versions = [images, *augmented]
    width = max(_ink_width(version) for version in versions) + 1
    rows = np.stack([_fitted(version, width) for version in versions])[..., 0].swapaxes(0, 1)
    gap = round(rows.shape[2] * _GAP)
    framed = np.pad(rows, [(0, 0), (0, 0), (0, gap), (0, 0)], constant_values=255)
    num_lines, num_versions, height, _ = framed.shape
    figure = Figure(figsize=(width / 100, num_lines * num_versions * height / 100 + 0.9), layout="constrained")
    figure.suptitle(f"original, then {' '.join(steps)}", fontsize=8)
    axes = figure.subplots()
    axes.imshow(framed.reshape(num_lines * num_versions * height, width), cmap="gray", vmin=0, vmax=255)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    places = (np.arange(num_lines) + 0.5) * num_versions * height
    axes.set_yticks(places, **_labels(names), fontsize=7, rotation=90, va="center")
    axes.tick_params(length=0)
    figure.savefig(path, dpi=110)


def _labels(names: list[str]) -> dict[str, Any]:
    """Names of any script as they are, so that `$` begins no formula."""
    return {
        "labels": list(map(fonts.legible, names)),
        "fontfamily": fonts.families("".join(names)),
        "parse_math": False,
    }


def _ink_width(images: np.ndarray) -> int:
    return int(np.flatnonzero(images.any(axis=(0, 1, 3))).max(initial=0)) + 1


def _fitted(images: np.ndarray, width: int) -> np.ndarray:
    """[N, H, W, 1] cut off or filled up with background on the right."""
    cut = images[:, :, :width]
    return np.pad(cut, ((0, 0), (0, 0), (0, width - cut.shape[2]), (0, 0)))
