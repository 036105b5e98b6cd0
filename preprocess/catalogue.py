"""The catalogue of the known datasets: their classes, sizes, file names, orientation and official checksums.

EMNIST: Cohen, Afshar, Tapson, van Schaik, "EMNIST: an extension of MNIST to handwritten letters", arXiv:1702.05373.
The counts only inform; a file's header decides.
"""

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from common.errors import InputError, unknown

DIGITS = "0123456789"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LOWER = "abcdefghijklmnopqrstuvwxyz"

_OWN_NAME = re.compile(r"[a-z0-9_]+/[a-z0-9_]+")


@dataclass(frozen=True)
class KnownDataset:
    """A dataset that `--dataset` can name without further information."""

    name: str
    """`<name>/<variant>`, as in the dataset folder's path."""
    classes: tuple[str, ...]
    """The characters of each class, in label order (two if both cases share a class)."""
    first_label: int
    """The label that the source files give to the first class; labels of a dataset folder always begin at 0."""
    transposed: bool
    """Whether the source files hold each image with height and width swapped."""
    file_prefix: str
    """`emnist-<split>` for EMNIST's file names; empty for those of the original MNIST."""
    official_examples: dict[str, int]
    """Examples in the official `train` and `test` files; empty if there are none."""
    mapping_file: str | None
    """The file that maps labels to characters; None if the format has none."""

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(characters[0] for characters in self.classes)

    @property
    def is_mnist(self) -> bool:
        return self.name == "mnist/original"

    def images_file(self, split: str) -> str:
        return f"{self._stem(split)}-images-idx3-ubyte.gz"

    def labels_file(self, split: str) -> str:
        return f"{self._stem(split)}-labels-idx1-ubyte.gz"

    def _stem(self, split: str) -> str:
        if self.file_prefix:
            return f"{self.file_prefix}-{split}"
        return {"train": "train", "test": "t10k"}[split]


def _emnist(source: str, split: str, classes: str | tuple[str, ...], train: int, test: int) -> KnownDataset:
    return KnownDataset(
        name=f"{source}/{split}",
        classes=tuple(classes),
        first_label=1 if split == "letters" else 0,
        transposed=True,
        file_prefix=f"emnist-{split}",
        official_examples={"train": train, "test": test} if source == "emnist" else {},
        mapping_file=f"emnist-{split}-mapping.txt",
    )


# Lower case is merged into upper case where the two look alike.
_MERGED = (*DIGITS, *(c if c.lower() in "abdefghnqrt" else c + c.lower() for c in UPPER), *"abdefghnqrt")
_EMNIST_SPLITS = {
    "byclass": (DIGITS + UPPER + LOWER, 697_932, 116_323),
    "bymerge": (_MERGED, 697_932, 116_323),
    "balanced": (_MERGED, 112_800, 18_800),
    "letters": (tuple(map("".join, zip(UPPER, LOWER, strict=True))), 124_800, 20_800),
    "digits": (DIGITS, 240_000, 40_000),
    "mnist": (DIGITS, 60_000, 10_000),
}
_MNIST = KnownDataset(
    name="mnist/original",
    classes=tuple(DIGITS),
    first_label=0,
    transposed=False,
    file_prefix="",
    official_examples={"train": 60_000, "test": 10_000},
    mapping_file=None,
)
# The embedded dataset is drawn in the layout of any EMNIST split and kept apart from real data by its name.
_DATASETS = {
    dataset.name: dataset
    for dataset in (
        *(_emnist("emnist", split, *facts) for split, facts in _EMNIST_SPLITS.items()),
        _MNIST,
        *(_emnist("synthetic", split, *facts) for split, facts in _EMNIST_SPLITS.items()),
    )
}


def names() -> tuple[str, ...]:
    """The names of all known datasets."""
    return tuple(_DATASETS)


def find(name: str) -> KnownDataset:
    """The dataset of that name. Raises `InputError`, listing the known names, if there is none."""
    if name not in _DATASETS:
        raise unknown("dataset", name, names())
    return _DATASETS[name]


def find_or_own(name: str) -> KnownDataset | None:
    """The known dataset of that name; None for a custom name. Raises `InputError` for an invalid one."""
    families = {known.split("/")[0] for known in _DATASETS}
    if name in _DATASETS or name.split("/")[0] in families:
        return find(name)
    if not _OWN_NAME.fullmatch(name):
        raise InputError(
            f"unknown dataset {name!r}; known: {', '.join(_DATASETS)}; "
            "a name of your own has two words of a-z, 0-9 and _, like mine/letters"
        )
    return None


@cache
def official_sha256() -> dict[str, str]:
    """The SHA-256 of every file that NIST publishes for EMNIST, by file name."""
    table = resources.files("preprocess").joinpath("official_files.tsv").read_text()
    return {row["file"]: row["sha256"] for row in csv.DictReader(table.splitlines(), delimiter="\t")}
