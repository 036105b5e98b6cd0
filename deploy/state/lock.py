"""One retraining of a job at a time.

On a disk, a lock of the operating system's, which ends with the process. In a bucket there are none: there it is an
object that its holder writes again every few seconds, each time over the one that it wrote before. Who finds one waits:
if it changes, somebody is at work; if for a minute it does not, its holder is gone, and it is taken over. No clocks are
compared. A holder that was cut off for so long finds that it has lost the lock, and stops.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from common import storage
from common.errors import BusyError, TemporaryError

if TYPE_CHECKING:
    from cloudpathlib import GSPath

    from common.storage.paths import AnyPath

_NAME = "lock.json"
_BEAT_SECONDS = 10.0
_EXPIRES_SECONDS = 60.0
_POLL_SECONDS = 1.0

_log = logging.getLogger(__name__)


@contextmanager
def held(folder: "AnyPath") -> Iterator[Callable[[], None]]:
    """Keeps others from retraining in `folder` meanwhile. Raises `BusyError` if somebody does already.

    Gives a function to be called now and then, which raises `TemporaryError` if the lock was lost.
    """
    if isinstance(folder, Path):
        with storage.lock(folder):
            yield lambda: None
        return
    lease = _Lease(folder / _NAME)
    lease.acquire()
    beats = threading.Thread(target=lease.keep, name="lock", daemon=True)
    beats.start()
    try:
        yield lease.check
    finally:
        lease.is_over.set()
        beats.join()
        lease.release()


def is_held(folder: "AnyPath") -> bool:
    """Whether somebody holds the lock; in a bucket, by the age of the object."""
    if isinstance(folder, Path):
        return storage.is_locked(folder)
    from common.storage import gcs

    found = gcs.find(folder / _NAME)
    return found is not None and (datetime.now(UTC) - found.updated).total_seconds() < _EXPIRES_SECONDS


class _Lease:
    def __init__(self, path: "GSPath") -> None:
        from common.storage import gcs

        self._client, self._path = gcs, path
        self._holder = {"holder": storage.this_process(), "id": uuid4().hex}
        self._generation, self._beats, self._lost = 0, 0, ""
        self.is_over = threading.Event()

    def acquire(self) -> None:
        told = False
        while True:
            found = self._client.find(self._path)
            generation = int(found.generation) if found else 0
            deadline = time.monotonic() + _EXPIRES_SECONDS
            while found and int(found.generation) == generation and time.monotonic() < deadline:
                if not told:
                    _log.info("%s: is there; waiting to see whether its holder is at work", self._path)
                    told = True
                time.sleep(_POLL_SECONDS)
                found = self._client.find(self._path)
            if found and int(found.generation) != generation:
                raise BusyError(f"{self._path}: {self._holder_found()} is at work; wait for that one, or stop it")
            if self._write(0 if found is None else generation):
                return

    def _holder_found(self) -> str:
        try:
            return json.loads(storage.read_versioned(self._path).content)["holder"]
        except (TypeError, ValueError, KeyError):  # it is gone since, or of an earlier version
            return "another retraining"

    def keep(self) -> None:
        """Writes the object again and again, until it is over."""
        while not self.is_over.wait(_BEAT_SECONDS):
            try:
                if not self._write(self._generation):
                    self._lost = "another retraining has taken it over"
                    return
            except Exception as error:  # told by `check`, in the thread that does the work
                self._lost = str(storage.to_user_error(error) or error)
                return

    def check(self) -> None:
        if self._lost:
            raise TemporaryError(f"{self._path}: the lock was lost ({self._lost}); this retraining is stopped")

    def release(self) -> None:
        from google.api_core.exceptions import PreconditionFailed

        if not self._lost:
            with suppress(PreconditionFailed):  # taken over since the last beat: it is another's
                self._client.delete(self._client.blob(self._path), self._generation)

    def _write(self, generation: int) -> bool:
        self._beats += 1
        content = json.dumps(self._holder | {"beats": self._beats}).encode()
        written = self._client.compare_and_swap(self._path, content, generation)
        if written is None:
            return False
        self._generation = int(written.generation)
        return True
