"""Datasets of TensorFlow Datasets: `--source tfds:NAME`, from the folder in which TFDS has prepared it.

MNIST, which the source article reads so, is downloaded and prepared too. Grey images of one size are taken as they are,
and upright; others are pictures like people's own.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from common.dataset.schema import IMAGE, LABEL, characters
from common.errors import InputError, shown, unknown
from preprocess.config import PreprocessConfig
from preprocess.sources import pictures
from preprocess.sources.base import (
    SPLIT_NAMES,
    Block,
    IndexedSplit,
    Rejected,
    Source,
    Wanted,
    describe,
    divided,
    left_out,
)
from preprocess.sources.pictures import Found, Picture

PREFIX = "tfds:"

_NAMES = {"mnist/original": "mnist"}
"""The known datasets that TFDS reads correctly, with its names."""
_WRONG = "emnist"
"""TFDS drops a third of its Letters, and has all of it transposed."""
_NAME = re.compile(r"([a-z]\w*)(?:/(\w[\w.+-]*))?(?::(\d+\.\d+\.\d+))?", re.ASCII)
_VERSION = re.compile(r"\d+\.\d+\.\d+", re.ASCII)
_INFO_FILE = "dataset_info.json"
_MAX_PIXELS = 1 << 20


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset: its folder, and its features of images and labels."""

    folder: str
    image: str
    label: str

    def examples(self, split: str, encoded: bool = False) -> Any:
        """The examples of a split, or of a slice of it, in the order of its shards, as TensorFlow's dataset."""
        import tensorflow_datasets as tfds

        return tfds.builder_from_directory(self.folder).as_dataset(
            split=split,
            decoders={self.image: tfds.decode.SkipDecoding()} if encoded else None,
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
            shuffle_files=False,
        )


@dataclass(frozen=True)
class TfdsSplit(IndexedSplit):
    """The first `num_examples` examples of a TFDS split of grey images of one size."""

    prepared: Prepared
    name: str
    """TFDS' name of the split."""

    def read(self, block_examples: int) -> Iterator[Block]:
        import tensorflow_datasets as tfds

        start = 0
        examples = self.prepared.examples(self.name).take(self.num_examples).batch(block_examples)
        for batch in tfds.as_numpy(examples):
            images, labels = batch[self.prepared.image], batch[self.prepared.label]
            if (labels < 0).any():
                raise InputError(f"{self.prepared.folder}: examples of its split {self.name} have no label")
            example_ids = np.arange(start, start + len(images), dtype=np.uint64)
            yield Block({IMAGE: images, LABEL: labels}, example_ids)
            start += len(images)


def holds(wanted: Wanted) -> bool:
    return wanted.location.startswith(PREFIX)


def inspect(wanted: Wanted) -> Source:
    """Describes a dataset that TFDS has prepared; MNIST is prepared first, unless it is cached.

    Raises `InputError` if it is not prepared, is none of images with classes, or is one that TFDS has wrong.
    """
    source, name = wanted.location, wanted.location.removeprefix(PREFIX)
    parts = _NAME.fullmatch(name)
    if not parts:
        raise InputError(f"--source {shown(source)}: must be {PREFIX}NAME, {PREFIX}NAME/CONFIG or {PREFIX}NAME:1.0.0")
    if parts[1] == _WRONG:
        raise InputError(
            f"--source {source}: TFDS drops a third of EMNIST's Letters and has all images transposed; use NIST's own "
            "files, as with --dataset emnist/letters --source nist"
        )
    if wanted.dataset and _NAMES.get(wanted.dataset.name) != name:
        pairs = [f"--dataset {ours} --source {PREFIX}{theirs}" for ours, theirs in _NAMES.items()]
        pairs.append(f"--dataset mine/{parts[1]} --source {PREFIX}{parts[1]}")
        raise unknown("combination", f"--dataset {wanted.dataset.name} --source {source}", pairs)
    if wanted.config.classes is not None:
        raise InputError(f"--classes: {source} names its classes itself")
    folder = _prepare(wanted) if wanted.dataset else _find(*parts.groups(), wanted.config)
    return _inspect(wanted, folder)


def _prepare(wanted: Wanted) -> Path:
    """Downloads and prepares MNIST, unless it is cached. Raises `InputError` if the download fails."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(wanted.location.removeprefix(PREFIX), data_dir=_folders(wanted.config)[0])
    try:
        builder.download_and_prepare()
    except (OSError, tfds.download.DownloadError, tfds.core.download.checksums.NonMatchingChecksumError) as error:
        reason = " ".join(str(error).split())[:200]
        message = f"--source {wanted.location}: TFDS could not download it ({reason}); use the IDX files"
        raise InputError(message) from None
    return Path(builder.data_path)


def _folders(config: PreprocessConfig) -> tuple[Path, Path]:
    """Where datasets may be prepared: for this program, and by TFDS itself."""
    own = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    return Path(config.cache_dir).expanduser() / "tfds", own.expanduser()


def _find(name: str, variant: str | None, version: str | None, config: PreprocessConfig) -> Path:
    """The folder of a prepared dataset, the latest version if none is given."""
    folders = _folders(config)
    for root in (folder / name for folder in folders):
        if variant is None and root.is_dir() and not _versions(root):
            variants = sorted(path.name for path in root.iterdir() if path.is_dir() and _versions(path))
            if len(variants) > 1:
                known = ", ".join(f"{PREFIX}{name}/{one}" for one in variants)
                raise InputError(f"--source {PREFIX}{name}: {root} holds several of that name; give one of {known}")
            root = root / variants[0] if variants else root
        versions = _versions(root / variant if variant else root)
        if found := versions.get(version) if version else next(reversed(versions.values()), None):
            return found
    whole = "/".join(filter(None, (name, variant))) + (f":{version}" if version else "")
    raise InputError(
        f"--source {PREFIX}{whole}: is not prepared in {' or '.join(map(str, folders))}; prepare it with "
        f"`tfds build {whole}`, or name the folder of prepared datasets by TFDS_DATA_DIR"
    )


def _versions(root: Path) -> dict[str, Path]:
    """The prepared versions of a dataset, the latest last."""
    if not root.is_dir():
        return {}
    found = [path for path in root.iterdir() if _VERSION.fullmatch(path.name) and (path / _INFO_FILE).is_file()]
    return {path.name: path for path in sorted(found, key=lambda path: tuple(map(int, path.name.split("."))))}


def _inspect(wanted: Wanted, folder: Path) -> Source:
    import tensorflow_datasets as tfds

    try:
        info = tfds.builder_from_directory(folder).info
        features = dict(info.features)
    except Exception as error:  # TFDS has no one class for what may be wrong with its files
        raise InputError(f"{folder}: TFDS cannot read it ({' '.join(str(error).split())[:200]})") from None
    image = _choose(wanted, features, "image", tfds.features.Image)
    label = _choose(wanted, features, "label", tfds.features.ClassLabel)
    prepared = Prepared(str(folder), image, label)
    names = tuple(features[label].names)
    counts = {name: split.num_examples for name, split in info.splits.items() if split.num_examples}
    others = [left_out(f"{folder}, split {name}", "beside-splits") for name in counts if name not in SPLIT_NAMES]
    counts = {name: count for name, count in counts.items() if name in SPLIT_NAMES}
    if not counts:
        raise InputError(f"--source {wanted.location}: {folder} has no split train, validation or test")
    shape, dtype = features[image].shape, features[image].np_dtype
    if None not in shape and shape[-1] == 1 and dtype == np.uint8 and shape[0] * shape[1] <= _MAX_PIXELS:
        return _of_pixels(wanted, prepared, names, shape, counts, others)
    lengths = {name: info.splits[name].shard_lengths for name in counts}
    found, unread = _list_pictures(prepared, names, lengths)
    return pictures.assemble(wanted, Found(found, partial(_fetch, prepared, lengths), [*others, *unread]))


def _choose(wanted: Wanted, features: dict[str, Any], usual: str, kind: type) -> str:
    candidates = [name for name, feature in features.items() if isinstance(feature, kind)]
    if len(candidates) == 1:
        return candidates[0]
    if usual in candidates:
        return usual
    found = f"it has several: {', '.join(candidates)}" if candidates else f"its features are {', '.join(features)}"
    raise InputError(f"--source {wanted.location}: needs one feature {kind.__name__}; {found}")


def _of_pixels(
    wanted: Wanted,
    prepared: Prepared,
    names: tuple[str, ...],
    shape: tuple[int, ...],
    counts: dict[str, int],
    others: list[Rejected],
) -> Source:
    limit, name = wanted.config.max_examples_per_split, wanted.config.dataset
    is_divided = any(SPLIT_NAMES[split] == "validation" for split in counts)
    splits = [
        TfdsSplit(
            *(SPLIT_NAMES[split], f"{name}/{split}", min(count, limit or count), prepared, split),
            is_divided=is_divided,
        )
        for split, count in counts.items()
    ]
    if [split.split for split in splits] == ["train"]:
        splits = divided(splits[0], wanted.config)
    files = tuple(describe(str(shard)) for shard in sorted(Path(prepared.folder).glob("*.tfrecord*")))
    return Source(characters(names, *shape[:2]), tuple(splits), files, left_out=tuple(others))


def _list_pictures(
    prepared: Prepared, names: tuple[str, ...], lengths: dict[str, Sequence[int]]
) -> tuple[list[Picture], list[Rejected]]:
    import tensorflow_datasets as tfds

    found, others = [], []
    for number, (split, shard_lengths) in enumerate(lengths.items()):
        shards = np.repeat(np.arange(len(shard_lengths)), shard_lengths)
        for index, example in enumerate(tfds.as_numpy(prepared.examples(split, encoded=True))):
            path, label = f"{prepared.folder}, {split}#{index}", int(example[prepared.label])
            if label < 0:
                others.append(left_out(path, "no-labels"))
                continue
            content, place = pictures.examine(example[prepared.image]), (number, int(shards[index]), index)
            found.append(Picture(path, split, SPLIT_NAMES[split], names[label], content, place, index))
    return found, others


def _fetch(prepared: Prepared, lengths: dict[str, Sequence[int]], some: Sequence[Picture]) -> Iterator[bytes]:
    import tensorflow_datasets as tfds

    for (_, shard), of_shard in groupby(some, lambda picture: picture.place[:-1]):
        of_shard = list(of_shard)
        split = of_shard[0].inside
        start = sum(lengths[split][:shard])
        wanted = {picture.index for picture in of_shard}
        whole = prepared.examples(f"{split}[{start}:{start + lengths[split][shard]}]", encoded=True)
        for index, example in enumerate(tfds.as_numpy(whole), start):
            if index in wanted:
                yield example[prepared.image]
