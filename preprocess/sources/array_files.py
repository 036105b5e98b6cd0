"""The arrays of a source: which holds images and which labels, of which split, and what is besides.

Shapes say which array holds images. The names of files and arrays say the split (`train`, `t10k`, `x_test`, …), and by
the words that are left which arrays belong to one dataset.
"""

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from common.errors import InputError
from common.formats import arrays, picture
from common.formats.arrays import Array
from preprocess import catalogue
from preprocess.sources import mapping
from preprocess.sources.base import SPLIT_NAMES, Rejected, Wanted, left_out

_FORMS = ("IDX", "NumPy", "MATLAB", "CSV")
"""In the order of preference, where a split is there in several."""
_SUFFIX = re.compile(r"\.(gz|npy|npz|csv|mat|txt)$")
_SPLITS = SPLIT_NAMES | {"t10k": "test"}
_NO_NAMES = {
    *("images", "image", "imgs", "img", "x", "labels", "label", "y", "data", "pixels", "arr", "0"),
    *("idx", "idx1", "idx2", "idx3", "ubyte", "int", "mapping", "classmap"),
}
"""Words in names that say neither split nor dataset."""
_OF_LABELS = {"labels", "label", "y", "target", "targets", "class", "classes"}

_COUNTERPARTS = {"images": "labels", "labels": "images", "idx3": "idx1", "idx1": "idx3"}
"""What the name of a file of labels has where that of one of images has another word."""


@dataclass(frozen=True)
class Pair:
    """The images and the labels of a split. Labels are [N], or [N, 8] as in QMNIST."""

    images: Array
    labels: Array

    def read_labels(self) -> np.ndarray:
        """All labels, int64 [N]. Raises `InputError` if the array holds none, or another number of them."""
        count = self.images.shape[0]
        if self.labels.is_of_labels and self.labels.shape[0] != count:
            raise InputError(f"{self.images}: {count} images, but {self.labels} holds {self.labels.shape[0]} labels")
        return self.labels.read_labels()


@dataclass(frozen=True)
class Found:
    """What a source holds for a dataset."""

    pairs: dict[str, Pair]
    """By split; `train` is among them, unless there are none."""
    mapping: str | None
    """The location of the file that names the classes."""
    is_named_emnist: bool
    left_out: tuple[Rejected, ...]


@dataclass(frozen=True)
class _Named:
    """An array, and what the names of its file, of the folders of that and of itself say."""

    array: Array
    path: str
    group: str
    """The words that name the dataset."""
    split: str
    """Empty if no word names one."""

    @property
    def is_of_images(self) -> bool:
        return self.array.image_size is not None or len(self.array.shape) > 2

    @property
    def is_named_labels(self) -> bool:
        return not _OF_LABELS.isdisjoint(_words(self.array.name or self.path.rpartition("/")[2]))

    @property
    def preference(self) -> tuple[int, bool, str]:
        """The least is taken: of NIST's files the packed one, which is the published one."""
        return _FORMS.index(self.array.form), not self.path.endswith(".gz"), str(self.array)


def find(wanted: Wanted) -> Found:
    """The arrays of a source. Raises `InputError` for a damaged file, and for arrays that do not fit together."""
    named, others, mappings = [], [], {}
    for path, location in wanted.files.items():
        group, split = _read_name(path)
        if not _may_hold(wanted, group):
            if group not in _published_groups():
                others.append(left_out(path, "another-dataset"))
        elif mapping.is_mapping(path):
            mappings[path] = group, location
        elif path.lower().endswith(picture.SUFFIXES) or not (found := arrays.find(location)):
            others.append(left_out(path, "no-arrays"))
        else:
            for array in found:
                more, own_split = _read_name(array.name)
                named.append(_Named(array, path, "-".join(filter(None, (group, more))), own_split or split))
    if not any(one.is_of_images for one in named):
        return Found({}, None, False, ())
    groups = {one.group for one in named if one.is_of_images}
    if len(groups) > 1:
        datasets = ", ".join(sorted(filter(None, groups)))
        raise InputError(f"{wanted.location}: holds several datasets ({datasets}); give each its own folder")
    (group,) = groups
    chosen = mappings and min(mappings.items(), key=lambda one: (one[1][0] != group, one[0]))
    pairs, unused = _pair(named, wanted)
    others += [left_out(path, "no-arrays") for path in mappings if path != chosen[0]]
    is_named_emnist = any(one.array.is_named_emnist for one in named)
    return Found(pairs, chosen[1][1] if chosen else None, is_named_emnist, (*others, *unused))


def _may_hold(wanted: Wanted, group: str) -> bool:
    """Whether a file belongs to the wanted dataset, by the words in its name."""
    known = wanted.dataset
    if not known or list(wanted.files.values()) == [wanted.location]:
        return True
    return group == known.file_prefix or (known.is_mnist and group == "mnist")


def _published_groups() -> set[str]:
    return {catalogue.find(name).file_prefix for name in catalogue.names()}


def _read_name(name: str) -> tuple[str, str]:
    """The words of a path, or of an array's name, that name a dataset, and the split that they name, or empty.

    The last folder that names a split counts if the file names none.
    """
    *folders, stem = name.lower().split("/")
    while stem != (stem := _SUFFIX.sub("", stem)):
        pass
    words = _words(stem)
    splits = [_SPLITS[word] for word in words if word in _SPLITS]
    splits = splits or [_SPLITS[folder] for folder in folders if folder in _SPLITS]
    return "-".join(word for word in words if word not in _SPLITS and word not in _NO_NAMES), (splits or [""])[-1]


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", name.lower())


def _pair(named: list[_Named], wanted: Wanted) -> tuple[dict[str, Pair], list[Rejected]]:
    """The pairs by split, and the arrays that are in none. Arrays of no split are for training if no others are."""
    pairs, unused = {}, []
    if not any(one.split == "train" for one in named):
        named = [replace(one, split=one.split or "train") for one in named]
    unused += [left_out(one.array, "no-split") for one in named if not one.split]
    for split in ("train", "validation", "test"):
        some = sorted((one for one in named if one.split == split), key=lambda one: one.preference)
        candidates = [pair for one in some if one.is_of_images and (pair := _with_labels(one, some))]
        if not candidates and any(one.array.form != "CSV" for one in some):
            raise InputError(_incomplete(split, some, wanted))
        if candidates:
            pairs[split] = candidates[0]
            for other in candidates[1:]:
                _check_is_the_same(candidates[0], other, split)
        taken = [array for pair in candidates for array in (pair.images, pair.labels)]
        for one in some:
            problem = "no-labels" if one.is_of_images else "no-arrays"
            unused.append(left_out(one.array, "again" if one.array in taken else problem))
    used = [str(array) for pair in pairs.values() for array in (pair.images, pair.labels)]
    if "train" not in pairs:
        raise InputError(f"{wanted.location}: holds no images with labels for training")
    return pairs, [one for one in unused if one.path not in used]


def _with_labels(images: _Named, some: list[_Named]) -> Pair | None:
    """The images with the labels that are nearest: in the same file, in one that is packed alike, in one folder.

    Arrays that are called labels come before others, so that a writer's number is none. Raises `InputError` if several
    that differ are as good.
    """

    def distance(labels: _Named) -> tuple:
        places = [(PurePosixPath(one.path).parent, one.path.endswith(".gz")) for one in (images, labels)]
        is_none = not labels.is_named_labels, not labels.array.is_of_labels
        is_far = images.path != labels.path, images.array.form != labels.array.form, places[0] != places[1]
        return *is_none, *is_far, labels.array.shape[:1] != images.array.shape[:1]

    labels = [one for one in some if not one.is_of_images and (images.array.form != "CSV" or one.path == images.path)]
    if not labels:
        return None
    first, *others = sorted(labels, key=distance)
    pair = Pair(images.array, first.array)
    for other in others:
        is_as_good = other.array.is_of_labels and distance(other) == distance(first)
        if is_as_good and not np.array_equal(pair.read_labels(), other.array.read_labels()):
            raise InputError(f"{first.array} and {other.array}: both may be the labels of {images.array}; leave one")
    return pair


def _incomplete(split: str, some: list[_Named], wanted: Wanted) -> str:
    """What a split lacks that has only images, or only labels."""
    name = PurePosixPath(some[0].path).name
    other = re.sub("images|labels|idx3|idx1", lambda word: _COUNTERPARTS[word[0]], name)
    if other != name:
        return f"{wanted.location}: {other}: no such file"
    missing = "labels" if any(one.is_of_images for one in some) else "images"
    return f"{wanted.location}: no file holds the {missing} of the {split} split, which belong to {some[0].array}"


def _check_is_the_same(pair: Pair, other: Pair, split: str) -> None:
    """Raises `InputError` unless two pairs are one in two forms, which equal labels are taken to show."""
    if pair.images.shape[0] != other.images.shape[0] or not np.array_equal(pair.read_labels(), other.read_labels()):
        raise InputError(
            f"{pair.images} and {other.images} hold different images of the {split} split; leave one of them"
        )
