"""The embedded dataset of lines, `synthetic/lines`: sentences drawn in many hands, so that all runs without data.

Each line is a function of the seed and its number, so no file is written: a worker draws it again.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from common.dataset.manifest import SourceFile
from preprocess.config import SYNTHETIC, SYNTHETIC_LINES
from preprocess.sources.base import Wanted
from preprocess.sources.drawing import many
from preprocess.sources.drawing.lines import draw_line
from preprocess.sources.drawing.texts import draw_text
from preprocess.sources.drawing.writers import draw_writer
from preprocess.sources.lines import Listed, Listing

_LINES_OF_A_HAND = 20
_SPLITS = ("train", "test")


@dataclass(frozen=True)
class DrawnLine:
    """A drawn line; lines of one hand have the numbers from a multiple of `_LINES_OF_A_HAND` on."""

    seed: int
    split: str
    number: int

    @property
    def hand(self) -> int:
        return self.number // _LINES_OF_A_HAND

    @property
    def text(self) -> str:
        return draw_text(self._rng("text", self.number))

    def pixels(self) -> np.ndarray:
        writer = draw_writer(self._rng("hand", self.hand))
        return 255 - draw_line(self.text, self._rng("line", self.number), writer)[..., None]

    def _rng(self, purpose: str, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, number, *f"{purpose} {self.split}".encode()])


def holds(wanted: Wanted) -> bool:
    return wanted.location == SYNTHETIC and wanted.config.dataset == SYNTHETIC_LINES


def list_lines(wanted: Wanted) -> Listing:
    config = wanted.config
    counts = many.counts(config)
    pictures = [DrawnLine(config.seed, split, number) for split in _SPLITS for number in range(counts[split])]
    sizes = many.in_processes(_size_of, pictures)
    lines = tuple(map(_list_line, pictures, sizes))
    digest = hashlib.sha256(repr((config.seed, counts)).encode()).hexdigest()
    return Listing(lines, (), (SourceFile("drawn lines", 0, digest, official=False),))


def _size_of(picture: DrawnLine) -> tuple[int, int]:
    return picture.pixels().shape[:2]


def _list_line(picture: DrawnLine, size: tuple[int, int]) -> Listed:
    name = f"{picture.split}-{picture.number:06}"
    content = hashlib.sha256(f"{picture.seed} {name}".encode()).digest()
    hand = f"{picture.split} hand {picture.hand}"
    return Listed("drawn", name, picture.text, picture, size, content, picture.split, writer=hand)
