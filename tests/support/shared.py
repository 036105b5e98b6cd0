"""Folders that take long to make, and are made once for all workers of a test session."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


def build_once(folder: Path, build: Callable[[Path], object]) -> Path:
    """The folder, filled by `build` unless it is already; whoever comes meanwhile waits.

    What a failed or killed `build` has left is removed, and the next who comes builds again.
    """
    built = folder.with_name(f"{folder.name}.built")
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            built.touch()
    return folder
