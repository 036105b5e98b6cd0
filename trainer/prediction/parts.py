"""The parts of the input of a prediction, which workers read: pictures, pages, arrays, archives, shards."""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from common.dataset import records
from common.dataset.schema import IMAGE, LABEL, TEXT, TEXT_LENGTH, WIDTH, Batch, Schema
from common.errors import InputError
from common.formats import archive, parquet
from common.formats.arrays import Array
from common.formats.picture import PictureError
from common.normalize import cutting
from common.normalize.page import LineOfPage, open_page
from common.storage import is_hidden, read, to_path

_READ_AT_ONCE = 16  # reads mostly wait for a disk or a bucket
_READ_AHEAD = 512
_BLOCK_BYTES = 256 * 784


@dataclass(frozen=True)
class Pixels:
    """A decoded picture, uint8 [H, W, C]."""

    values: np.ndarray


@dataclass(frozen=True)
class Item:
    """One character or line to predict."""

    source: dict[str, Any]
    """Its origin, for its line: `source`, in files of many items `index`, in pages `line` and, if known, `label`, what
    it truly says."""
    content: bytes | Pixels | np.ndarray | None
    """A picture, encoded or decoded, or an image, uint8 [H, W, 1], light on dark and upright; None if it cannot be
    read."""
    error: str = ""
    """Why it cannot be read."""
    problem: str = "cannot-decode"
    """The code of that."""


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures of one character or line each."""

    paths: tuple[str, ...]

    def read(self) -> Iterator[Item]:
        """Yields the pictures in order; the next ones are read while the caller is busy."""
        waiting: deque[Future[Item]] = deque()
        with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
            for path in self.paths:
                waiting.append(pool.submit(_read_picture, path))
                if len(waiting) > _READ_AHEAD:
                    yield waiting.popleft().result()
            for item in waiting:
                yield item.result()


@dataclass(frozen=True)
class Page:
    """A page with PAGE or ALTO XML; its lines are the items."""

    path: str

    def read(self) -> Iterator[Item]:
        """Yields each line of the XML, in its order; of a page that cannot be read, one item that says why."""
        source = {"source": name_of(self.path)}
        try:
            page = open_page(to_path(self.path))
        except (InputError, OSError) as error:
            yield Item(source, None, name_of(str(error)), "bad-page")
            return
        for line in page.lines:
            of_line = source | {"line": line.id}
            if problem := cutting.problem_of(line, page.size, needs_text=False):
                yield Item(of_line, None, cutting.PROBLEMS[problem], problem)
                continue
            try:
                yield Item(of_line, Pixels(LineOfPage(page.picture, page.is_as_stored, line).pixels()))
            except PictureError as error:
                yield Item(of_line, None, str(error), error.problem)


@dataclass(frozen=True)
class Images:
    """An array of images, one character each."""

    array: Array
    size: tuple[int, int]
    """Height and width as stored."""
    is_transposed: bool
    """Whether height and width are swapped, as in EMNIST."""

    @property
    def path(self) -> str:
        return self.array.location

    def read(self) -> Iterator[Item]:
        """Yields the images up to the end of the array, or to where it is damaged."""
        name = {"array": self.array.name} if self.array.name and self.array.form != "CSV" else {}
        source, index = {"source": name_of(self.path)} | name, 0
        try:
            for stored in self.array.read(max(1, _BLOCK_BYTES // math.prod(self.size))):
                images = stored.reshape(-1, *self.size)
                for image in images.transpose(0, 2, 1) if self.is_transposed else images:
                    yield Item(source | {"index": index}, image[..., None])
                    index += 1
        except InputError as error:
            yield Item(source | {"index": index}, None, name_of(str(error)))


@dataclass(frozen=True)
class Archive:
    """A zip or tar of encoded pictures."""

    path: str

    def read(self) -> Iterator[Item]:
        """Yields each visible file, in the archive's order, up to where it is damaged."""
        try:
            for member, load in archive.scan(self.path):
                if member.problem == "folder" or is_hidden(PurePosixPath(member.name)):
                    continue
                source = {"source": name_of(archive.member_of(self.path, member.name))}
                yield Item(source, None, f"is a {member.problem}") if member.problem else Item(source, load())
        except InputError as error:
            yield Item({"source": name_of(self.path)}, None, name_of(str(error)))


@dataclass(frozen=True)
class Parquet:
    """A Parquet file with a column of encoded pictures."""

    path: str

    def read(self) -> Iterator[Item]:
        """Yields the pictures up to the end of the file, or to where it is damaged."""
        index = 0
        try:
            for picture in parquet.pictures(self.path):
                source = {"source": name_of(self.path), "index": index}
                yield Item(source, picture) if picture else Item(source, None, "holds no bytes of a picture")
                index += 1
        except InputError as error:
            yield Item({"source": name_of(self.path), "index": index}, None, name_of(str(error)))


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be read."""

    path: str
    error: str

    def read(self) -> Iterator[Item]:
        yield Item({"source": name_of(self.path)}, None, name_of(self.error))


@dataclass(frozen=True)
class Shard:
    """A shard of a dataset folder."""

    path: str
    schema: Schema

    def read(self) -> Iterator[Item]:
        length = records.record_bytes(self.schema)
        at_once = self.schema.examples_in(_BLOCK_BYTES, at_least=1)
        index = 0
        with to_path(self.path).open("rb") as file:
            while data := file.read(at_once * length):
                batch = records.decode(data, self.schema)
                for row, image in enumerate(batch[IMAGE]):
                    if self.schema.has_width:
                        image = image[:, : batch[WIDTH][row]]
                    yield Item(
                        {"source": name_of(self.path), "index": index, "label": _label(batch, row, self.schema)}, image
                    )
                    index += 1


Part = Pictures | Page | Images | Archive | Parquet | Unreadable | Shard
"""The part of the input that one worker reads."""


def _label(batch: Batch, row: int, schema: Schema) -> str:
    """What an example truly says."""
    if schema.has_width:
        return "".join(schema.characters[number] for number in batch[TEXT][row][: batch[TEXT_LENGTH][row]])
    return schema.vocabulary[batch[LABEL][row]]


def _read_picture(path: str) -> Item:
    try:
        return Item({"source": name_of(path)}, read(to_path(path)))
    except OSError as error:
        return Item({"source": name_of(path)}, None, f"cannot be read ({error.strerror or error})")


def name_of(path: str) -> str:
    """The path as text, which a line or a page can hold: bytes that are not UTF-8 become escapes such as `\\xe9`."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
