"""Folders whose names are classes: the class and the split of each file in them, and what belongs to none.

A folder may hold classes, or splits (`train`, `test`, `val`, …) that hold them. Pictures may lie at any depth below the
folder of their class, such as in a folder for each writer. A class is named by its character (`A`, `7`); by `lower_a`,
`upper_A`, `digit_7` where a file system ignores case; or, as in NIST's Special Database 19, by its code (`41`).
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

from common.errors import InputError
from common.storage import is_hidden, walk
from preprocess.sources.base import SPLIT_NAMES, Rejected, left_out, split_of

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_CASE_PREFIX = re.compile(r"(lower|upper|digit)_(.)", re.DOTALL)
_NIST_CODE = re.compile(r"3[0-9]|4[1-9a-fA-F]|5[0-9aA]|6[1-9a-fA-F]|7[0-9aA]")
_NIST_PART = re.compile(r"hsf_[0-9]|train_[0-9a-fA-F]{2}")


@dataclass(frozen=True)
class Listed:
    """A file of a class."""

    path: str
    inside: str
    """Its path within the source."""
    split: str
    """`train`, `validation`, `test`, or empty if the source is not divided."""
    name: str
    """The name of its class."""


@dataclass(frozen=True)
class Listing:
    """All files of a source, in the order of their paths."""

    files: tuple[Listed, ...]
    left_out: tuple[Rejected, ...] = ()
    merged: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The names of the folders of each class that has several."""
    top: str = ""
    """The folder within the source that holds those of the classes or splits, unless it is the source."""


def list_files(root: "AnyPath") -> Listing:
    """The files in the folders of classes below `root`. Raises `InputError` for a folder whose name is no class."""
    entries = ((path.relative_to(root), problem) for path, problem in walk(root))
    return arrange(entries, lambda inside: str(root / inside))


def arrange(
    entries: Iterable[tuple[PurePath, str]], locate: Callable[[PurePath], str], least_depth: int = 0
) -> Listing:
    """As `list_files`, of what a source holds, by path within it, each with the code of its problem or an empty text.

    `locate` gives the location of a path. At least so many folders lead to those of classes or splits.
    """
    found, others = [], []
    for inside, problem in entries:
        if problem := "hidden" if is_hidden(inside) else problem:
            others.append(left_out(locate(inside), problem))
        else:
            found.append(inside)
    found.sort(key=str)
    depth = _depth_of_classes(found, least_depth)
    is_divided = any(_split_at(name, depth) in ("train", "test") for name in found)
    of_classes, parts = [], []
    for name in found:
        split = _split_at(name, depth) if is_divided else ""
        inner = name.parts[depth + bool(split) :]
        if is_divided and not split:
            others.append(left_out(locate(name), "beside-splits"))
        elif len(inner) < 2:
            others.append(left_out(locate(name), "no-class"))
        else:
            of_classes.append((name, split))
            parts.append(inner)
    class_names = classes_of(parts)
    files, folders = [], {}
    for (name, split), (folder, *_) in zip(of_classes, parts, strict=True):
        class_name = class_names[folder]
        if not class_name or not class_name.isprintable():  # as are bytes that are not UTF-8
            reason = f"lies in a folder named {folder!r}, which is no name of a class"
            raise InputError(f"{locate(name)}: {reason}; rename it, or list the pictures in labels.csv")
        folders.setdefault(class_name, {})[folder] = None
        files.append(Listed(locate(name), str(name), split, class_name))
    merged = {name: tuple(variants) for name, variants in folders.items() if len(variants) > 1}
    top = "/".join(found[0].parts[:depth]) if found else ""
    return Listing(tuple(files), tuple(others), merged, top)


def classes_of(parts: Collection[tuple[str, ...]]) -> dict[str, str]:
    """The class that each folder stands for, from the paths of files, each a folder and what is below it."""
    is_by_code = _is_by_code(parts)
    return {folder: chr(int(folder, 16)) if is_by_code else class_of(folder) for folder, *_ in parts}


def class_of(name: str) -> str:
    """The class that a folder's name stands for: its text, whatever bytes it is written with."""
    text = normalized(name)
    prefixed = _CASE_PREFIX.fullmatch(text)
    if not prefixed:
        return text
    case, character = prefixed.groups()
    return {"lower": character.lower(), "upper": character.upper()}.get(case, character)


def normalized(name: str) -> str:
    """The name of a class as it is compared: NFC, without spaces at its ends."""
    return unicodedata.normalize("NFC", name.strip())


def _split_at(name: PurePath, depth: int) -> str:
    return split_of(PurePath(*name.parts[depth:])) if len(name.parts) > depth else ""


def _depth_of_classes(names: Collection[PurePath], depth: int) -> int:
    """How many folders lead to those of classes or splits: one, if all is in a folder like `by_class`.

    A folder that is alone and holds nothing but folders is no class but holds them, unless it is named by a character.
    """
    while True:
        inner = [name.parts[depth:] for name in names]
        heads = {class_of(parts[0]) for parts in inner}
        if len(heads) != 1 or any(len(parts) < 3 for parts in inner):
            return depth
        if stands_for_itself(*heads):
            return depth
        depth += 1


def stands_for_itself(name: str) -> bool:
    """Whether a folder that is alone is one of a class or split, and not one that holds them."""
    return len(class_of(name)) == 1 or name.lower() in SPLIT_NAMES


def _is_by_code(parts: Collection[tuple[str, ...]]) -> bool:
    """Whether folders are named by the hexadecimal codes of their characters, and not by numbers that look like it."""
    if not parts or not all(_NIST_CODE.fullmatch(folder) for folder, *_ in parts):
        return False
    has_letters = any(not folder.isdecimal() for folder, *_ in parts)
    return has_letters or any(_NIST_PART.fullmatch(inner[1]) for inner in parts if len(inner) > 2)
