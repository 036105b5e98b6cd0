"""Parquet files of encoded pictures, as Hugging Face stores them: `train-00000-of-00001.parquet`, `test-…`."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import PurePath

from common.errors import InputError
from common.formats import kind, parquet
from common.formats.parquet import Layout
from common.storage import is_hidden, to_path, visible_files, walk
from preprocess.sources import pictures
from preprocess.sources.base import SPLIT_NAMES, Rejected, Source, Wanted, left_out
from preprocess.sources.class_folders import classes_of
from preprocess.sources.pictures import Found, Picture

_PATTERN = "*.[pP][aA][rR][qQ][uU][eE][tT]"
_NO_LABEL = -1  # of a row whose label is a number: so Hugging Face marks a test split without labels

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _File:
    """A Parquet file."""

    location: str
    inside: str
    """Its path within the source."""
    split: str


def holds(wanted: Wanted) -> bool:
    """Whether the source is a Parquet file, or a folder with one."""
    root = to_path(wanted.location)
    if root.is_dir():
        return next(visible_files(root, _PATTERN), None) is not None
    return root.is_file() and kind.of_file(wanted.location) == "parquet"


def inspect(wanted: Wanted) -> Source:
    """Lists and hashes the pictures; they are not decoded yet.

    Raises `InputError` for damaged files, columns that are not clear, and labels without a name, and as
    `pictures.assemble` does.
    """
    files, others = _list(wanted)
    layouts = [parquet.layout(file.location) for file in files]
    found: list[Picture] = []
    rejected: list[Rejected] = []
    for number, (file, layout) in enumerate(zip(files, layouts, strict=True)):
        names = _names(wanted, file, layout)
        for row in parquet.rows(file.location, layout, range(layout.num_groups)):
            path = f"{file.location}#{row.number}"
            if row.label in (None, "") or (layout.are_numbers and row.label == _NO_LABEL):
                others.append(left_out(path, "no-labels"))
            elif not row.image:
                rejected.append(Rejected(path, "cannot-decode", "holds no bytes of a picture, at most its path"))
            else:
                name = names.get(row.label) if layout.are_numbers else row.label
                if name is None:
                    raise InputError(f"{path}: its label {row.label} is none of the {len(names)} that have a name")
                place = (number, row.group, row.number)
                content = pictures.examine(row.image)
                found.append(Picture(*(path, file.inside, file.split, name), content, place, row.number))
    class_names = classes_of([(picture.name,) for picture in found])
    found = [replace(picture, name=class_names[picture.name]) for picture in found]
    for picture in found:
        if not picture.name or not picture.name.isprintable():
            raise InputError(f"{picture.path}: its label {picture.name!r} is no name of a class")
    fetch = partial(_fetch_rows, tuple(file.location for file in files), tuple(layouts))
    return pictures.assemble(wanted, Found(found, fetch, others, rejected))


def _list(wanted: Wanted) -> tuple[list[_File], list[Rejected]]:
    """The Parquet files of a source, in the order of their paths, and what else it holds."""
    root = to_path(wanted.location)
    if not root.is_dir():
        return [_File(wanted.location, root.name, "")], []
    found, others = [], []
    for path, problem in walk(root):
        inside = path.relative_to(root)
        if problem := "hidden" if is_hidden(inside) else problem:
            others.append(left_out(path, problem))
        elif inside.match(_PATTERN):
            found.append(_File(str(path), inside.as_posix(), _split_of(inside, wanted.location)))
        else:
            others.append(left_out(path, "beside-parquet"))
    if not any(file.split in ("train", "test") for file in found):
        found = [replace(file, split="") for file in found]
    elif beside := [file for file in found if not file.split]:
        others += [left_out(file.location, "beside-splits") for file in beside]
        found = [file for file in found if file.split]
    found.sort(key=lambda file: file.inside)
    for file in found:
        if (name := kind.of_file(file.location)) != "parquet":
            raise InputError(f"{file.location}: {kind.cause(name)}; its name is that of a Parquet file")
    return found, others


def _split_of(inside: PurePath, location: str) -> str:
    """The split that a word of the file's name tells, or else one of the folders' that lead to it."""
    for part in reversed(inside.parts):
        splits = {SPLIT_NAMES[word] for word in re.findall("[a-z]+", part.lower()) if word in SPLIT_NAMES}
        if len(splits) > 1:
            raise InputError(f"{location}: {inside}: is of which split? Its name has {' and '.join(sorted(splits))}")
        if splits:
            return splits.pop()
    return ""


def _names(wanted: Wanted, file: _File, layout: Layout) -> dict[int, str]:
    """The class name of each label that is a number."""
    classes, known = wanted.config.classes, wanted.dataset
    if classes is not None and (layout.class_names or not layout.are_numbers):
        raise InputError(f"--classes: {file.location} names the classes; give only one of them")
    if layout.class_names or not layout.are_numbers:
        return dict(enumerate(layout.class_names))
    if classes is None and not known:
        raise InputError(
            f"{file.location}: the labels in its column {layout.label!r} are numbers without names; name the classes "
            "in the order of their numbers with --classes, as in --classes 0 1 2"
        )
    if classes is not None:
        return dict(enumerate(classes))
    _log.info("%s: labels are numbers without names, and are taken as those of %s", file.location, known.name)
    return dict(enumerate(known.class_names, known.first_label))


def _fetch_rows(locations: Sequence[str], layouts: Sequence[Layout], some: Sequence[Picture]) -> Iterator[bytes]:
    for number, of_file in groupby(some, lambda picture: picture.place[0]):
        wanted = [(group, row) for _, group, row in (picture.place for picture in of_file)]
        rows, groups = {row for _, row in wanted}, {group for group, _ in wanted}
        for row in parquet.rows(locations[number], layouts[number], groups):
            if row.number in rows:
                yield row.image
