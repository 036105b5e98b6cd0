"""Folders whose names are classes: the class and the split of each file in them, and what belongs to none.

A folder may hold classes, or splits (`train`, `test`, `val`, …) that hold them. Pictures may lie at any depth below the
folder of their class, such as in a folder for each writer. A class is named by its character (`A`, `7`); by `lower_a`,
`upper_A`, `digit_7` where a file system ignores case; or, as in NIST's Special Database 19, by its code (`41`).
"""

import re
import unicodedata
from collections.abc import Collection
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
    found, others = [], []
    for path, problem in walk(root):
        inside = path.relative_to(root)
        if problem := "hidden" if is_hidden(inside) else problem:
            others.append(left_out(path, problem))
        else:
            found.append(inside)
    found.sort(key=str)
    depth = _depth_of_classes(found)
    is_divided = any(_split_at(name, depth) in ("train", "test") for name in found)
    of_classes, parts = [], []
    for name in found:
        split = _split_at(name, depth) if is_divided else ""
        inner = name.parts[depth + bool(split) :]
        if is_divided and not split:
            others.append(left_out(root / name, "beside-splits"))
        elif len(inner) < 2:
            others.append(left_out(root / name, "no-class"))
        else:
            of_classes.append((name, split))
            parts.append(inner)
    is_by_code = _is_by_code(parts)
    files, folders = [], {}
    for (name, split), (folder, *_) in zip(of_classes, parts, strict=True):
        class_name = chr(int(folder, 16)) if is_by_code else class_of(folder)
        if not class_name or not class_name.isprintable():  # as are bytes that are not UTF-8
            reason = f"lies in a folder named {folder!r}, which is no name of a class"
            raise InputError(f"{root / name}: {reason}; rename it, or list the pictures in labels.csv")
        folders.setdefault(class_name, {})[folder] = None
        files.append(Listed(str(root / name), split, class_name))
    merged = {name: tuple(variants) for name, variants in folders.items() if len(variants) > 1}
    top = "/".join(found[0].parts[:depth]) if found else ""
    return Listing(tuple(files), tuple(others), merged, top)


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


def _depth_of_classes(names: Collection[PurePath]) -> int:
    """How many folders lead to those of classes or splits: one, if all is in a folder like `by_class`.

    A folder that is alone and holds nothing but folders is no class but holds them, unless it is named by a character.
    """
    depth = 0
    while True:
        inner = [name.parts[depth:] for name in names]
        heads = {class_of(parts[0]) for parts in inner}
        if len(heads) != 1 or any(len(parts) < 3 for parts in inner):
            return depth
        (name,) = heads
        if len(name) == 1 or name.lower() in SPLIT_NAMES:
            return depth
        depth += 1


def _is_by_code(parts: Collection[tuple[str, ...]]) -> bool:
    """Whether folders are named by the hexadecimal codes of their characters, and not by numbers that look like it."""
    if not parts or not all(_NIST_CODE.fullmatch(folder) for folder, *_ in parts):
        return False
    has_letters = any(not folder.isdecimal() for folder, *_ in parts)
    return has_letters or any(_NIST_PART.fullmatch(inner[1]) for inner in parts if len(inner) > 2)
