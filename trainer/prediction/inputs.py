"""Finds and reads the inputs of a prediction: pictures, pages, IDX files and dataset folders."""

import glob
import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from common.dataset import manifest as manifests
from common.dataset import records
from common.dataset.schema import IMAGE, LABEL, TEXT, TEXT_LENGTH, WIDTH, Batch, Schema
from common.errors import InputError
from common.formats import idx, page_xml
from common.formats.picture import SUFFIXES, PictureError
from common.normalize import cutting
from common.normalize.page import LineOfPage, find_picture, open_page
from common.storage import read, to_path, visible_files
from trainer.config.commands import PredictConfig

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_log = logging.getLogger(__name__)

_PICTURES_PER_PART = 1024
_READ_AT_ONCE = 16  # reads mostly wait for a disk or a bucket
_READ_AHEAD = 512
_BLOCK_BYTES = 256 * 784
_PAGE_SUFFIX = ".xml"
_IDX_NAMES = ("*-images-idx3-ubyte", "*-images-idx3-ubyte.gz", "*.idx", "*.idx.gz", "*.idx3")


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
class IdxFile:
    """An IDX file of images, uint8 [N, H, W]."""

    path: str
    is_transposed: bool
    """Whether height and width are swapped, as in EMNIST."""

    def read(self) -> Iterator[Item]:
        """Yields the images up to the end of the file, or to where it is damaged."""
        index = 0
        try:
            with idx.open_file(self.path) as (stream, header):
                for images in idx.read_blocks(stream, header, max(1, _BLOCK_BYTES // header.row_bytes), self.path):
                    for image in images.transpose(0, 2, 1) if self.is_transposed else images:
                        yield Item({"source": name_of(self.path), "index": index}, image[..., None])
                        index += 1
        except InputError as error:
            yield Item({"source": name_of(self.path), "index": index}, None, name_of(str(error)))


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


Part = Pictures | Page | IdxFile | Shard
"""The part of the input that one worker reads."""


def _label(batch: Batch, row: int, schema: Schema) -> str:
    """What an example truly says."""
    if schema.has_width:
        return "".join(schema.characters[number] for number in batch[TEXT][row][: batch[TEXT_LENGTH][row]])
    return schema.vocabulary[batch[LABEL][row]]


def find(config: PredictConfig, image_size: tuple[int, int | None]) -> list[Part]:
    """The parts of the input, in the order of `--input`, for a model that takes images of `image_size`.

    Raises `InputError` if an input is missing, holds nothing to predict, or holds images of another size.
    """
    if not config.input:
        raise InputError("--input: name at least one picture, folder, pattern, IDX file or dataset folder")
    if "" in config.input:
        raise InputError("--input '': is empty, as a shell variable that is not set; name a picture, folder or pattern")
    parts: list[Part] = []
    for location in config.input:
        location_parts = list(_find(location, config, image_size))
        if not location_parts:
            raise InputError(f"--input {location}: holds nothing to predict; pictures end in {' '.join(SUFFIXES)}")
        parts += location_parts
    return parts


def paths_of(parts: list[Part]) -> Iterator[str]:
    """The files that `parts` are read from."""
    for part in parts:
        yield from part.paths if isinstance(part, Pictures) else (part.path,)


def _find(location: str, config: PredictConfig, image_size: tuple[int, int | None]) -> Iterator[Part]:
    path = to_path(location)
    if (path / manifests.FILE_NAME).is_file():
        yield from _shards(path, config.split, image_size)
        return
    if path.is_file():  # a single file that is nothing else is a picture, whatever its name
        paths = [path]
        pictures = [] if _is_page(path) or _is_idx(path) else paths
    else:
        if path.is_dir():
            paths = sorted(visible_files(path))
        elif glob.has_magic(location):
            paths = _matching(location)
        else:
            raise InputError(f"--input {location}: no such file or folder")
        pictures = [path for path in paths if path.suffix.lower() in SUFFIXES and not _is_idx(path)]
        if others := set(paths) - set(pictures) - {path for path in paths if _is_page(path) or _is_idx(path)}:
            _log.warning(
                "%s: %d files are left out, by their names no pictures, pages or IDX files; the first: %s",
                *(name_of(location), len(others), name_of(str(min(others)))),
            )
    files_of_many = list(filter(_is_idx, paths))
    pictures = list(map(str, pictures))
    for page in filter(_is_page, paths):
        if image_size[1] is not None:
            raise InputError(f"{page}: describes a page; the model recognises characters, and reads no lines")
        yield Page(str(page))
        if pictures:
            pictures = _without_those_of(page, pictures)
    for start in range(0, len(pictures), _PICTURES_PER_PART):
        yield Pictures(tuple(pictures[start : start + _PICTURES_PER_PART]))
    for file in files_of_many:
        with idx.open_file(str(file)) as (_, header):
            is_transposed = file.name.startswith("emnist-") if config.transposed is None else config.transposed
            expected = image_size[::-1] if is_transposed else image_size
            if image_size[1] is None:
                raise InputError(f"{file}: holds images of characters; the model reads lines")
            if header.dtype != np.uint8 or header.shape[1:] != expected:
                wanted = f"uint8 [N, {expected[0]}, {expected[1]}]"
                raise InputError(f"{file}: holds {header.dtype} of shape {header.shape}; images are {wanted}")
        yield IdxFile(str(file), is_transposed)


def _matching(pattern: str) -> "list[AnyPath]":
    scheme = "gs://" if pattern.startswith("gs://") else ""
    parts = PurePosixPath(pattern.removeprefix(scheme)).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    base = to_path(scheme + str(PurePosixPath(*parts[:fixed])))
    try:
        return sorted(path for path in base.glob("/".join(parts[fixed:])) if path.is_file())
    except ValueError:
        example = "as in 'scans/**/*.png'"
        raise InputError(f"--input {pattern}: is no pattern; ** stands alone between slashes, {example}") from None


def _without_those_of(page: "AnyPath", pictures: list[str]) -> list[str]:
    """The pictures that may show a line each: not that of the page, nor one of its name if the page cannot be read."""
    try:
        shown = str(find_picture(page, page_xml.read(read(page), str(page))))
    except (InputError, OSError):
        return [path for path in pictures if to_path(path).stem != page.stem]
    return [path for path in pictures if path != shown]


def _is_page(path: "AnyPath") -> bool:
    return path.suffix.lower() == _PAGE_SUFFIX


def _is_idx(path: "AnyPath") -> bool:
    return any(PurePosixPath(path.name).match(name) for name in _IDX_NAMES)


def _shards(folder: "AnyPath", split: str, image_size: tuple[int, int | None]) -> Iterator[Shard]:
    manifest = manifests.read(folder)
    if split not in manifest.splits:
        raise InputError(f"--split {split}: {folder} has only {', '.join(manifest.splits)}")
    height, width, _ = manifest.schema.image_shape
    if image_size != (height, None if manifest.schema.has_width else width):
        sizes = ["×".join(map(str, filter(None, size))) for size in ((height, width), image_size)]
        raise InputError(f"--input {folder}: its images are {sizes[0]}, this model takes {sizes[1]}")
    manifests.check_shards(folder, manifest, (split,))
    for shard in manifest.splits[split].shards:
        yield Shard(str(folder / shard.name), manifest.schema)


def _read_picture(path: str) -> Item:
    try:
        return Item({"source": name_of(path)}, read(to_path(path)))
    except OSError as error:
        return Item({"source": name_of(path)}, None, f"cannot be read ({error.strerror or error})")


def name_of(path: str) -> str:
    """The path as text, which a line or a page can hold: bytes that are not UTF-8 become escapes such as `\\xe9`."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
