"""The manifest of a dataset folder: its content, its sources, and the tools that made it.

It is written last; a folder without it holds no dataset.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Literal

from common import config_io
from common.dataset.schema import Schema, characters
from common.errors import InputError
from common.marks import Formerly
from common.storage import sha256_of, to_path

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

FILE_NAME = "manifest.json"
FORMAT_VERSION = 2
"""Version 2 records the schema; version 1 has none, and is read as characters of 28×28."""
DATASET_VERSION = "1.0.0"
"""The version in TFDS' sense, the last part of a dataset folder's path."""


def dataset_folder(data_dir: str, dataset: str) -> "AnyPath":
    """The folder of the dataset `<name>/<variant>` below `data_dir`."""
    return to_path(data_dir) / dataset / DATASET_VERSION


@dataclass(frozen=True)
class SourceFile:
    """A source file of a dataset; a folder of pictures counts as one file."""

    name: str
    size_bytes: int
    sha256: str
    official: bool
    """Whether the file is byte-identical to the one that NIST publishes under this name."""


@dataclass(frozen=True)
class LineOptions:
    """How the examples of a dataset of lines are made."""

    line_height: int
    """The height of all images, in pixels."""
    max_width: int
    """The widest image; longer lines are scaled down in both directions."""
    group_by: Literal["writer", "page", "line"]
    """What a group is. No group is in two splits."""
    group_pattern: str | None = None
    """The regular expression that finds the groups in the names of files; None if the sources name them."""
    num_lines: int | None = None
    """How many training lines are drawn or composed; None for the default."""


@dataclass(frozen=True)
class Request:
    """Everything that determines a dataset's bytes: the same request gives the same shards."""

    dataset: str
    files: tuple[SourceFile, ...]
    num_shards: int
    validation_fraction: float
    test_fraction: float
    max_examples_per_split: int | None
    drop_leaked: bool
    seed: int
    excluded_hashes: Annotated[str | None, Formerly("dropped_keys")] = None
    """The SHA-256 of the pixel hashes, sorted, of the training examples to leave out."""
    image_size: str | None = None
    """Height and width that pictures are scaled to, such as 64x48; None for 28x28."""
    classes: tuple[str, ...] | None = None
    """Class names from `--classes`; None if the source files name the classes."""
    orientation: Literal["upright", "transposed"] | None = None
    """How the sources' arrays hold images, from `--orientation`; None if their names tell."""
    conversion: int | None = None
    """The version of the conversion of people's pictures (see `normalize`); None for sources of images."""
    lines: LineOptions | None = None
    """How lines of text are drawn and grouped; None for characters."""


@dataclass(frozen=True)
class Shard:
    """One TFRecord file of a split."""

    name: str
    num_examples: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Split:
    """The shards and statistics of `train`, `validation` or `test`."""

    num_examples: int
    shards: tuple[Shard, ...]
    class_histogram: tuple[int, ...] = ()
    """Examples per class, in label order; of lines, how often each character occurs; empty if there are neither."""
    imbalance_ratio: float = 1.0
    """Size of the largest class divided by that of the smallest non-empty one."""
    pixel_mean: float = 0.0
    """The mean of all pixels of the split, 0…255; `pixel_std` is their standard deviation."""
    pixel_std: float = 0.0
    foreground_fraction: Annotated[float, Formerly("ink_fraction")] = 0.0
    """The share of pixels of at least 128."""
    empty_images: int = 0
    """Images whose pixels are all 0."""
    saturated_images: int = 0
    """Images of which at least 90 % is foreground."""
    leaked: int = 0
    """Examples with exactly the pixels of a test example; left out if the request has `drop_leaked`."""
    excluded: Annotated[int, Formerly("dropped")] = 0
    """Examples left out because their pixel hashes are on the exclude list."""
    num_groups: int = 0
    """The groups of its lines; 0 for characters."""
    widths: tuple[int, ...] = ()
    """The number of lines by width: up to 32 pixels, up to 64, …"""
    lengths: tuple[int, ...] = ()
    """The number of lines by the number of their characters, from 0 on."""


@dataclass(frozen=True)
class Manifest:
    format_version: int
    request: Request
    schema: Schema
    orientation: str
    """Always `upright`: a reader need not swap height and width."""
    splits: dict[str, Split]
    num_rejected: int
    """Pictures left out because of a problem; listed in rejected.jsonl."""
    data_fingerprint: str
    """A hash of the shards' checksums, the counts and the schema: equal if and only if the data is equal."""
    tools: dict[str, str]
    commit: str
    counts: dict[str, int] = field(default_factory=dict)
    """What else is to be known of the sources: how many files were left out, lines had no text, and such."""
    warnings: tuple[str, ...] = ()
    """What is probably not meant, of the dataset as a whole."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names, in label order."""
        return self.schema.vocabulary


def fingerprint(schema: Schema, splits: dict[str, Split]) -> str:
    """The `data_fingerprint`: 64 hexadecimal digits."""
    facts = {
        name: [[shard.name, shard.num_examples, shard.sha256] for shard in split.shards]
        for name, split in splits.items()
    }
    described = [schema.vocabulary, facts]
    if schema != characters(schema.vocabulary):  # format 1 has only that one, and its fingerprints stay valid
        plain = config_io.to_plain(schema)
        if not schema.unseen:  # which schemas of earlier versions lack
            del plain["unseen"]
        described.append(plain)
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def to_json(manifest: Manifest) -> bytes:
    """The content of `manifest.json`: the manifest, and format 1's fields of the schema, for other readers."""
    derived = {"class_names": manifest.class_names, "image_shape": manifest.schema.image_shape}
    return (json.dumps(config_io.to_plain(manifest) | derived, indent=2) + "\n").encode()


def read(folder: "AnyPath") -> Manifest:
    """The manifest of a dataset folder. Raises `InputError` if it is missing, damaged, or of an unknown version."""
    path = folder / FILE_NAME
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{folder}: no {FILE_NAME} there, so this is not a complete dataset folder") from None
    except ValueError:
        raise InputError(f"{path}: is not JSON; run preprocess again with --overwrite") from None
    version = data.get("format_version") if isinstance(data, dict) else None
    if version not in (1, FORMAT_VERSION):
        raise InputError(f"{path}: has format version {version}; this program reads 1 and {FORMAT_VERSION}")
    data = dict(data)
    class_names = data.pop("class_names", None)
    data.pop("image_shape", None)
    if version == 1:
        if not isinstance(class_names, list):
            raise InputError(f"{path}: class_names is missing; run preprocess again with --overwrite")
        data["schema"] = config_io.to_plain(characters(tuple(class_names)))
    manifest = config_io.from_plain(Manifest, data, str(path))
    names = [shard.name for split in manifest.splits.values() for shard in split.shards]
    if any(name != PurePath(name).name for name in names):  # such a path could lead out of the folder
        raise InputError(
            f"{path}: names a shard that is not a file in this folder; run preprocess again with --overwrite"
        )
    if fingerprint(manifest.schema, manifest.splits) != manifest.data_fingerprint:
        raise InputError(f"{path}: is damaged: its data_fingerprint is wrong; run preprocess again with --overwrite")
    return manifest


def check_shards(folder: "AnyPath", manifest: Manifest, splits: "tuple[str, ...] | None" = None) -> None:
    """Raises `InputError` if a shard of `splits` (by default of all) is missing or has another SHA-256."""
    for name in splits or manifest.splits:
        for shard in manifest.splits[name].shards:
            path = folder / shard.name
            if not path.is_file():
                raise InputError(f"{path}: the shard is missing; run preprocess again to rebuild it")
            if path.stat().st_size != shard.size_bytes or sha256_of(path) != shard.sha256:
                raise InputError(f"{path}: the shard is damaged; run preprocess again to rebuild it")
