"""The uploader of a run folder in a bucket: the run is written locally, and a thread uploads it as it grows.

One rule: compare-and-swap on the state file; who loses stops. Of two jobs with the same run folder the one started last
wins, since the other may be on a machine that was given up. A job first takes the turn in `run.json`, resumes from what
the bucket holds, and writes only while the turn is its own. Each object is replaced only if it still has the generation
that this job read or wrote (a number that changes with each write:
https://cloud.google.com/storage/docs/request-preconditions). So the folder is never a mixture of two jobs.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from google.api_core import exceptions

from common import storage
from common.errors import FailedError, TemporaryError
from common.storage import crc32c, gcs, make_folder
from trainer.runs import run_folder

if TYPE_CHECKING:
    from cloudpathlib import GSPath
    from google.cloud.storage import Blob

_SECONDS_BETWEEN = 2.0
_LONGEST_LAG_SECONDS = 600.0
_SECONDS_AFTER_A_FAILURE = 7.0
_UNFINISHED = (".", "incomplete-")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Object:
    """An object in the bucket, as this job last read or wrote it."""

    generation: int
    crc32c: str
    size_bytes: int


class Uploader:
    """Uploads a local folder to a bucket, one thread at a time."""

    def __init__(self, local: Path, remote: "GSPath", board: "GSPath | None" = None) -> None:
        """`board` is a second folder for TensorBoard's event files, such as Vertex AI watches."""
        self.local, self._remote, self._board = local, remote, board
        self._objects: dict[str, _Object] = {}
        self._uploaded: dict[str, tuple[int, int]] = {}
        """Modification time and size of each file when it was uploaded, by name."""
        self._turn: str | None = None
        """The turn that this job has taken in `run.json`."""
        self._whole_at, self._longest_lag = time.monotonic(), 0.0
        """When the bucket last held the whole folder; the longest time that it was behind, in seconds."""
        self._failure: Exception | None = None
        self._lock = threading.Lock()
        self._wake, self._is_over = threading.Event(), threading.Event()

    def pull(self) -> None:
        """Makes the local folder equal to the bucket's, so that this job resumes what another machine has done."""
        make_folder(self.local)
        self._objects = self._list()
        for path in self._local_files().values():
            name = self._name_of(path)
            if name not in self._objects or crc32c(path.read_bytes()) != self._objects[name].crc32c:
                path.unlink()
        for name in self._objects:
            path = self.local / name
            if path.exists():
                self._uploaded[name] = _stamp(path)
            else:
                make_folder(path.parent)
                with suppress(FileNotFoundError):  # the chief has replaced it already
                    storage.download(self._remote / name, path)
                    self._uploaded[name] = _stamp(path)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Uploads changes in the background while the block runs, and the rest at its end.

        Raises `FailedError` at the end if a file is missing in the bucket, and `TemporaryError` if another job has
        taken over the folder.
        """
        self._turn = run_folder.take_turn(self._remote)
        self.pull()  # again, for what another job may have written before it lost its turn
        self._whole_at = time.monotonic()
        threading.Thread(target=self._run, name="uploader", daemon=True).start()
        try:
            yield
        except BaseException:
            self._is_over.set()
            self._flush_best_effort()
            raise
        self._is_over.set()
        self._wake.set()
        self.push()
        self.verify()
        _log.info(
            "%s holds the whole run; the upload was never more than %.0f s behind", self._remote, self._longest_lag
        )

    def push(self) -> None:
        """Uploads changed files, and deletes the objects of removed ones. Raises the error of a failed upload."""
        with self._lock:
            if self._failure:
                raise self._failure
            began, files = time.monotonic(), self._local_files()
            for name in sorted(files, key=_order):
                self._upload(name, files[name])
            for name in set(self._objects) - set(files):
                self._delete(name)
            self._longest_lag = max(self._longest_lag, self._lag())
            self._whole_at = began

    def throttle(self) -> None:
        """Waits, if the bucket is too far behind, until it has caught up. Raises as `push` does."""
        if self._failure:
            raise self._failure
        if self._lag() > _LONGEST_LAG_SECONDS:
            _log.warning("%s is %.0f s behind; waiting for it", self._remote, self._lag())
            self.push()
        self._wake.set()

    def _lag(self) -> float:
        return time.monotonic() - self._whole_at

    def verify(self) -> None:
        """Raises `FailedError` with the names of all files that are not in the bucket, by size and CRC32C."""
        objects = self._list()
        missing = []
        for name, path in self._local_files().items():
            content = path.read_bytes()
            there = objects.get(name)
            if there is None or (there.size_bytes, there.crc32c) != (len(content), crc32c(content)):
                missing.append(name)
        if missing:
            raise FailedError(f"{self._remote}: missing or incomplete: {', '.join(sorted(missing))}; start again")

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                self.push()
            except Exception as error:
                user_error = storage.to_user_error(error)
                if not isinstance(user_error, TemporaryError):  # a retry would not help
                    self._failure = error
                    return
                _log.warning("%s is %.0f s behind: %s", self._remote, self._lag(), user_error)
            self._wake.wait(_SECONDS_BETWEEN)
            self._wake.clear()

    def _flush_best_effort(self) -> None:
        """Uploads what it can within seconds: after a failure, or after SIGTERM, which leaves little time."""
        problem = "the upload takes too long"

        def push() -> None:
            nonlocal problem
            try:
                self.push()
                problem = ""
            except Exception as error:
                problem = str(storage.to_user_error(error) or error)

        last = threading.Thread(target=push, daemon=True)
        last.start()
        last.join(_SECONDS_AFTER_A_FAILURE)
        if problem:
            _log.warning("%s misses the last changes (%s)", self._remote, problem)

    def _local_files(self) -> dict[str, Path]:
        files = (path for path in self.local.rglob("*") if path.is_file())
        named = {self._name_of(path): path for path in files}
        return {name: path for name, path in named.items() if not _is_unfinished(name)}

    def _name_of(self, path: Path) -> str:
        return path.relative_to(self.local).as_posix()

    def _list(self) -> dict[str, _Object]:
        blobs = storage.objects_below(self._remote)
        return {name: _describe(blob) for name, blob in blobs.items() if not _is_unfinished(name)}

    def _upload(self, name: str, path: Path) -> None:
        try:
            stamp = _stamp(path)
            if self._uploaded.get(name) == stamp:
                return
            content = path.read_bytes()
        except FileNotFoundError:  # a checkpoint that newer ones have replaced
            return
        if (known := self._objects.get(name)) is None or known.crc32c != crc32c(content):
            self._objects[name] = self._write(name, content, known.generation if known else 0)
        self._uploaded[name] = stamp

    def _write(self, name: str, content: bytes, generation: int) -> _Object:
        self._check_turn()
        blob = gcs.compare_and_swap(self._remote / name, content, generation)
        if blob is None:
            raise self._other_job(name)
        if self._board and name.startswith(f"{run_folder.LOGS}/"):
            gcs.write(self._board / name.removeprefix(f"{run_folder.LOGS}/"), content)
        return _describe(blob)

    def _delete(self, name: str) -> None:
        self._check_turn()
        try:
            gcs.delete(gcs.blob(self._remote / name), self._objects[name].generation)
        except exceptions.PreconditionFailed:
            raise self._other_job(name) from None
        self._objects.pop(name)
        self._uploaded.pop(name, None)

    def _check_turn(self) -> None:
        if run_folder.whose_turn(self._remote) != self._turn:
            raise self._other_job(run_folder.RUN)

    def _other_job(self, name: str) -> TemporaryError:
        return TemporaryError(f"{self._remote / name}: another job has taken over this run folder; this one is stopped")


def _is_unfinished(name: str) -> bool:
    return any(part.startswith(_UNFINISHED) for part in PurePosixPath(name).parts)


def _order(name: str) -> tuple[int, str]:
    """The order of uploads: first what makes the folder a run folder, then checkpoints; last what marks it finished."""
    of_start = (run_folder.CONFIG, run_folder.ANCESTRY)
    first = (name in of_start, name.startswith(run_folder.CHECKPOINTS), name != run_folder.RUN, True)
    return first.index(True), name


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def _describe(blob: "Blob") -> _Object:
    return _Object(int(blob.generation), blob.crc32c, int(blob.size))
