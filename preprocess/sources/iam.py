"""The IAM handwriting database in its own layout: `ascii/lines.txt` and the pictures of lines, wherever below a folder.

Marti, Bunke, "The IAM-database", IJDAR 2002. A row of `lines.txt` is an id, `ok` or `err`, a grey level, the number of
components, x, y, width, height, and the words, divided by `|`. `err` says that the division into words failed; picture
and text of the line are right, so it is kept. The page is the form, and `forms.txt` names its writer.

The database has no one split. Files of line ids (`trainset.txt`, `validationset1.txt`, …) give it, as for the "Large
Writer Independent Text Line Recognition Task"; lines in none of them are left out then, so that figures compare.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from common.errors import InputError, shown
from common.formats import table as tables
from common.formats.picture import SUFFIXES
from common.storage import read, to_path, visible_files
from preprocess.config import PreprocessConfig
from preprocess.sources import pairs
from preprocess.sources.base import Rejected, Wanted, left_out
from preprocess.sources.lines import Listing
from preprocess.sources.pairs import Pair

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_LINES, _FORMS = "lines.txt", "forms.txt"
_SPLIT_FILES = {
    "trainset.txt": "train",
    "validationset1.txt": "validation",
    "validationset2.txt": "validation",
    "testset.txt": "test",
}
_FIELDS, _STATES = 9, ("ok", "err")
_ENDS = (*".,;:!?)]", "...", "'s", "'ll", "'re", "'ve", "'d", "'m", "n't")
_BEGINNINGS = ("(", "[")
_QUOTES = ('"', "'")


def holds(wanted: Wanted) -> bool:
    """Whether the source is a folder with IAM's list of lines."""
    root = to_path(wanted.location)
    return root.is_dir() and any(map(_is_list, visible_files(root, _LINES)))


def list_lines(wanted: Wanted) -> Listing:
    """The lines of the database. Raises `InputError`, naming file and line, for a row that is not of this form."""
    root, config = to_path(wanted.location), wanted.config
    lists = [path for path in visible_files(root, _LINES) if _is_list(path)]
    if len(lists) > 1:
        raise InputError(f"--source {root}: holds {lists[0]} and {lists[1]}; name the folder of one")
    pictures = {path.stem: path for path in sorted(visible_files(root), reverse=True) if _is_picture(path)}
    writers, splits = _read_writers(root, config), _read_splits(root, config)
    found, rejected, others, num_marked, known = [], [], [], 0, {}
    for number, fields in _rows(lists[0], config, _FIELDS):
        name, state, *_, words = fields
        form = name.rpartition("-")[0]
        if state not in _STATES or not form:
            raise InputError(
                f"{lists[0]}, line {number}: begins with {shown(f'{name} {state}')}, not an id and ok or err"
            )
        if (first := known.setdefault(name, number)) != number:
            raise InputError(f"{lists[0]}, line {number}: {name} is also in line {first}")
        split = splits.get(name, splits.get(form, ""))
        if not split and "train" in splits.values():
            others.append(left_out(name, "no-split"))
            continue
        num_marked += state == "err"
        if name not in pictures:
            rejected.append(Rejected(name, "no-picture", f"of {_LINES}, line {number}, has no picture of its name"))
            continue
        found.append(Pair(pictures[name], joined(words.split("|")), split, writers.get(form, ""), form))
    listing = pairs.list_pairs(found, rejected, root, config)
    counts = {"lines marked err, which are kept": num_marked} if num_marked else {}
    return replace(listing, counts=counts, left_out=tuple(others))


def joined(words: list[str]) -> str:
    """The text of a line: its words with spaces between them, punctuation joined to the word that it belongs to.

    IAM has punctuation as words of its own, but nobody writes a space before a comma. Closing marks and endings such as
    's are joined to the word before them, opening brackets to the one after; of quotation marks the first, third, …
    open, unless it is the last word; dashes and signs stay apart. Where a quotation runs over lines, the rule can err.
    A word error rate on such text counts no punctuation of its own, and is not that of text with spaces around it.
    """
    text, is_open, glued = "", dict.fromkeys(_QUOTES, False), True
    for place, word in enumerate(words):
        opens, closes = word in _BEGINNINGS, word.lower() in _ENDS
        if word in _QUOTES:
            closes = is_open[word] or (place == len(words) - 1 and place > 0)
            opens, is_open[word] = not closes, not closes
        text += word if glued or closes else f" {word}"
        glued = opens
    return text


def _is_list(path: "AnyPath") -> bool:
    """Whether the file is IAM's list of lines, and not another of this name."""
    row = next((line for line in read(path).splitlines() if line.strip() and not line.startswith(b"#")), b"")
    return len(row.split(b" ", _FIELDS - 1)) >= _FIELDS - 1 and row.split(b" ")[1] in (b"ok", b"err")


def _is_picture(path: "AnyPath") -> bool:
    return path.stem.count("-") == 2 and path.suffix.lower() in SUFFIXES


def _read_writers(root: "AnyPath", config: PreprocessConfig) -> dict[str, str]:
    """The writer of each form; empty if there is no `forms.txt`."""
    path = next(visible_files(root, _FORMS), None)
    return {form: writer for _, (form, writer, _) in _rows(path, config, 3)} if path else {}


def _read_splits(root: "AnyPath", config: PreprocessConfig) -> dict[str, str]:
    """The split of each line, or of each form, that a split file names."""
    splits, files = {}, {}
    for path in sorted(visible_files(root, "*set*.txt")):
        if path.name not in _SPLIT_FILES:
            continue
        for number, (name,) in _rows(path, config, 1):
            if splits.setdefault(name, _SPLIT_FILES[path.name]) != _SPLIT_FILES[path.name]:
                raise InputError(f"{path}, line {number}: {shown(name)} is also in {files[name]}")
            files[name] = path
    return splits


def _rows(path: "AnyPath", config: PreprocessConfig, count: int) -> Iterator[tuple[int, list[str]]]:
    """The numbers of lines that are no comments, and their `count` fields: one space divides them, but for the last."""
    for number, line in enumerate(tables.lines_of(tables.decode(read(path), str(path), config.encoding)), start=1):
        if line.strip() and not line.startswith("#"):
            fields = line.strip().split(" ", count - 1)
            if len(fields) < count:
                raise InputError(f"{path}, line {number}: has {len(fields)} fields, not {count} or more")
            yield number, fields
