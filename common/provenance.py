"""The provenance of a result: this project's commit and the versions of the tools that made it."""

import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_PROJECT_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Commit:
    """A commit of this project; `id` is `unknown` if neither git nor the build recorded it."""

    id: str
    dirty: bool
    """Whether tracked files differed from the commit."""


def commit() -> Commit:
    """The commit of the running code: git's answer in a checkout, otherwise the record of `setup.py` at build time."""
    if (_PROJECT_ROOT / ".git").exists():
        try:
            return Commit(_git("rev-parse", "HEAD"), bool(_git("status", "--porcelain", "--untracked-files=no")))
        except (OSError, subprocess.CalledProcessError):
            pass  # git is not installed, or not allowed to read this checkout
    try:
        from common import _build
    except ImportError:
        return Commit("unknown", False)
    return Commit(_build.COMMIT, _build.DIRTY)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_PROJECT_ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def tool_versions(*distributions: str) -> dict[str, str]:
    """The versions of Python and of the named distributions, as far as they are installed."""
    versions = {"python": platform.python_version()}
    for name in distributions:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
