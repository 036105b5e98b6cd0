"""Lines put together from the characters of a dataset folder: `--source compose:data/emnist/digits/1.0.0`.

So a dataset of characters gives a reader of amounts, postcodes or part numbers. The texts are random strings, or those
of `--texts`. Each line is a function of the seed and its number. Lines of a split have only characters of that split.
"""

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np

from common.dataset import manifest as manifests
from common.dataset import records
from common.dataset.manifest import Manifest, SourceFile
from common.dataset.schema import IMAGE, LABEL
from common.errors import InputError
from common.formats import table
from common.normalize.line import normalized
from common.storage import read, to_path
from preprocess.sources.base import Rejected, Wanted
from preprocess.sources.drawing import many
from preprocess.sources.drawing.composing import compose_line, not_composable
from preprocess.sources.drawing.texts import random_strings
from preprocess.sources.lines import SPLITS, Listed, Listing

_PREFIX = "compose:"
_MOST_CHARACTERS = 60_000  # of a split, which a worker holds in memory


@dataclass(frozen=True)
class ComposedLine:
    folder: str
    seed: int
    split: str
    number: int
    text: str

    def pixels(self) -> np.ndarray:
        rng = _rng(self.seed, "line", self.split, self.number)
        images, labels, names = _characters(self.folder, self.split)
        chosen = [rng.choice(np.flatnonzero(labels == names.index(one))) for one in self.text if one != " "]
        return 255 - compose_line(images[chosen], self.text, rng)[..., None]


def holds(wanted: Wanted) -> bool:
    return wanted.location.startswith(_PREFIX)


def list_lines(wanted: Wanted) -> Listing:
    """The lines of all three splits. Raises `InputError` if the folder holds no characters, or lacks a split."""
    folder, config = wanted.location.removeprefix(_PREFIX), wanted.config
    manifest = _open(folder, wanted.location)
    given = None if config.texts is None else _read_texts(config.texts, config.encoding)
    counts, lines, rejected = many.counts(config), [], []
    for split in SPLITS:
        names = _names_in(manifest, split)
        texts = given or [
            random_strings(_rng(config.seed, "text", split, number), "".join(names), 1)[0]
            for number in range(counts[split])
        ]
        for number in range(counts[split]):
            text = texts[number % len(texts)]
            picture = ComposedLine(folder, config.seed, split, number, text)
            if lacking := not_composable([text], "".join(names)):
                name = f"{split}-{number:06}"
                rejected.append(Rejected(name, "no-character", f"the {split} split lacks the characters {lacking}"))
            else:
                lines.append(picture)
    sizes = many.in_processes(_size_of, lines)
    facts = repr((manifest.data_fingerprint, config.seed, counts, given))
    digest = hashlib.sha256(facts.encode(errors="surrogateescape")).hexdigest()
    file = SourceFile(f"{_PREFIX}{manifest.request.dataset}", 0, digest, official=False)
    return Listing(tuple(map(_list_line, lines, sizes)), tuple(rejected), (file,))


def _open(folder: str, location: str) -> Manifest:
    manifest = manifests.read(to_path(folder))
    if manifest.schema.task != "characters":
        raise InputError(f"--source {location}: holds {manifest.schema.task}; lines are composed of characters")
    if missing := [split for split in SPLITS if split not in manifest.splits]:
        raise InputError(f"--source {location}: has no {missing[0]} split to compose lines of")
    return manifest


def _names_in(manifest: Manifest, split: str) -> list[str]:
    """The classes of one character that have examples in a split."""
    counted = zip(manifest.class_names, manifest.splits[split].class_histogram, strict=True)
    return [name for name, count in counted if count and len(name) == 1]


def _read_texts(location: str, encoding: str) -> list[str]:
    try:
        content = read(to_path(location))
    except FileNotFoundError:
        raise InputError(f"--texts {location}: no such file") from None
    texts = [normalized(line) for line in table.lines_of(table.decode(content, location, encoding))]
    texts = [text for text in texts if text]
    if not texts:
        raise InputError(f"--texts {location}: holds no text")
    return texts


def _size_of(picture: ComposedLine) -> tuple[int, int]:
    return picture.pixels().shape[:2]


def _list_line(picture: ComposedLine, size: tuple[int, int]) -> Listed:
    name = f"{picture.split}-{picture.number:06}"
    content = hashlib.sha256(f"{picture.folder} {picture.seed} {name} {picture.text}".encode()).digest()
    return Listed("composed", name, picture.text, picture, size, content, picture.split)


@cache
def _characters(folder: str, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The first characters of a split: images uint8 [N, H, W], labels int64 [N], and the class names."""
    path = to_path(folder)
    manifest = manifests.read(path)
    images, labels = [], []
    for shard in manifest.splits[split].shards:
        batch = records.decode(read(path / shard.name), manifest.schema)
        images.append(batch[IMAGE][..., 0])
        labels.append(batch[LABEL])
        if sum(map(len, labels)) >= _MOST_CHARACTERS:
            break
    return np.concatenate(images)[:_MOST_CHARACTERS], np.concatenate(labels)[:_MOST_CHARACTERS], manifest.class_names


def _rng(seed: int, purpose: str, split: str, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number, *f"{purpose} {split}".encode()])
