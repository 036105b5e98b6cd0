"""The names of classes that stand in a file beside the images, as EMNIST's `emnist-<split>-mapping.txt`."""

import sys

from common.errors import InputError
from common.formats import archive, table

_CLASS_MAP = "index", "char"
"""The columns of Kuzushiji-MNIST's `kmnist_classmap.csv`."""


def is_mapping(name: str) -> bool:
    """Whether a file is called as such files are."""
    return name.lower().endswith(("mapping.txt", "classmap.csv"))


def read(location: str) -> tuple[tuple[str, ...], int]:
    """Class names and the first label, as `check` gives them, from a mapping of either form.

    Each line of EMNIST's form gives a label and the code points of its characters.
    """
    with archive.open_file(location) as file:
        content = file.read()
    if location.lower().endswith(".csv"):
        rows = table.read(content, location, _CLASS_MAP)
        lines = [f"{row.fields['index']} {' '.join(str(ord(point)) for point in row.fields['char'])}" for row in rows]
    else:
        lines = content.decode("utf-8-sig", errors="replace").splitlines()
    mapping: dict[int, list[int]] = {}
    for line in filter(str.strip, lines):
        try:
            label, *points = map(int, line.split())
        except ValueError:
            points = []
        if not points or label in mapping:
            raise InputError(f"{location}: {line!r}: each line must be a new label and its code points, as in '10 65'")
        mapping[label] = points
    return check(mapping, location)


def check(mapping: dict[int, list[int]], where: str) -> tuple[tuple[str, ...], int]:
    """The class names in label order and the first label, from the code points of each label.

    The first code point names the class. Labels begin at 0, or at 1 in Letters. Raises `InputError` if labels are
    missing, a code point is not a printable character, or two classes have the same name.
    """
    labels = sorted(mapping)
    if not labels or labels[0] not in (0, 1) or labels != list(range(labels[0], labels[0] + len(labels))):
        raise InputError(f"{where}: the mapping's labels must run from 0 or 1 without a gap")
    for label, (point, *_) in mapping.items():
        if not 0 <= point <= sys.maxunicode or not chr(point).isprintable():
            raise InputError(f"{where}: the mapping gives label {label} the number {point}, which is not printable")
    names = tuple(chr(mapping[label][0]) for label in labels)
    if len(set(names)) < len(names):
        raise InputError(f"{where}: two labels of the mapping name the same character")
    return names, labels[0]
