"""Lines of text, from whatever source: their groups, splits, vocabulary and canvas, and the blocks of their examples.

A source of lines lists them (`Listed`); all lists of a dataset are combined here, because the vocabulary and the canvas
are those of all lines together. Text, size and group of every line are known before the first pixel is read.
"""

import hashlib
import json
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np

from common.dataset import hashing
from common.dataset.manifest import LineOptions, SourceFile
from common.dataset.schema import GROUP, IMAGE, TEXT, TEXT_LENGTH, WIDTH, Schema
from common.dataset.schema import lines as line_schema
from common.errors import InputError
from common.formats.picture import PictureError
from common.normalize import line as line_images
from common.normalize import problems
from common.normalize.line import WIDTH_STEP, normalized
from preprocess.config import PreprocessConfig
from preprocess.sources.base import Block, Rejected, Source, SourceSplit, in_words, left_out

SPLITS = ("train", "validation", "test")
_LINES_PER_PART = 256  # what one worker reads at a time
_MUCH_BACKGROUND = 0.6

_log = logging.getLogger(__name__)


class Picture(Protocol):
    """Where the pixels of a line come from; it is sent to a worker."""

    def pixels(self) -> np.ndarray:
        """Its pixels, uint8 [H, W, C], upright. Raises `PictureError`."""


@dataclass(frozen=True)
class Listed:
    """A line that a source lists, before its pixels are read."""

    source: str
    """The file that it comes from, as people know it."""
    line: str
    """Its name within the source; empty if the file holds one line."""
    text: str
    """As it stands in the source; `normalized` is what the dataset holds."""
    picture: Picture
    size: tuple[int, int]
    """The height and width of its pixels."""
    content: bytes
    """A hash of what its pixels are made of; its first 64 bits are the example's id."""
    split: str = ""
    """One of `SPLITS`, or empty if the source is not divided."""
    writer: str = ""
    page: str = ""

    @property
    def name(self) -> str:
        return f"{self.source}#{self.line}" if self.line else self.source

    @property
    def example_id(self) -> int:
        return int.from_bytes(self.content[:8], "big")


@dataclass(frozen=True)
class Listing:
    """All lines of one source, and what it holds besides that is no line."""

    lines: tuple[Listed, ...]
    rejected: tuple[Rejected, ...]
    files: tuple[SourceFile, ...]
    counts: dict[str, int] = field(default_factory=dict)
    """What else is to be known of the source, such as how many lines were cut in a certain way, by its name."""
    left_out: tuple[Rejected, ...] = ()
    """What is no line of the dataset, and no mistake."""


@dataclass(frozen=True)
class _Line:
    """A line of the dataset."""

    listed: Listed
    text: str
    """Normalised."""
    group_name: str
    size: tuple[int, int]
    """The height and width of its content in the image."""


@dataclass(frozen=True)
class LineSplit(SourceSplit):
    """Some lines of one split."""

    lines: tuple[_Line, ...]
    groups: tuple[int, ...]
    """The number of each line's group."""
    schema: Schema

    is_divided = True

    def example_ids(self) -> np.ndarray:
        return np.array([line.listed.example_id for line in self.lines], np.uint64)

    def read(self, block_examples: int) -> Iterator[Block | Rejected]:
        numbers = {character: number for number, character in enumerate(self.schema.characters)}
        for start in range(0, len(self.lines), block_examples):
            members = range(start, min(start + block_examples, len(self.lines)))
            examples, kept = self.schema.empty(len(members)), []
            for member in members:
                line, place = self.lines[member], len(kept)
                try:
                    pixels = line.listed.picture.pixels()
                    image, problem = line_images.to_image(pixels, line.size, self.schema.image_shape[0])
                except PictureError as error:
                    yield Rejected(line.listed.name, error.problem, str(error))
                    continue
                if problem:
                    yield Rejected(line.listed.name, problem, problems.MESSAGES[problem])
                    continue
                examples[IMAGE][place, :, : image.shape[1], 0] = image
                examples[WIDTH][place] = image.shape[1]
                examples[TEXT][place, : len(line.text)] = [numbers[character] for character in line.text]
                examples[TEXT_LENGTH][place] = len(line.text)
                examples[GROUP][place] = self.groups[member]
                kept.append(line)
            if kept:
                examples = {name: values[: len(kept)] for name, values in examples.items()}
                example_ids = np.array([line.listed.example_id for line in kept], np.uint64)
                yield Block(examples, example_ids, tuple(map(_note, kept)))


def _note(line: _Line) -> bytes:
    """What is kept of a line's origin, as JSON."""
    facts = {"source": line.listed.source, "line": line.listed.line, "group": line.group_name, "page": line.listed.page}
    known = {name: value for name, value in facts.items() if value}
    # A file name that is not UTF-8 has bytes which JSON can only escape.
    return json.dumps(known, ensure_ascii=False).encode(errors="backslashreplace")


def combine(listings: Sequence[Listing], config: PreprocessConfig) -> Source:
    """The source of all lines. Raises `InputError` if none is left, or if one picture has two texts or splits."""
    rejected = [rejection for listing in listings for rejection in listing.rejected]
    listed = []
    with_group = _group_finder(config.group_pattern)
    for line in (with_group(line) for listing in listings for line in listing.lines):
        if reason := _reason_against(line, config):
            rejected.append(Rejected(line.name, *reason))
        else:
            listed.append(line)
    listed, copies = _without_copies(listed)
    others = [
        *(one for listing in listings for one in listing.left_out),
        *(left_out(one.name, "copy") for one in copies),
    ]
    _warn_of_right_to_left(listed)
    if not listed:
        raise InputError(f"--source {' '.join(config.source)}: no line is left: {in_words([*rejected, *others])}")
    group_by = _group_by(listed, config)
    lines = [
        _Line(line, normalized(line.text), _group_of(line, group_by), _size_of(line, config))
        for line in sorted(listed, key=lambda line: line.content)
    ]
    split_of = _divide(lines, config)
    chosen = {split: [line for line in lines if split_of(line) == split] for split in SPLITS}
    chosen = {split: members[: config.max_examples_per_split] for split, members in chosen.items()}
    if not chosen["train"]:
        raise InputError(f"--source {' '.join(config.source)}: no line is for training; {_counts(chosen)}")
    schema, numbers = _make_schema(chosen, config)
    _tell_of_canvas(chosen, schema, config)
    namespace = f"{config.dataset}/lines"
    splits = [
        LineSplit(split, namespace, tuple(part), tuple(numbers[line.group_name] for line in part), schema)
        for split, members in chosen.items()
        # Lines of one file follow each other, so that a worker opens it once.
        for part in _parts(sorted(members, key=lambda line: line.listed.name))
    ]
    return Source(
        schema=schema,
        splits=tuple(splits),
        files=tuple(file for listing in listings for file in listing.files),
        conversion=line_images.VERSION,
        lines=LineOptions(config.line_height, config.max_width, group_by, config.group_pattern, config.num_lines),
        rejected=tuple(rejected),
        left_out=tuple(others),
        counts=dict(sum((Counter(listing.counts) for listing in listings), Counter())),
    )


def _reason_against(line: Listed, config: PreprocessConfig) -> tuple[str, str] | None:
    """The code and the message of why a line cannot be an example, as far as that shows without its pixels."""
    text = normalized(line.text)
    if not text:
        return "no-text", "has no text"
    if strange := next((one for one in text if unicodedata.category(one) == "Cc"), ""):
        return "bad-text", f"has the control character U+{ord(strange):04X} in its text"
    if min(line.size) < 1:
        return "too-narrow", "has no pixels"
    width, needed = _size_of(line, config)[1], line_images.steps_needed(text) * line_images.COLUMNS_PER_STEP
    if width < needed:
        return "too-narrow", f"is {width} pixels wide at the height of the dataset; its text needs {needed}"
    return None


def _size_of(line: Listed, config: PreprocessConfig) -> tuple[int, int]:
    return line_images.size_of(*line.size, config.line_height, config.max_width)


def _without_copies(listed: Sequence[Listed]) -> tuple[list[Listed], list[Listed]]:
    """The lines, each once, and copies."""
    firsts: dict[int, Listed] = {}
    copies = []
    for line in listed:
        first = firsts.setdefault(line.example_id, line)
        if normalized(first.text) != normalized(line.text):
            raise InputError(f"{line.name}: is the same picture as {first.name}, with another text")
        if first.split != line.split:
            raise InputError(f"{line.name}: is the same picture as {first.name}, in another split")
        if first is not line:
            copies.append(line)
    return list(firsts.values()), copies


def _warn_of_right_to_left(listed: Sequence[Listed]) -> None:
    is_so = [any(unicodedata.bidirectional(one) in ("R", "AL") for one in line.text) for line in listed]
    if any(is_so):
        first = listed[is_so.index(True)].name
        _log.warning(
            "%d lines have writing from right to left, the first %s; a model reads from left to right, so it learns "
            "such lines only from texts whose characters stand in the order in which they are seen",
            sum(is_so),
            first,
        )


def _group_by(listed: Sequence[Listed], config: PreprocessConfig) -> str:
    """What a group is: as `--group-by` says, else the writer or the page if all lines have one, else the line."""
    known = [name for name in ("writer", "page") if all(getattr(line, name) for line in listed)]
    if config.group_by is None:
        if not known:
            _log.warning(
                "neither writers nor pages of the lines are known, so the splits are cut by line: figures will "
                "flatter; name them in a table, or by --group-pattern"
            )
        return known[0] if known else "line"
    if config.group_by not in (*known, "line"):
        without = next(line for line in listed if not getattr(line, config.group_by))
        raise InputError(
            f"--group-by {config.group_by}: {without.name} has none; a table or --group-pattern names them"
        )
    return config.group_by


def _group_of(line: Listed, group_by: str) -> str:
    return line.name if group_by == "line" else getattr(line, group_by)


def _divide(lines: Sequence[_Line], config: PreprocessConfig) -> Callable[[_Line], str]:
    """Returns the function from a line to its split: as the source says, else drawn by a hash of its group.

    A test split is drawn if the source has none, and a validation split likewise; at least one group each, if there
    are enough.
    """
    named = {line.listed.split for line in lines}
    undivided = {line.group_name for line in lines if not line.listed.split}
    test = _draw(undivided, "test", config.test_fraction, config) if "test" not in named else set()
    rest = {line.group_name for line in lines if line.listed.split in ("", "train")} - test
    fraction = config.validation_fraction
    validation = _draw(rest, "validation", fraction, config) if "validation" not in named else set()

    def split_of(line: _Line) -> str:
        if line.listed.split in ("validation", "test"):
            return line.listed.split
        if not line.listed.split and line.group_name in test:
            return "test"
        return "validation" if line.group_name in validation else "train"

    splits_of: dict[str, set[str]] = {}
    for line in lines:
        splits_of.setdefault(line.group_name, set()).add(split_of(line))
    if shared := [group for group, splits in splits_of.items() if len(splits) > 1]:
        _log.warning(
            "%d groups have lines in several splits, as the source divides them: figures will flatter; the first: %s",
            len(shared),
            shared[0],
        )
    return split_of


def _draw(groups: set[str], purpose: str, fraction: float, config: PreprocessConfig) -> set[str]:
    """About `fraction` of the groups, never all; at least one if there are two, and the fraction is not 0."""
    names = sorted(groups)
    identities = [
        int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8], "big") for name in names
    ]
    drawn = hashing.hashes(config.seed, purpose, f"{config.dataset}/lines", np.array(identities, np.uint64))
    is_chosen = hashing.selected(drawn, fraction)
    if fraction and not is_chosen.any() and len(names) > 1:
        is_chosen[drawn.argmin()] = True
    if len(names) and is_chosen.all():
        is_chosen[drawn.argmax()] = False
    return {name for name, chosen in zip(names, is_chosen, strict=True) if chosen}


def _counts(chosen: dict[str, list[_Line]]) -> str:
    return ", ".join(f"{len(members):,} {split}" for split, members in chosen.items())


def _make_schema(chosen: dict[str, list[_Line]], config: PreprocessConfig) -> tuple[Schema, dict[str, int]]:
    """The schema, and the number of each group by its name."""
    everything = [line for members in chosen.values() for line in members]
    seen = {character for line in chosen["train"] for character in line.text}
    unseen = {character for line in everything for character in line.text} - seen
    groups = {name: number for number, name in enumerate(sorted({line.group_name for line in everything}))}
    widest = max(line.size[1] for line in everything)
    canvas = (config.line_height, -(-widest // WIDTH_STEP) * WIDTH_STEP)
    longest = max(len(line.text) for line in everything)
    if unseen:
        _log.warning("no training text has the characters %s; they count as errors", " ".join(sorted(unseen)))
    return line_schema(tuple(sorted(seen)), tuple(sorted(unseen)), canvas, longest, len(groups)), groups


def _tell_of_canvas(chosen: dict[str, list[_Line]], schema: Schema, config: PreprocessConfig) -> None:
    widths = [line.size[1] for members in chosen.values() for line in members]
    height, canvas, _ = schema.image_shape
    background = 1 - sum(widths) / (canvas * len(widths))
    _log.info(
        "%s lines on a canvas of %d×%d; %.0f %% of it is background to the right",
        f"{len(widths):,}",
        height,
        canvas,
        100 * background,
    )
    if background > _MUCH_BACKGROUND:
        _log.warning("a few wide lines make all records large; --max-width below %d scales them down", canvas)
    if scaled := sum(line.size[0] < config.line_height for members in chosen.values() for line in members):
        _log.info("%d lines wider than --max-width %d are scaled down", scaled, config.max_width)


def _parts(members: Sequence[_Line]) -> Iterator[Sequence[_Line]]:
    for start in range(0, len(members), _LINES_PER_PART):
        yield members[start : start + _LINES_PER_PART]


def _group_finder(pattern: str | None):
    """Returns the function that gives a line the writer and page that `--group-pattern` finds in its file's name."""
    if pattern is None:
        return lambda line: line
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--group-pattern {pattern}: is no regular expression ({error})") from None
    names = set(expression.groupindex)
    if (not names and expression.groups != 1) or names - {"writer", "page"}:
        raise InputError(
            f"--group-pattern {pattern}: needs one group, or groups named writer and page, as (?P<writer>…)"
        )

    def found(line: Listed) -> Listed:
        match = expression.search(PurePosixPath(line.source).name)
        if not match:
            raise InputError(f"--group-pattern {pattern}: does not fit {line.source}")
        return replace(line, **(match.groupdict("") if names else {"writer": match[1] or ""}))

    return found
