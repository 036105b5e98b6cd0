"""The status of a retraining, `job-status.json` in the job's folder, which also lets only one retraining run at a time.

One rule: compare-and-swap on the state file; who loses stops. A retraining writes the file at each change, and only
over its own last version. On a disk, the operating system's lock keeps others out; it ends with the process. A bucket
has no locks, so there the retraining rewrites the file every ten seconds. A start that finds a retraining `running`
waits for a minute: if the file changes, that retraining is at work; if not, its process is gone, and the start takes
the file over. No clocks are compared. A process that was cut off for so long loses its next compare-and-swap.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from common import config_io, storage
from common.errors import BusyError, InputError, StoppedError, TemporaryError
from common.storage import Versioned

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

FILE_NAME = "job-status.json"
STEPS = ("preprocess", "train", "evaluate", "gate", "promote")

_BEAT_SECONDS = 10.0
_EXPIRES_SECONDS = 60.0
_POLL_SECONDS = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """One step of a retraining."""

    state: Literal["waiting", "running", "done", "found_done", "skipped", "failed"] = "waiting"
    """found_done: an earlier result was reused. skipped: the outcome of an earlier step made it unnecessary."""
    started: str | None = None
    seconds: float | None = None
    result: str | None = None
    """Its result, in words."""


@dataclass(frozen=True)
class Decided:
    """The inputs of a retraining that reached a decision; `--if-changed` compares them."""

    data_fingerprint: str
    recipe_fingerprint: str
    at: str


@dataclass(frozen=True)
class Process:
    """The process that carries out the retraining."""

    host: str
    pid: int
    started: float
    """Its start, in seconds since 1970: a later process may get the same pid."""


@dataclass(frozen=True)
class Status:
    """The status of a retraining, or of the promotion of a finished run."""

    job: str
    state: Literal["running", "completed", "failed", "stopped"]
    started: str
    process: Process
    commit: str
    id: str = ""
    """Unique to this retraining, which recognises its own writes by it."""
    updated: str = ""
    ended: str | None = None
    outcome: Literal["promoted", "refused", "kept", "unchanged"] | None = None
    """Of a completed retraining. kept: it made the model in use again. unchanged: `--if-changed` found nothing new."""
    reason: str | None = None
    """The reason of the outcome or of the failure, in words."""
    run: str | None = None
    """The run folder."""
    version: int | None = None
    """The version in use at the end."""
    steps: dict[str, Step] = field(default_factory=lambda: {name: Step() for name in STEPS})
    decided: Decided | None = None
    """The last retraining that reached a decision: this or an earlier one."""


def read(folder: "AnyPath") -> Status | None:
    """The status of the job's last retraining; None if there was none."""
    path = folder / FILE_NAME
    return _parse(path, storage.read_versioned(path))


def _parse(path: "AnyPath", file: Versioned) -> Status | None:
    if file.content is None:
        return None
    try:
        return config_io.from_plain(Status, json.loads(file.content), str(path))
    except (ValueError, InputError):
        raise InputError(f"{path}: is damaged; remove it") from None


def is_at_work(folder: "AnyPath") -> bool:
    """Whether a retraining is at work; in a bucket, by the age of the file."""
    status = read(folder)
    if status is None or status.state != "running":
        return False
    if isinstance(folder, Path):
        return storage.is_locked(folder)
    from common.storage import gcs

    blob = gcs.find(folder / FILE_NAME)
    return blob is not None and (datetime.now(UTC) - blob.updated).total_seconds() < _EXPIRES_SECONDS


@contextmanager
def recording(folder: "AnyPath", job: str, commit: str) -> Iterator["Recorder"]:
    """Records the work of this process on a job, and how the block ends. Raises `BusyError` if another is at work."""
    with storage.lock(folder):  # in a bucket there is none
        recorder = _begin(folder / FILE_NAME, job, commit)
        with recorder.ending(), recorder.beating():
            yield recorder


def _begin(path: "AnyPath", job: str, commit: str) -> "Recorder":
    import psutil

    process = Process(socket.gethostname(), os.getpid(), psutil.Process().create_time())
    status = Status(job, "running", now(), process, commit, id=uuid4().hex, updated=now())
    while True:
        seen = storage.read_versioned(path)
        earlier = _parse(path, seen)
        if earlier and earlier.state == "running" and not isinstance(path, Path):
            _wait_until_gone(path, seen)
        status = replace(status, started=now(), decided=earlier.decided if earlier else None)
        if written := storage.compare_and_swap(path, _to_json(status), seen):
            return Recorder(path, status, written)


def _wait_until_gone(path: "AnyPath", seen: Versioned) -> None:
    """Returns when the writer of `seen` has ended or counts as gone. Raises `BusyError` if a retraining is at work."""
    _log.info("%s: a retraining is marked as running; waiting to see whether it is at work", path)
    deadline = time.monotonic() + _EXPIRES_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        if (file := storage.read_versioned(path)) != seen:
            status = _parse(path, file)
            if status and status.state == "running":
                holder = f"process {status.process.pid} on {status.process.host}"
                raise BusyError(f"{path}: {holder} is at work; wait for that one, or stop it")
            return


class Recorder:
    """The writer of `job-status.json`. Two threads use it: the one that does the work, and the heartbeat."""

    def __init__(self, path: "AnyPath", status: Status, written: Versioned) -> None:
        self._path, self._written = path, written
        self._lock = threading.Lock()
        self.status = status

    def update(self, **changes: object) -> None:
        """Changes the status and writes it. Raises `TemporaryError` if another retraining has taken over."""
        with self._lock:
            self.status = replace(self.status, updated=now(), **changes)
            content = _to_json(self.status)
            while not (written := storage.compare_and_swap(self._path, content, self._written)):
                file = storage.read_versioned(self._path)
                status = _parse(self._path, file)
                if status is None or status.id != self.status.id:
                    raise TemporaryError(f"{self._path}: another retraining has taken over; this one is stopped")
                self._written = file  # written, but a signal interrupted this before it was noted
            self._written = written

    def set_step(self, name: str, step: Step) -> None:
        self.update(steps=self.status.steps | {name: step})

    @contextmanager
    def step(self, name: str) -> Iterator["Result"]:
        """Records the block as a step; the block fills in the result."""
        started, began, result = now(), time.monotonic(), Result()
        self.set_step(name, Step("running", started))
        try:
            yield result
        except BaseException:
            self.set_step(name, Step("failed", started, _since(began)))
            raise
        self.set_step(name, Step("found_done" if result.was_done else "done", started, _since(began), result.text))

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Records how the block ends."""
        try:
            yield
        except BaseException as error:
            is_stop = isinstance(error, StoppedError | KeyboardInterrupt)
            message = next(iter(str(storage.to_user_error(error) or error).splitlines()), "")
            reason = "stopped from outside; the same command resumes it" if is_stop else message or type(error).__name__
            self.update(state="stopped" if is_stop else "failed", ended=now(), reason=reason)
            raise
        steps = {
            name: replace(step, state="skipped") if step.state == "waiting" else step
            for name, step in self.status.steps.items()
        }
        self.update(state="completed", ended=now(), steps=steps)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """In a bucket, rewrites the file every few seconds while the block runs."""
        if isinstance(self._path, Path):
            yield
            return
        is_over = threading.Event()
        beats = threading.Thread(target=self._beat, args=(is_over,), name="heartbeat", daemon=True)
        beats.start()
        try:
            yield
        finally:
            is_over.set()
            beats.join()

    def _beat(self, is_over: threading.Event) -> None:
        while not is_over.wait(_BEAT_SECONDS):
            try:
                self.update()
            except Exception as error:  # if it does not pass, the thread that does the work meets it when it writes
                _log.warning("%s", storage.to_user_error(error) or error)
                if isinstance(error, TemporaryError):
                    return


@dataclass
class Result:
    """The result of a step."""

    text: str = ""
    was_done: bool = False


def now() -> str:
    """The time as it is recorded."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _to_json(status: Status) -> bytes:
    return (json.dumps(config_io.to_plain(status), indent=2, ensure_ascii=False) + "\n").encode()


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)
