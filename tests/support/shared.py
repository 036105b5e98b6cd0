"""Folders that are slow to make, made once for all workers of a test session."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


def build_once(folder: Path, build: Callable[[Path], object]) -> Path:
    """Fills the folder with `build`, unless that is done, and returns it. Other workers wait meanwhile.

    After a failed or killed `build`, the next caller removes the remains and builds again.
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
