"""One writer at a time: the lock of a local folder, and replacing a file only if nobody else has."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import BusyError
from common.storage.paths import gcs_module, make_folder, write_atomically

if TYPE_CHECKING:
    from common.storage.paths import AnyPath


@contextmanager
def lock(folder: "AnyPath") -> Iterator[None]:
    """Locks `folder` against other writers; raises `BusyError` if another process holds the lock.

    The operating system frees the lock when the process ends, however it ends. Folders in buckets have no lock.
    """
    if not isinstance(folder, Path):
        yield
        return
    make_folder(folder.parent)
    with _lock_file(folder).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another run"
            raise BusyError(f"{folder}: {holder} is writing it; wait for that one, or stop it") from None
        file.truncate(0)
        file.write(this_process())
        file.flush()
        yield


def this_process() -> str:
    """The name of this process, as lock files and error messages show it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def is_locked(folder: Path) -> bool:
    """Whether a process holds the `lock` of a local folder."""
    path = _lock_file(folder)
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _lock_file(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.lock"


@dataclass(frozen=True)
class Versioned:
    """A file's content and version, for `compare_and_swap`."""

    content: bytes | None
    """None if the file does not exist."""
    generation: int = 0
    """For an object in a bucket, a number that changes with each write; 0 if the object does not exist."""


def read_versioned(path: "AnyPath") -> Versioned:
    """The file's present content and version."""
    if not isinstance(path, Path):
        return Versioned(*gcs_module().read_versioned(path))
    return Versioned(path.read_bytes() if path.exists() else None)


def compare_and_swap(path: "AnyPath", content: bytes, expected: Versioned) -> Versioned | None:
    """Replaces the file atomically if it has not changed since `expected` was read; returns what is there then.

    None if it had changed: of several concurrent writers, on any machines, exactly one wins.
    """
    if not isinstance(path, Path):
        blob = gcs_module().compare_and_swap(path, content, expected.generation)
        return Versioned(content, int(blob.generation)) if blob else None
    make_folder(path.parent)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if read_versioned(path) != expected:
            return None
        write_atomically(path, content)
        return Versioned(content)
    finally:
        os.close(folder)  # which frees the lock
