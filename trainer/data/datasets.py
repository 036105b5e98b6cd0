"""Opens dataset folders, local or in a bucket."""

import gzip
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.dataset import manifest as manifests
from common.dataset.manifest import Manifest
from common.dataset.schema import Schema
from common.errors import InputError
from common.storage import read, to_path
from trainer.config import settings as configs
from trainer.data import cache
from trainer.data.cache import MovingWindow
from trainer.data.examples import Examples, open_examples, open_shard, open_split
from trainer.runs.run_folder import Results

if TYPE_CHECKING:
    from common.storage.paths import AnyPath


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """An opened dataset folder. Shards in a bucket are read through the local cache."""

    folder: "AnyPath"
    manifest: Manifest
    cache_dir: Path
    cache_limit_bytes: float

    @property
    def schema(self) -> Schema:
        return self.manifest.schema

    def examples(self, split: str, max_examples: int | None = None) -> Examples:
        """A split, or its first examples, its shards checked by SHA-256. Raises `InputError` if one does not match."""
        self._check_split(split)
        local = cache.stage(self.folder, self.manifest, (split,), self.cache_dir, self.cache_limit_bytes)
        return open_split(local, self.manifest, split, max_examples)

    def streamed_examples(self, split: str, max_examples: int | None = None) -> Examples:
        """Like `examples`, but shards in a bucket are fetched on demand."""
        if isinstance(self.folder, Path):
            return self.examples(split, max_examples)
        window = MovingWindow(
            *(self.folder, self.manifest, split, self.cache_dir, self.cache_limit_bytes),
            lambda path, shard: open_shard(path, shard, self.schema),
        )
        return open_examples(window, self.manifest, split, max_examples)

    def origins(self, split: str) -> list[dict[str, str]]:
        """Where the examples of a split come from, in their order; empty if the dataset does not say."""
        path = self.folder / f"examples-{split}.jsonl.gz"
        return [json.loads(line) for line in gzip.decompress(read(path)).splitlines()] if path.is_file() else []

    def warn_of_another_conversion(self, version: int) -> None:
        """Logs a warning if the dataset was made of pictures, by another version of the conversion than a model's."""
        converted_by = self.manifest.request.conversion
        if converted_by not in (None, version):
            message = "%s: its pictures were converted by version %d, the model converts by %d; preprocess them again"
            _log.warning(message, self.folder, converted_by, version)

    def _check_split(self, split: str) -> None:
        if split not in self.manifest.splits:
            raise InputError(f"--split {split}: {self.folder} has only {', '.join(self.manifest.splits)}")


def test_examples_of(results: Results) -> Examples:
    """The test examples that a run was evaluated on. Raises `InputError` if its dataset was moved or has changed."""
    examples = dataset_of(results).examples("test", configs.max_examples(results.config))
    return examples.without(results.left_out("test"))


def test_origins_of(results: Results, examples: Examples) -> list[dict[str, str]]:
    """`Dataset.origins` of the test examples that a run was evaluated on."""
    origins = dataset_of(results).origins("test")
    return [origins[number] for number in examples.numbers] if origins else []


def dataset_of(results: Results) -> Dataset:
    """The dataset that a run was trained on. Raises `InputError` if it was moved or has changed."""
    config = results.config.data
    dataset = open(config.folder, config.cache_dir, config.cache_limit_gb)
    if dataset.manifest.data_fingerprint != results.run_info["data_fingerprint"]:
        raise InputError(f"{dataset.folder}: holds other data than the run was trained on")
    return dataset


def open(location: str, cache_dir: str, cache_limit_gb: float) -> Dataset:
    """Opens a dataset folder. Raises `InputError` if there is none."""
    folder = to_path(location)
    return Dataset(folder, manifests.read(folder), Path(cache_dir), 1e9 * cache_limit_gb)
