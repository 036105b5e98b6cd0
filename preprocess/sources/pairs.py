"""Pictures of lines with their texts: pairs of files in a folder, or a table.

A pair is a picture `NAME.png` (.jpg, .tif, …) and its text `NAME.gt.txt`, as kraken, Tesseract and Calamari have them.
A table is `lines.tsv` or `lines.csv` in the folder, or a file of its own, with the columns `file` and `text`, and maybe
`writer`, `page` and `split`; or a list of a path, a tab and a text in each line.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.dataset.manifest import SourceFile
from common.errors import InputError
from common.formats import arrays, kind
from common.formats import picture as pictures
from common.formats import table as tables
from common.formats.picture import PictureError
from common.normalize import line as line_images
from common.storage import read, to_path, visible_files
from preprocess.config import PreprocessConfig
from preprocess.sources.base import Rejected, Wanted, split_of, split_of_row
from preprocess.sources.lines import Listed, Listing

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

TABLES = ("lines.tsv", "lines.csv")
_TEXT_SUFFIX = ".gt.txt"
_TABLE_SUFFIXES = (".tsv", ".csv", ".txt", ".lst")
_OPTIONAL = ("writer", "page", "split")
_AT_ONCE = 16  # reads mostly wait for a disk or a bucket


@dataclass(frozen=True)
class PictureFile:
    """A file that shows one line."""

    path: str

    def pixels(self) -> np.ndarray:
        return pictures.decode(_content(to_path(self.path)), least=line_images.LEAST)


@dataclass(frozen=True)
class Pair:
    """A picture and its text, or the file that holds it, before either is read."""

    picture: "AnyPath"
    text: "str | AnyPath"
    split: str = ""
    writer: str = ""
    page: str = ""


def holds(wanted: Wanted) -> bool:
    """Whether the source is a table, or a folder with a table or texts of lines."""
    root = to_path(wanted.location)
    if root.is_dir():
        return any((root / name).is_file() for name in TABLES) or next(_texts_below(root), None) is not None
    if root.suffix.lower() not in _TABLE_SUFFIXES or not root.is_file():
        return False
    with root.open("rb") as file:
        head = file.read(kind.HEAD_BYTES)
    return bool(head) and not arrays.may_hold(root.name, head)


def list_lines(wanted: Wanted) -> Listing:
    """The lines of a folder or table, their sizes by the pictures' headers."""
    root, config = to_path(wanted.location), wanted.config
    table = next((root / name for name in TABLES if (root / name).is_file()), None) if root.is_dir() else root
    pairs, rejected = (_read_table(table, config), []) if table else _read_folder(root)
    return list_pairs(pairs, rejected, root, config)


def list_pairs(
    pairs: Iterable[Pair], rejected: Sequence[Rejected], root: "AnyPath", config: PreprocessConfig
) -> Listing:
    """The lines of the pairs of a source at `root`, as far as they can be read, and what was rejected before."""
    base = root if root.is_dir() else root.parent
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(partial(_list_pair, base=base, config=config), pairs))
    lines = [line for line in found if isinstance(line, Listed)]
    rejected = [*rejected, *(line for line in found if isinstance(line, Rejected))]
    digest = hashlib.sha256()
    for line in sorted(lines, key=lambda line: line.source):
        facts = (line.source, line.split, line.writer, line.page, line.text, line.content.hex())
        digest.update("\0".join(facts).encode(errors="surrogateescape") + b"\n")
    size_bytes = sum(line.picture_bytes for line in found if isinstance(line, _Found))
    file = SourceFile(root.name, size_bytes, digest.hexdigest(), official=False)
    return Listing(tuple(lines), tuple(sorted(rejected, key=lambda one: one.path)), (file,))


@dataclass(frozen=True)
class _Found(Listed):
    picture_bytes: int = 0


def _read_folder(root: "AnyPath") -> tuple[list[Pair], list[Rejected]]:
    """The pairs in a folder and its sub-folders; those named as a split give their files to it."""
    texts = {str(path)[: -len(_TEXT_SUFFIX)]: path for path in _texts_below(root)}
    pairs, rejected, owners = [], [], {}
    for path in sorted(visible_files(root)):
        if path.suffix.lower() not in pictures.SUFFIXES:
            continue
        inside = path.relative_to(root)
        # Of a.bin.png, as some programs call a binarised line, the text is a.gt.txt.
        names = (str(path.with_suffix("")), str(path.with_name(path.name.partition(".")[0])))
        name = next((name for name in names if name in texts), None)
        if name is None:
            rejected.append(Rejected(str(inside), "no-text", f"has no text beside it, {path.stem}{_TEXT_SUFFIX}"))
        elif (owner := owners.setdefault(name, inside)) != inside:
            rejected.append(
                Rejected(str(inside), "no-text", f"has no text of its own: {texts[name].name} is of {owner}")
            )
        else:
            pairs.append(Pair(path, texts[name], split_of(inside)))
    for name in texts.keys() - owners.keys():
        inside = texts[name].relative_to(root)
        rejected.append(Rejected(str(inside), "no-picture", "has no picture of its name beside it"))
    return pairs, rejected


def _texts_below(root: "AnyPath") -> "Iterator[AnyPath]":
    return visible_files(root, f"*{_TEXT_SUFFIX}")


def _read_table(table: "AnyPath", config: PreprocessConfig) -> Iterable[Pair]:
    pairs = []
    for row in tables.read(read(table), str(table), (tables.FILE, tables.TEXT), _OPTIONAL, config.encoding):
        pairs.append(
            Pair(
                table.parent / tables.path_below(table, row),
                row.fields[tables.TEXT],
                split_of_row(table, row),
                row.fields.get("writer", ""),
                row.fields.get("page", ""),
            )
        )
    return pairs


def _list_pair(pair: Pair, base: "AnyPath", config: PreprocessConfig) -> Listed | Rejected:
    name = str(pair.picture.relative_to(base))
    try:
        content = _content(pair.picture)
        size = pictures.read_header(content).size
    except PictureError as error:
        return Rejected(name, error.problem, str(error))
    text = pair.text
    if not isinstance(text, str):
        try:
            text = tables.decode(read(text), str(text.relative_to(base)), config.encoding)
        except InputError as error:
            return Rejected(name, "unknown-encoding", f"has a text that cannot be read: {error}; see --encoding")
        if (count := sum(map(bool, map(str.strip, tables.lines_of(text))))) > 1:
            return Rejected(name, "several-lines", f"has a text of {count} lines")
    return _Found(
        source=name,
        line="",
        text=text,
        picture=PictureFile(str(pair.picture)),
        size=size,
        content=hashlib.sha256(content).digest(),
        split=pair.split,
        writer=pair.writer,
        page=pair.page,
        picture_bytes=len(content),
    )


def _content(path: "AnyPath") -> bytes:
    """The bytes of a file. Raises `PictureError` if the disk does not give them; a bucket's errors end the job."""
    try:
        return read(path)
    except FileNotFoundError:
        raise PictureError("no-picture", "does not exist") from None
    except (PermissionError, IsADirectoryError) as error:
        if not isinstance(path, Path):
            raise
        raise PictureError("cannot-decode", f"cannot be read ({error.strerror})") from None
