"""How far a retraining is: `job-status.json` in the job's folder."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from common import config_io, storage
from common.errors import InputError, StoppedError

if TYPE_CHECKING:
    from common.storage.paths import AnyPath

FILE_NAME = "job-status.json"
STEPS = ("preprocess", "train", "evaluate", "gate", "promote")


@dataclass(frozen=True)
class Step:
    """One step of a retraining."""

    state: Literal["waiting", "running", "done", "found_done", "skipped", "failed"] = "waiting"
    """found_done: nothing was left to do. skipped: what came before has made it needless."""
    started: str | None = None
    seconds: float | None = None
    result: str | None = None
    """What it made or found, in words."""


@dataclass(frozen=True)
class Decided:
    """What a retraining that came to a decision was of; `--if-changed` compares it."""

    data_fingerprint: str
    recipe_fingerprint: str
    at: str


@dataclass(frozen=True)
class Process:
    """The process at work."""

    host: str
    pid: int
    started: float
    """When, in seconds since 1970: another process may get the same number later."""


@dataclass(frozen=True)
class Status:
    """A retraining."""

    job: str
    state: Literal["running", "completed", "failed", "stopped"]
    started: str
    process: Process
    commit: str
    updated: str = ""
    ended: str | None = None
    outcome: Literal["promoted", "refused", "kept", "unchanged"] | None = None
    """Of a completed one. kept: the very model that is in use came out. unchanged: `--if-changed` found nothing new."""
    reason: str | None = None
    """In words: of the outcome, or of the failure."""
    run: str | None = None
    """The run folder."""
    version: int | None = None
    """That is in use at the end."""
    steps: dict[str, Step] = field(default_factory=lambda: {name: Step() for name in STEPS})
    decided: Decided | None = None
    """The last retraining that came to a decision; this one, or an earlier one."""


def read(folder: "AnyPath") -> Status | None:
    """The last retraining of the job with this folder; None where there was none."""
    path = folder / FILE_NAME
    content = storage.read_versioned(path).content
    if content is None:
        return None
    try:
        plain = json.loads(content)
    except ValueError:
        raise InputError(f"{path}: is damaged; remove it") from None
    return config_io.from_plain(Status, plain, str(path))


class Recorder:
    """Keeps `job-status.json` as things are."""

    def __init__(self, folder: "AnyPath", status: Status, check_lock: Callable[[], None]) -> None:
        self._folder, self._check_lock = folder, check_lock
        self.status = status

    def update(self, **changes: object) -> None:
        """Writes what has changed of the status. Raises `TemporaryError` if the lock was lost: it is another's then."""
        self._check_lock()
        self.status = replace(self.status, updated=now(), **changes)
        content = json.dumps(config_io.to_plain(self.status), indent=2, ensure_ascii=False) + "\n"
        storage.write_atomically(self._folder / FILE_NAME, content.encode())

    def set_step(self, name: str, step: Step) -> None:
        self.update(steps=self.status.steps | {name: step})

    @contextmanager
    def step(self, name: str) -> Iterator["Result"]:
        """A step that is done while the block runs; its result is filled in there."""
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
            told = next(iter(str(storage.to_user_error(error) or error).splitlines()), "")
            reason = "stopped from outside; started again, it goes on" if is_stop else told or type(error).__name__
            self.update(state="stopped" if is_stop else "failed", ended=now(), reason=reason)
            raise
        steps = {
            name: replace(step, state="skipped") if step.state == "waiting" else step
            for name, step in self.status.steps.items()
        }
        self.update(state="completed", ended=now(), steps=steps)


@dataclass
class Result:
    """Of a step."""

    text: str = ""
    was_done: bool = False


Steps = Callable[[str], AbstractContextManager[Result]]
"""Opens the step of that name."""


@contextmanager
def unrecorded(name: str) -> Iterator[Result]:
    """A step that is recorded nowhere."""
    yield Result()


def begin(folder: "AnyPath", job: str, commit: str, check_lock: Callable[[], None]) -> Recorder:
    """Records that a retraining begins, by this process."""
    import psutil

    earlier = read(folder)
    process = Process(socket.gethostname(), os.getpid(), psutil.Process().create_time())
    status = Status(job, "running", now(), process, commit, decided=earlier.decided if earlier else None)
    recorder = Recorder(folder, status, check_lock)
    recorder.update()
    return recorder


def now() -> str:
    """The time as it is recorded."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _since(began: float) -> float:
    return round(time.monotonic() - began, 1)
