"""The plan of a dataset: the split and shard of each example, known before any pixel is read."""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common import storage
from common.dataset import exclude_list, hashing
from common.dataset.manifest import Request
from common.dataset.schema import EMNIST_SIZE, MAX_BOUND, Schema
from common.errors import InputError
from preprocess.config import PreprocessConfig, image_size
from preprocess.describe import sense
from preprocess.sources.base import Rejected, Source, SourceSplit

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_MIN_SHARDS = 16
_SHARD_BYTES = 50_000 * 784  # of pixels: 50,000 images of 28×28
_MIN_EXAMPLES_PER_SHARD = 64  # with fewer, a shard might stay empty

ShardKey = tuple[str, int]
"""The name of an output split and the index of a shard in it."""


@dataclass(frozen=True)
class Plan:
    """Everything that a worker needs to know, derived from headers and labels before the pipeline runs."""

    schema: Schema
    request: Request
    examples: dict[str, int]
    """Examples per output split, before any are left out; an empty split is absent."""
    num_shards: dict[str, int]
    excluded_hashes: np.ndarray
    """Pixel hashes of the training examples to leave out: uint64 [N], sorted."""
    max_rejected: int
    rejected: tuple[Rejected, ...]
    """What the sources held that is no example, known before any pixel is read."""
    left_out: tuple[Rejected, ...]
    """What the sources held besides that is no example, and no mistake."""
    counts: dict[str, int]
    """What else is to be known of the sources, for the manifest."""
    source_warnings: tuple[str, ...]
    """What is probably not meant, as its sources say."""
    warnings: tuple[str, ...]
    """The same, and what labels tell."""
    compare: str | None
    max_drift: float | None
    location: str
    """The dataset folder as text, the form in which workers receive it."""

    @property
    def folder(self) -> "AnyPath":
        """The dataset folder."""
        return storage.to_path(self.location)

    @property
    def work_folder(self) -> "AnyPath":
        """The folder for all output until the dataset is complete."""
        return self.folder.parent / f".{self.folder.name}.incomplete"

    @property
    def part_record(self) -> np.dtype:
        """The dtype of an example in a part file."""
        dtypes = {"uint8": "u1", "int64": "<u4"}
        values = [(feature.name, dtypes[feature.dtype], feature.shape) for feature in self.schema.features]
        return np.dtype([("order", "<u8"), ("content", "<u8"), *values])

    @property
    def shard_keys(self) -> list[ShardKey]:
        return [(split, index) for split, count in self.num_shards.items() for index in range(count)]

    def notes_name(self, key: ShardKey) -> str:
        """The file, in the work folder, with the origins of a shard's examples."""
        return f"origins-{key[0]}-{key[1]:05d}.jsonl"

    def contents_name(self, key: ShardKey) -> str:
        """The file, in the work folder, with the pixel hashes and labels of a shard's examples."""
        return f"labels-{key[0]}-{key[1]:05d}"

    def shard_name(self, key: ShardKey) -> str:
        split, index = key
        prefix = self.request.dataset.split("/")[0]
        return f"{prefix}-{split}.tfrecord-{index:05d}-of-{self.num_shards[split]:05d}"


def assign(request: Request, split: SourceSplit, example_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Assigns the examples of a source's split, given by `example_ids`, uint64 [N], to output splits and shards.

    Returns a mask of the validation examples, bool [N] (none in `test`), and the examples' order, uint64 [N]: sorted by
    it, the examples of an output split fill its shards one after the other.
    """
    order = hashing.hashes(request.seed, "order", split.namespace, example_ids)
    if split.split == "test" or split.is_divided:
        return np.zeros(len(example_ids), bool), order
    draw = hashing.hashes(request.seed, "validation", split.namespace, example_ids)
    return hashing.selected(draw, request.validation_fraction), order


def make_plan(config: PreprocessConfig, source: Source, folder: "AnyPath") -> Plan:
    """The plan for the examples of `source`. Raises `InputError` if their labels show that nothing can be learned."""
    if (num_classes := len(source.schema.vocabulary)) > MAX_BOUND:
        raise InputError(f"{num_classes:,} classes are too many; at most {MAX_BOUND:,} can be written")
    example_ids = [split.example_ids() for split in source.splits]
    largest = sum(len(some) for split, some in zip(source.splits, example_ids, strict=True) if split.split == "train")
    per_shard = source.schema.examples_in(_SHARD_BYTES, _MIN_EXAMPLES_PER_SHARD)
    excluded_hashes = exclude_list.read(config.exclude) if config.exclude else np.empty(0, np.uint64)
    request = Request(
        dataset=config.dataset,
        files=source.files,
        num_shards=config.num_shards or max(_MIN_SHARDS, math.ceil(largest / per_shard)),
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        max_examples_per_split=config.max_examples_per_split,
        drop_leaked=config.drop_leaked,
        seed=config.seed,
        image_size=None if image_size(config) == EMNIST_SIZE else config.image_size,
        classes=config.classes,
        orientation=config.orientation,
        conversion=source.conversion,
        lines=source.lines,
        excluded_hashes=hashlib.sha256(excluded_hashes.astype("<u8").tobytes()).hexdigest()
        if len(excluded_hashes)
        else None,
    )
    examples = {"train": 0, "validation": 0, "test": 0}
    labels: dict[str, list[np.ndarray | None]] = {name: [] for name in examples}
    for split, some in zip(source.splits, example_ids, strict=True):
        is_validation, _ = assign(request, split, some)
        known = split.example_labels()
        for name, members in (("validation", is_validation), (split.split, ~is_validation)):
            examples[name] += int(members.sum())
            labels[name].append(None if known is None else known[members])
    if not largest:
        raise InputError("the sources hold no example for training, only for validation or test")
    if not examples["train"]:
        raise InputError(
            f"--validation-fraction {config.validation_fraction}: leaves none of "
            f"{examples['validation']} examples for training; give a smaller one"
        )
    examples = {split: count for split, count in examples.items() if count}
    names = source.schema.vocabulary
    found = sense.check_labels(examples, _histograms(examples, labels, len(names)), names)
    found.raise_errors(config.dataset)
    num_shards = {
        split: max(
            1,
            min(math.ceil(request.num_shards * count / examples["train"]), count // _MIN_EXAMPLES_PER_SHARD),
        )
        for split, count in examples.items()
    }
    return Plan(
        schema=source.schema,
        request=request,
        examples=examples,
        num_shards=num_shards,
        excluded_hashes=excluded_hashes,
        max_rejected=config.max_rejected,
        rejected=source.rejected,
        left_out=source.left_out,
        counts=source.counts,
        source_warnings=source.warnings,
        warnings=(*source.warnings, *found.warnings),
        compare=config.compare,
        max_drift=config.max_drift,
        location=str(folder),
    )


def _histograms(
    splits: Collection[str], labels: Mapping[str, Sequence[np.ndarray | None]], num_classes: int
) -> dict[str, np.ndarray] | None:
    """The examples of each class in each of `splits`, of the labels of its parts; None if some are not known."""
    if any(part is None for split in splits for part in labels[split]):
        return None
    return {split: np.bincount(np.concatenate(labels[split]), minlength=num_classes) for split in splits}
