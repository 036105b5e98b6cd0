"""The embedded dataset: characters drawn from Matplotlib's outline fonts, so that everything runs without real data.

Each character is a glyph that a seeded generator slants, rotates, scales, bends elastically, thickens and shifts, then
brings to 28×28 as the EMNIST paper did. The result is written in the official layout (file names, gzip, transposed
images, mapping file, Letters' labels from 1), so that it takes the same path as real files.
"""

import gzip
import logging
import math
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageDraw

from common.dataset.schema import EMNIST_SIZE
from common.formats import idx
from common.normalize.character import CANVAS_SIDE, to_image
from common.signals import end_with
from common.storage import to_path, write_atomically
from preprocess.catalogue import KnownDataset
from preprocess.config import SYNTHETIC
from preprocess.sources import arrays
from preprocess.sources.base import Source, Wanted
from preprocess.sources.drawing import glyphs

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

EXAMPLES_PER_CLASS = {"train": 400, "test": 50}

_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralItalic",
    "cmr10",
    "cmss10",
    "cmtt10",
)
_MAX_SEGMENT = 0.04  # of a glyph's size; longer straight edges are divided, so that they can bend
_CHARACTERS_PER_TASK = 1000

_log = logging.getLogger(__name__)


def holds(wanted: Wanted) -> bool:
    return wanted.location == SYNTHETIC


def inspect(wanted: Wanted) -> Source:
    """Draws the characters into IDX files, unless these exist, and inspects the files."""
    config, name = wanted.config, wanted.dataset.name.replace("/", "-")
    folder = to_path(config.data_dir) / "sources" / f"{name}-seed{config.seed}"
    write_source(wanted.dataset, folder, config.seed)
    return arrays.inspect(replace(wanted, location=str(folder)))


def write_source(dataset: KnownDataset, folder: "AnyPath", seed: int) -> None:
    """Writes the mapping and the four IDX gzip files of `dataset`; does nothing if all of them exist.

    The same dataset and seed give the same bytes on any machine with the same libraries.
    """
    names = [dataset.mapping_file]
    names += [name for split in EXAMPLES_PER_CLASS for name in (dataset.images_file(split), dataset.labels_file(split))]
    if all((folder / name).exists() for name in names):
        return
    for split, per_class in EXAMPLES_PER_CLASS.items():
        _log.info("drawing %s synthetic %s characters", f"{per_class * len(dataset.classes):,}", split)
        images, labels = draw_split(dataset, split, per_class, seed, os.cpu_count() or 1)
        transposed = images.transpose(0, 2, 1)
        _write_gzip(folder / dataset.images_file(split), idx.write(transposed))
        _write_gzip(folder / dataset.labels_file(split), idx.write(labels))
    mapping = "".join(
        f"{dataset.first_label + index} {' '.join(str(ord(character)) for character in characters)}\n"
        for index, characters in enumerate(dataset.classes)
    )
    write_atomically(folder / names[0], mapping.encode())


def draw_split(
    dataset: KnownDataset, split: str, per_class: int, seed: int, workers: int
) -> tuple[np.ndarray, np.ndarray]:
    """`per_class` upright characters of each class, in shuffled order: images uint8 [N, 28, 28], labels uint8 [N].

    Labels are those of the source files: from `dataset.first_label` on.
    """
    entropy = [seed, *f"{dataset.name}/{split}".encode()]
    classes = np.repeat(np.arange(len(dataset.classes)), per_class)
    np.random.default_rng(entropy).shuffle(classes)
    tasks = [
        (entropy, start, [dataset.classes[index] for index in classes[start : start + _CHARACTERS_PER_TASK]])
        for start in range(0, len(classes), _CHARACTERS_PER_TASK)
    ]
    if workers == 1:
        drawn = list(map(_draw_task, tasks))
    else:
        with ProcessPoolExecutor(workers, initializer=end_with, initargs=(os.getpid(),)) as pool:
            drawn = list(pool.map(_draw_task, tasks))
    return np.concatenate(drawn), (classes + dataset.first_label).astype(np.uint8)


def _draw_task(task: tuple[list[int], int, list[str]]) -> np.ndarray:
    entropy, start, classes = task
    images = np.empty((len(classes), *EMNIST_SIZE), np.uint8)
    for offset, characters in enumerate(classes):
        # A generator for each character: the drawing does not depend on how the work was divided.
        rng = np.random.default_rng([*entropy, start + offset])
        images[offset] = to_image(draw(characters[rng.integers(len(characters))], rng))
    return images


def draw(character: str, rng: np.random.Generator) -> np.ndarray:
    """One deformed character: uint8 [128, 128], 255 on 0, each property drawn from `rng`."""
    outlines = _outlines(_FONTS[rng.integers(len(_FONTS))], character)
    angle, slant = rng.normal(0, 0.12), rng.normal(0.1, 0.22)
    stretch = math.exp(rng.normal(0, 0.18))
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    affine = rotation @ np.array([[stretch, slant], [0, 1 / stretch]])
    # Elastic deformation: a few smooth waves of random direction, wave length (in glyph sizes) and phase.
    directions = rng.normal(0, 2.6, (4, 2))
    amplitudes = rng.normal(0, 0.035, (4, 2))
    phases = rng.uniform(0, 2 * math.pi, 4)
    size = rng.uniform(0.5, 0.72) * CANVAS_SIDE
    middle = CANVAS_SIDE / 2 + rng.uniform(-6, 6, 2)
    pen = int(rng.choice([0, 1, 3, 5, 7]))

    bent = [(points + np.sin(points @ directions.T + phases) @ amplitudes) @ affine.T for points in outlines]
    placed = [list(map(tuple, points * (size, -size) + middle)) for points in bent]
    ink = glyphs.fill(placed, (CANVAS_SIDE, CANVAS_SIDE))
    if pen:
        strokes = ImageDraw.Draw(ink)
        for polygon in placed:
            strokes.line([*polygon, polygon[0]], fill=1, width=pen, joint="curve")
    return np.asarray(ink.convert("L"))


@cache
def _outlines(font: str, character: str) -> list[np.ndarray]:
    """The closed outlines of a glyph, centred, its larger side 1: a list of float [points, 2], y upwards."""
    polygons = glyphs.outlines(font, character)
    points = np.concatenate(polygons)
    low, high = points.min(axis=0), points.max(axis=0)
    return [_divide((polygon - (low + high) / 2) / (high - low).max()) for polygon in polygons]


def _divide(polygon: np.ndarray) -> np.ndarray:
    """The same outline with no edge longer than `_MAX_SEGMENT`."""
    pieces = []
    for start, end in pairwise(polygon):
        steps = max(1, math.ceil(np.hypot(*(end - start)) / _MAX_SEGMENT))
        pieces.append(start + (end - start) * np.arange(steps)[:, None] / steps)
    return np.concatenate(pieces)


def _write_gzip(path: "AnyPath", content: bytes) -> None:
    write_atomically(path, gzip.compress(content, mtime=0))  # no time stamp: same seed, same bytes
