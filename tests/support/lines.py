"""Pictures of lines, and folders and tables of them."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from common.dataset import manifest, records
from common.dataset.schema import Batch
from preprocess.config import PreprocessConfig
from preprocess.sources.base import Source
from preprocess.sources.discover import discover

EVERY_CHARACTER = "abcdefgh"
PAGE_PATTERN = r"(?P<page>\d+)-"
"""Finds the page in the names that `write_pairs` gives."""


def strokes(seed: int, height: int = 48, width: int = 300) -> np.ndarray:
    """Upright strokes that differ by the seed, dark on grey paper: uint8 [H, W]."""
    rng = np.random.default_rng(seed)
    page = np.full((height, width), 230, np.uint8)
    for left in range(6, width - 8, 16):
        top, bottom = sorted(rng.integers(0, height + 1, 2).tolist())
        page[max(top - 6, 0) : bottom + 6, left : left + 4] = rng.integers(20, 60)
    return page


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_pair(folder: Path, name: str, text: str | bytes, seed: int = 0, suffix: str = ".png", **sides: int) -> Path:
    """Writes `NAME.png` and `NAME.gt.txt`, and returns the picture's path."""
    path = folder / f"{name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(strokes(seed, **sides)))
    (folder / f"{name}.gt.txt").write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())
    return path


def write_pairs(folder: Path, count: int = 40, per_page: int = 4) -> Path:
    """Lines of several pages, named `PAGE-LINE`; each text has all of `EVERY_CHARACTER`."""
    for number in range(count):
        page, line = divmod(number, per_page)
        write_pair(folder, f"{page:03}-{line}", f"{EVERY_CHARACTER} {number:b}", number)
    return folder


def write_table(folder: Path, rows: Iterable[tuple[str, ...]], header: str = "file text writer page split") -> Path:
    """Writes `lines.tsv`, and a picture for each row."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    lines = ["\t".join(header.split()), *("\t".join(row) for row in rows)]
    (folder / "lines.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for number, row in enumerate(rows):
        (folder / row[0]).write_bytes(png(strokes(number)))
    return folder


def config(*sources: Path | str, where: Path | str, **settings) -> PreprocessConfig:
    settings = {"dataset": "mine/lines", "source": tuple(map(str, sources)), "data_dir": str(where)} | settings
    return PreprocessConfig(**settings)


def found(*sources: Path | str, **settings) -> Source:
    """What inspecting sources gives, before any pixel is read."""
    return discover(config(*sources, where="unused", **settings))


def listed(source: Source) -> dict[str, list[str]]:
    """The names of the lines of each split, sorted."""
    names: dict[str, list[str]] = {}
    for part in source.splits:
        names.setdefault(part.split, []).extend(line.listed.name for line in part.lines)
    return {split: sorted(members) for split, members in names.items()}


def rejected(source: Source) -> dict[str, str]:
    """The code of each rejected line, by its name."""
    return {one.path: one.problem for one in source.rejected}


def read_lines(folder: Path, split: str) -> Batch:
    """All examples of a split in the order of its shards."""
    described = manifest.read(folder)
    shards = [folder / shard.name for shard in described.splits[split].shards]
    decoded = [records.decode(shard.read_bytes(), described.schema) for shard in shards]
    return {name: np.concatenate([part[name] for part in decoded]) for name in decoded[0]}


def texts(folder: Path, split: str) -> list[str]:
    """The texts of a split, sorted."""
    lines, characters = read_lines(folder, split), manifest.read(folder).schema.characters
    rows = zip(lines["text"], lines["text_length"], strict=True)
    return sorted("".join(characters[number] for number in text[:length]) for text, length in rows)
