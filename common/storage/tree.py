"""All that a folder holds, at any depth."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from common.errors import InputError
from common.storage.paths import objects_below

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_BY_SYSTEMS = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin"}


def is_hidden(inside: PurePath) -> bool:
    """Whether operating systems leave such a file beside others, by its path within the folder."""
    return any(part.startswith(".") or part.lower() in _BY_SYSTEMS for part in inside.parts)


def visible_files(root: "AnyPath", pattern: str = "*") -> "Iterator[AnyPath]":
    """All files below a folder whose names fit, but hidden ones. Links to folders are followed."""
    for path, problem in walk(root):
        inside = path.relative_to(root)
        if inside.match(pattern) and not problem and not is_hidden(inside) and not _leads_nowhere(path):
            yield path


def walk(root: "AnyPath") -> "Iterator[tuple[AnyPath, str]]":
    """All files below a folder, each with an empty text, and what else is there with the code of its problem.

    The codes are "empty-folder", "loop" (a link to a folder that holds it), "no-file" (a pipe or a device) and
    "locked" (a folder that may not be read). A link that leads nowhere is a file that cannot be read.
    """
    if not isinstance(root, Path):  # one listing; to ask for each whether it is a file would take hours for many
        yield from ((root / PurePosixPath(name), "") for name in objects_below(root))
        return
    yield from _walk_folder(root, frozenset())


def _walk_folder(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[tuple[Path, str]]:
    """As `walk`; `above` are the folders that lead here, by device and number, into which a link may lead back."""
    try:
        facts = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        if not above:
            raise InputError(f"{folder}: cannot be read ({error.strerror})") from None
        yield folder, "locked"
        return
    identity = facts.st_dev, facts.st_ino
    if identity in above:
        yield folder, "loop"
    elif not entries and above:
        yield folder, "empty-folder"
    else:
        for entry in entries:
            path = folder / entry.name
            if entry.is_dir():
                yield from _walk_folder(path, above | {identity})
            else:
                yield path, "" if entry.is_file() or _leads_nowhere(path) else "no-file"


def _leads_nowhere(path: "AnyPath") -> bool:
    return isinstance(path, Path) and path.is_symlink() and not path.exists()
