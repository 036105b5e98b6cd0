"""The manifest of a dataset folder: what it holds, from which sources and by which tools it was made.

It is written last; a folder without it holds no dataset.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

from common import config_io
from common.dataset.schema import Schema, characters
from common.errors import InputError
from common.marks import Formerly
from common.storage import sha256_of, to_path

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

FILE_NAME = "manifest.json"
FORMAT_VERSION = 2
"""With the schema; 1, without, is read as characters of 28×28."""
DATASET_VERSION = "1.0.0"
"""The last part of a dataset folder's path, in TFDS' sense."""


def dataset_folder(data_dir: str, dataset: str) -> "AnyPath":
    """Where the dataset `<name>/<variant>` lies below `data_dir`."""
    return to_path(data_dir) / dataset / DATASET_VERSION


@dataclass(frozen=True)
class SourceFile:
    """A file that a dataset was made from, or a folder of pictures taken as one."""

    name: str
    size_bytes: int
    sha256: str
    official: bool
    """Whether it is, byte for byte, the file that NIST publishes under this name."""


@dataclass(frozen=True)
class Request:
    """What decides the bytes of a dataset: the same request gives the same shards."""

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
    """What pictures are brought to, as in 64x48; None for 28x28."""
    classes: tuple[str, ...] | None = None
    """The names of the classes, where they were given beside the files."""


@dataclass(frozen=True)
class Shard:
    """One TFRecord file."""

    name: str
    num_examples: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Split:
    """`train`, `validation` or `test`."""

    num_examples: int
    shards: tuple[Shard, ...]
    class_histogram: tuple[int, ...] = ()
    """Examples of each class, in label order; none where examples have no class."""
    imbalance_ratio: float = 1.0
    """The largest class over the smallest that is present."""
    pixel_mean: float = 0.0
    """Over all pixels of the split, in 0…255; so is the standard deviation."""
    pixel_std: float = 0.0
    foreground_fraction: Annotated[float, Formerly("ink_fraction")] = 0.0
    """The share of pixels from 128 on."""
    empty_images: int = 0
    """Images without any ink."""
    saturated_images: int = 0
    """Images that are nearly all ink."""
    leaked: int = 0
    """Examples whose very pixels are in the test split too; left out if the request says so."""
    excluded: Annotated[int, Formerly("dropped")] = 0
    """Examples left out because the request lists their pixel hashes."""


@dataclass(frozen=True)
class Manifest:
    format_version: int
    request: Request
    schema: Schema
    orientation: str
    """Always `upright`: a reader need not swap height and width."""
    splits: dict[str, Split]
    num_rejected: int
    """Pictures that could not be read; listed in rejected.jsonl."""
    data_fingerprint: str
    """A hash of the shards' checksums, the counts and the schema: equal if and only if the data is equal."""
    tools: dict[str, str]
    commit: str

    @property
    def class_names(self) -> tuple[str, ...]:
        """In label order."""
        return self.schema.vocabulary


def fingerprint(schema: Schema, splits: dict[str, Split]) -> str:
    """The `data_fingerprint`: 64 hexadecimal digits."""
    facts = {
        name: [[shard.name, shard.num_examples, shard.sha256] for shard in split.shards]
        for name, split in splits.items()
    }
    described = [schema.vocabulary, facts]
    if schema != characters(schema.vocabulary):  # of format 1, whose fingerprints stay
        described.append(config_io.to_plain(schema))
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def to_json(manifest: Manifest) -> bytes:
    """The content of `manifest.json`: the manifest, and from its schema what format 1 had, for other readers."""
    derived = {"class_names": manifest.class_names, "image_shape": manifest.schema.image_shape}
    return (json.dumps(config_io.to_plain(manifest) | derived, indent=2) + "\n").encode()


def read(folder: "AnyPath") -> Manifest:
    """The manifest of a dataset folder. Raises `InputError` if there is none that this version can read."""
    path = folder / FILE_NAME
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{folder}: no {FILE_NAME} there, so this is no (complete) dataset folder") from None
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
            raise InputError(f"{path}: class_names is missing")
        data["schema"] = config_io.to_plain(characters(tuple(class_names)))
    manifest = config_io.from_plain(Manifest, data, str(path))
    names = [shard.name for split in manifest.splits.values() for shard in split.shards]
    if any(name != PurePath(name).name for name in names):  # which would lead out of the folder
        raise InputError(f"{path}: names a shard that is no file in this folder; run preprocess again with --overwrite")
    if fingerprint(manifest.schema, manifest.splits) != manifest.data_fingerprint:
        raise InputError(f"{path}: is damaged, since its data_fingerprint is wrong; run preprocess again")
    return manifest


def check_shards(folder: "AnyPath", manifest: Manifest, splits: "tuple[str, ...] | None" = None) -> None:
    """Raises `InputError` if a shard of `splits`, or of any, is missing or is not, by its SHA-256, that shard."""
    for name in splits or manifest.splits:
        for shard in manifest.splits[name].shards:
            path = folder / shard.name
            if not path.is_file():
                raise InputError(f"{path}: the shard is missing; run preprocess again to make it anew")
            if path.stat().st_size != shard.size_bytes or sha256_of(path) != shard.sha256:
                raise InputError(f"{path}: the shard is damaged; run preprocess again to make it anew")
