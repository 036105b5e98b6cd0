"""Whether a dataset makes sense, which no single example shows."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from common.dataset.manifest import Split
from common.dataset.schema import Schema
from common.errors import InputError

_FEW = 10  # training examples of a class
_SHOWN = 8  # classes by name
_MOSTLY = 0.5  # of the pixels
CONTENT = np.dtype([("content", "<u8"), ("label", "<u4")])
"""The hash of an example's pixels and its class."""
DISPUTED_FILE = "disputed.jsonl"


@dataclass(frozen=True)
class Disputed:
    """An example of an image that has more than one label."""

    pixels: int
    """The hash of its pixels."""
    split: str
    index: int
    """Its place in the split."""
    label: int


@dataclass(frozen=True)
class Findings:
    """What is wrong with a dataset."""

    errors: list[str] = field(default_factory=list)
    """Why nothing can be learned from it."""
    warnings: list[str] = field(default_factory=list)
    """What is probably not meant."""
    disputed: list[Disputed] = field(default_factory=list)
    """The examples of all images that have more than one label, those of an image after each other."""

    def raise_errors(self, dataset: str) -> None:
        """Raises `InputError` if there are errors."""
        if self.errors:
            raise InputError(f"{dataset}: {'; '.join(self.errors)}")


def check_labels(
    splits: Collection[str], histograms: Mapping[str, Sequence[int]] | None, names: Sequence[str]
) -> Findings:
    """What is wrong with the whole of a dataset as far as that shows before any pixel is read.

    `histograms`: the examples of each class in each split; None of lines, and while labels are not known.
    """
    found = Findings()
    if "test" not in splits:
        found.warnings.append(
            "there is no test split, so nothing is measured; see --test-fraction, or add a folder test/"
        )
    if "validation" not in splits:
        found.warnings.append("there is no validation split, by which training ends in time; see --validation-fraction")
    if histograms:
        _check_classes(histograms, names, found)
    return found


def check_scale(images: np.ndarray, where: str) -> None:
    """Raises `InputError` if `images`, the first of a training split, have only the pixels 0 and 1, and not only 0."""
    if images.max() == 1:
        raise InputError(
            f"{where}: all pixels of the first {_counted(len(images), 'image', 'images')} are 0 or 1: "
            "they were scaled; they must be whole numbers from 0 to 255"
        )


def check(splits: Mapping[str, Split], schema: Schema, contents: Mapping[str, np.ndarray]) -> Findings:
    """What is wrong with the whole of a dataset; `contents` has an array of `CONTENT` for each split of characters."""
    histograms = None if schema.has_width else {split: part.class_histogram for split, part in splits.items()}
    found = check_labels(splits, histograms, schema.vocabulary)
    if (light := splits["train"].foreground_fraction) > _MOSTLY:
        found.warnings.append(
            f"{light:.0%} of the pixels are light: if the writing is dark on light, invert the images"
        )
    if not schema.has_width:
        _check_contents(contents, schema.vocabulary, found)
    return found


def _check_classes(histograms: Mapping[str, Sequence[int]], names: Sequence[str], found: Findings) -> None:
    counts = {split: np.array(histogram) for split, histogram in histograms.items()}
    train = counts["train"]
    if (train > 0).sum() < 2:
        (only,) = (names[label] for label in np.flatnonzero(train))
        found.errors.append(
            f"all training examples are of one class, {only!r}: there is nothing to tell apart; "
            "the source needs a folder for each class, and may be one folder too high or too low"
        )
    for labels, problem in (
        (np.flatnonzero((train > 0) & (train < _FEW)), f"fewer than {_FEW} training examples"),
        *(
            (np.flatnonzero((train == 0) & (counts[split] > 0)), f"no training example, but some in {split},")
            for split in counts
        ),
        *((np.flatnonzero((train > 0) & (counts[split] == 0)), f"no example in {split}") for split in counts),
    ):
        if len(labels):
            found.warnings.append(f"{problem} of {_counted(len(labels), 'class', 'classes')}: {_named(labels, names)}")


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _named(labels: np.ndarray, names: Sequence[str]) -> str:
    shown = " ".join(names[label] for label in labels[:_SHOWN])
    return shown + (" …" if len(labels) > _SHOWN else "")


def _check_contents(contents: Mapping[str, np.ndarray], names: Sequence[str], found: Findings) -> None:
    pixels, labels = (np.concatenate([part[name] for part in contents.values()]) for name in ("content", "label"))
    splits, starts = list(contents), np.cumsum([0, *map(len, contents.values())])
    order = np.argsort(pixels, stable=True)
    pixels, labels = pixels[order], labels[order]
    is_again = pixels[1:] == pixels[:-1]
    if len(pixels) > 1 and is_again.all():
        found.errors.append("all images are the same")
        return
    disputed = np.unique(pixels[1:][is_again & (labels[1:] != labels[:-1])])
    pairs = Counter()
    for low, high in zip(np.searchsorted(pixels, disputed), np.searchsorted(pixels, disputed, "right"), strict=True):
        pairs[" and ".join(names[label] for label in np.unique(labels[low:high]))] += 1
        for row in range(low, high):
            part = np.searchsorted(starts, order[row], "right") - 1
            index = int(order[row] - starts[part])
            found.disputed.append(Disputed(int(pixels[row]), splits[part], index, int(labels[row])))
    if pairs:
        shown = ", ".join(f"{pair} ({count})" for pair, count in pairs.most_common(_SHOWN))
        found.warnings.append(
            f"{_counted(len(disputed), 'image', 'images')} with more than one label, named in {DISPUTED_FILE}: {shown}"
        )
