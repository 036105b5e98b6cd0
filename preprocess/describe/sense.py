"""Whether a dataset makes sense, which no single example shows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.dataset.manifest import Split
from common.dataset.schema import Schema

_FEW = 10  # training examples of a class
_SHOWN = 8  # classes by name
_MOSTLY = 0.5  # of the pixels
CONTENT = np.dtype([("content", "<u8"), ("label", "<u4")])
"""The hash of an example's pixels and its class."""


@dataclass(frozen=True)
class Findings:
    errors: list[str]
    """Why nothing can be learned from the dataset."""
    warnings: list[str]
    """What is probably not meant."""


def check(splits: Mapping[str, Split], schema: Schema, contents: Mapping[str, np.ndarray]) -> Findings:
    """What is wrong with the whole of a dataset; `contents` has an array of `CONTENT` for each split of characters."""
    found = Findings([], [])
    if "test" not in splits:
        found.warnings.append(
            "there is no test split, so nothing is measured; see --test-fraction, or add a folder test/"
        )
    if "validation" not in splits:
        found.warnings.append("there is no validation split, by which training ends in time; see --validation-fraction")
    _check_pixels(splits["train"], found)
    if not schema.has_width:
        _check_classes(splits, schema.vocabulary, found)
        _check_contents(contents, schema.vocabulary, found)
    return found


def _check_pixels(train: Split, found: Findings) -> None:
    mean = train.pixel_mean
    # As only of 0 and 1 the square is the number itself.
    if 0 < mean <= 1 and abs(train.pixel_std**2 + mean**2 - mean) < 1e-6 * mean:
        found.errors.append("all pixels are 0 or 1: the images were scaled; they must be whole numbers from 0 to 255")
    if (light := train.foreground_fraction) > _MOSTLY:
        found.warnings.append(
            f"{light:.0%} of the pixels are light: if the writing is dark on light, invert the images"
        )


def _check_classes(splits: Mapping[str, Split], names: Sequence[str], found: Findings) -> None:
    counts = {split: np.array(part.class_histogram) for split, part in splits.items()}
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
    order = np.argsort(pixels)
    pixels, labels = pixels[order], labels[order]
    is_again = pixels[1:] == pixels[:-1]
    if len(pixels) > 1 and is_again.all():
        found.errors.append("all images are the same")
    disputed = np.unique(pixels[1:][is_again & (labels[1:] != labels[:-1])])
    if len(disputed):
        ends = zip(np.searchsorted(pixels, disputed), np.searchsorted(pixels, disputed, "right"), strict=True)
        pairs = Counter(" and ".join(names[label] for label in np.unique(labels[slice(*end)])) for end in ends)
        shown = ", ".join(f"{pair} ({count})" for pair, count in pairs.most_common(_SHOWN))
        found.warnings.append(f"{_counted(len(disputed), 'image', 'images')} with more than one label: {shown}")
