"""The local cache of datasets in a bucket: TensorFlow and NumPy only ever see local files.

Shards stay in the cache, are checked against the manifest before each use, and are evicted least recently used first.
Examples that are held in memory are shuffled all with each other, so each worker needs all shards before its first
step. Streamed examples are read shard after shard: training begins with the first shards, and the cache never has to
hold more than its limit.
"""

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from common.dataset import manifest as manifests
from common.dataset.manifest import Manifest, Shard
from common.errors import FailedError, InputError
from common.storage import download, make_folder, sha256_of

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

_DATASETS = "datasets"
_AT_ONCE = 8
_ATTEMPTS = 3
_SECONDS_OF_A_DOWNLOAD = 6 * 3600

_log = logging.getLogger(__name__)


def stage(folder: "AnyPath", manifest: Manifest, splits: Iterable[str], cache_dir: Path, limit_bytes: float) -> Path:
    """A local folder with the verified shards of `splits`: `folder` itself, unless it lies in a bucket.

    Raises `InputError` if a shard is missing or does not match the manifest.
    """
    splits = tuple(splits)
    if isinstance(folder, Path):
        manifests.check_shards(folder, manifest, splits)
        return folder
    local = _make_room(manifest, cache_dir, limit_bytes)
    shards = [shard for split in splits for shard in manifest.splits[split].shards]
    size = sum(shard.size_bytes for shard in shards)
    began, fetched = time.monotonic(), 0
    with (
        ThreadPoolExecutor(_AT_ONCE) as pool,
        tqdm(total=size, unit="B", unit_scale=True, desc="staging", leave=False, disable=None) as bar,
    ):
        waiting = {pool.submit(_fetch, folder, local, shard): shard for shard in shards}
        try:
            for done in as_completed(waiting):
                fetched += done.result()
                bar.update(waiting[done].size_bytes)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    seconds = time.monotonic() - began
    summary = f"{len(shards)} shards, {size / 1e6:,.0f} MB, {fetched / 1e6:,.0f} MB of them fetched in {seconds:.1f} s"
    _log.info("staged in %s: %s", local, summary)
    return local


class MovingWindow(Sequence[np.ndarray]):
    """The shards of a split in a bucket, as records uint8 [n, record bytes], fetched on demand.

    `expect` fetches shards ahead of use. Above `limit_bytes` the least recently used shards are removed.
    """

    def __init__(
        self,
        folder: "AnyPath",
        manifest: Manifest,
        split: str,
        cache_dir: Path,
        limit_bytes: float,
        open_shard: Callable[[Path, Shard], np.ndarray],
    ) -> None:
        self._folder, self._shards, self._open_shard = folder, manifest.splits[split].shards, open_shard
        self._local, self._limit_bytes = _make_room(manifest, cache_dir, limit_bytes), limit_bytes
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._lock = threading.Lock()
        self._wanted: dict[int, Future[np.ndarray]] = {}
        """By shard, least recently used first. They hold the memory maps, so a file may be deleted while it is read."""

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, number: int) -> np.ndarray:
        return self._want([number])[0].result()

    def expect(self, numbers: Iterable[int]) -> None:
        """Starts to fetch the shards that will be needed next."""
        self._want(numbers)

    def _want(self, numbers: Iterable[int]) -> list[Future[np.ndarray]]:
        with self._lock:
            futures = []
            for number in numbers:
                future = self._wanted.pop(number, None) or self._pool.submit(self._fetch_and_open, number)
                if future.done() and future.exception():
                    future = self._pool.submit(self._fetch_and_open, number)
                self._wanted[number] = future
                futures.append(future)
            size = sum(self._shards[number].size_bytes for number in self._wanted)
            for number in [
                number for number, future in self._wanted.items() if future.done() and future not in futures
            ]:
                if size <= self._limit_bytes:
                    break
                del self._wanted[number]
                (self._local / self._shards[number].name).unlink(missing_ok=True)
                size -= self._shards[number].size_bytes
        return futures

    def _fetch_and_open(self, number: int) -> np.ndarray:
        shard = self._shards[number]
        _fetch(self._folder, self._local, shard)
        return self._open_shard(self._local / shard.name, shard)


def _fetch(folder: "AnyPath", local: Path, shard: Shard) -> int:
    """Ensures that the cache holds the shard, verified; returns the number of bytes fetched for it."""
    path = local / shard.name
    if path.is_file() and _is_right(path, shard):
        return 0
    with tempfile.TemporaryDirectory(dir=local, prefix=".fetching-") as place:
        for _ in range(_ATTEMPTS):
            fetched = Path(place) / "shard"
            try:
                download(folder / shard.name, fetched)
            except FileNotFoundError:
                raise InputError(f"{folder / shard.name}: the shard is missing; run preprocess again") from None
            if _is_right(fetched, shard):
                fetched.replace(path)
                return shard.size_bytes
    raise InputError(f"{folder / shard.name}: the shard is damaged; run preprocess again to rebuild it")


def _is_right(path: Path, shard: Shard) -> bool:
    return path.stat().st_size == shard.size_bytes and sha256_of(path) == shard.sha256


def _make_room(manifest: Manifest, cache_dir: Path, limit_bytes: float) -> Path:
    """The dataset's folder in the cache. Makes room for it by removing other datasets, least recently used first."""
    datasets = cache_dir.expanduser() / _DATASETS
    local = datasets / manifest.data_fingerprint[:32]
    make_folder(local)
    local.touch()
    for abandoned in local.glob(".fetching-*"):  # by a process that was killed
        if time.time() - abandoned.stat().st_mtime > _SECONDS_OF_A_DOWNLOAD:
            shutil.rmtree(abandoned, ignore_errors=True)
    others = sorted((path for path in datasets.iterdir() if path != local), key=lambda path: path.stat().st_mtime)
    needed = sum(shard.size_bytes for split in manifest.splits.values() for shard in split.shards)
    size = min(needed, limit_bytes) + sum(map(_size_of, others))
    for other in others:
        if size <= limit_bytes:
            break
        size -= _size_of(other)
        shutil.rmtree(other, ignore_errors=True)
        _log.info("removed from the cache to make room: %s", other)
    if (free := shutil.disk_usage(local).free) < min(needed, limit_bytes) - _size_of(local):
        raise FailedError(f"{local}: {free / 1e9:.1f} GB free, too little for the dataset; give another --cache-dir")
    return local


def _size_of(folder: Path) -> int:
    size = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process may be fetching, or making room
            size += path.stat().st_size
    return size
