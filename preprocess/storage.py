"""Where files lie: a local folder or a `gs://` bucket, behind one kind of path object.

Everything that takes a path from a user turns it into a path object here, and nowhere else is a bucket's client made.
`cloudpathlib` gives bucket paths the interface of `pathlib.Path`; its client honours `STORAGE_EMULATOR_HOST`.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from preprocess.errors import InputError

if TYPE_CHECKING:
    from cloudpathlib import GSPath

    AnyPath = Path | GSPath

_HASH_CHUNK_BYTES = 1 << 20


def to_path(location: "str | os.PathLike[str]") -> "AnyPath":
    """The path object for a local path or `gs://bucket/prefix`. Raises `InputError` for any other scheme."""
    text = os.fspath(location)
    if text.startswith("gs://"):
        # Imported here, because it takes a second and a local run has no need of it.
        from cloudpathlib import GSPath

        return GSPath(text)
    if "://" in text:
        raise InputError(f"{text}: cannot read or write there; give a local path or gs://bucket/prefix")
    return Path(text).expanduser()


def refusal(error: Exception) -> str | None:
    """What to tell the user if `error` is a bucket's refusal (no such bucket, no permission, …), else None."""
    # If nothing has imported the client, the error cannot be one of its.
    exceptions = sys.modules.get("google.api_core.exceptions")
    if exceptions and isinstance(error, exceptions.ClientError):
        return f"the bucket refused: {error}; check its name and your permissions there"
    return None


def write_atomically(path: "AnyPath", content: bytes) -> None:
    """Writes `content` so that a reader, or a run started after a crash, sees the whole of it or nothing."""
    if not isinstance(path, Path):
        path.write_bytes(content)  # an object appears in a bucket when its upload is complete
        return
    make_folder(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp leaves files that only their owner can read
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def make_folder(path: "AnyPath") -> None:
    """Makes a local folder with its parents; a bucket has no folders to make."""
    if isinstance(path, Path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: cannot make this folder ({error.strerror})") from None


@contextmanager
def lock(folder: "AnyPath") -> Iterator[None]:
    """Keeps others from writing `folder` meanwhile; raises `InputError` if somebody does already.

    The operating system frees the lock when the process ends, however it ends. In a bucket there is none.
    """
    if not isinstance(folder, Path):
        yield
        return
    make_folder(folder.parent)
    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another run is writing it; wait for that one, or stop it") from None
        yield


def move(source: "AnyPath", target: "AnyPath") -> None:
    """Moves a file over `target`. Done again after an interruption, it finds the file moved and does nothing."""
    if source.exists() or not target.exists():
        source.replace(target)


def remove(path: "AnyPath") -> None:
    """Removes a file, or a folder with all that it holds; what is not there is no error."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
    elif isinstance(path, Path):
        shutil.rmtree(path)
    else:
        path.rmtree()


def sha256_of(path: "AnyPath") -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
