"""Downloads NIST's archive of EMNIST's IDX files, `gzip.zip`, once: `--source nist`."""

import logging
import random
import time
from dataclasses import replace
from pathlib import Path

import requests
from tqdm import tqdm

from common.errors import FailedError, InputError, without_queries
from common.storage import sha256_of
from preprocess.config import NIST
from preprocess.sources import arrays
from preprocess.sources.base import Source, Wanted

URL = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
SIZE_BYTES = 561_753_746
SHA256 = "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"

_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 6
_TIMEOUT_SECONDS = 30
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}

_log = logging.getLogger(__name__)


def holds(wanted: Wanted) -> bool:
    return wanted.location == NIST


def inspect(wanted: Wanted) -> Source:
    """Downloads the archive, unless it is cached, and inspects its IDX files."""
    dataset, config = wanted.dataset, wanted.config
    if not dataset or not dataset.official_examples or not dataset.transposed:
        raise InputError(f"--source {NIST}: does not hold --dataset {config.dataset}, only the six of EMNIST")
    location = fetch(Path(config.cache_dir).expanduser(), config.url or URL)
    return arrays.inspect(replace(wanted, location=str(location)))


class _PassingFaultError(Exception):
    """A transient fault of the network or the server."""


_PASSING = (
    _PassingFaultError,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


def fetch(
    cache_dir: Path, url: str = URL, size_bytes: int = SIZE_BYTES, sha256: str = SHA256, backoff_seconds: float = 1.0
) -> Path:
    """Downloads the archive to `cache_dir`, unless it exists, and returns its path. Resumes an interrupted download.

    The SHA-256 is checked on every call, and before the file gets its name. Raises `InputError` if the server has no
    such file, or sends an HTML page or another file; `FailedError` if the network fails `_ATTEMPTS` times without any
    progress.
    """
    target = cache_dir / "gzip.zip"
    if target.is_file() and sha256_of(target) == sha256:
        return target
    cache_dir.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".zip.part")
    shown, failures = without_queries(url), 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _download(url, part, size_bytes)
            break
        except _PASSING as fault:
            progressed = part.exists() and part.stat().st_size > before
            failures = 1 if progressed else failures + 1
            if failures == _ATTEMPTS:
                message = without_queries(str(fault))
                raise FailedError(
                    f"{shown}: cannot be downloaded ({message}); "
                    "try later, give a mirror by --url, or a copy by --source"
                ) from None
            wait = backoff_seconds * 2 ** (failures - 1) * random.uniform(0.5, 1.5)
            _log.info("%s: %s; retrying in %.1f s", shown, without_queries(str(fault)), wait)
            time.sleep(wait)
    actual = part.stat().st_size, sha256_of(part)
    if actual != (size_bytes, sha256):
        part.unlink()
        raise InputError(f"{shown}: sent another file: {actual}; expected {(size_bytes, sha256)} (bytes, SHA-256)")
    part.replace(target)
    return target


def _download(url: str, part: Path, size_bytes: int) -> None:
    """Downloads the missing rest of `part`."""
    have = part.stat().st_size if part.exists() else 0
    if have >= size_bytes:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
        if response.status_code in _WORTH_ANOTHER_TRY:
            raise _PassingFaultError(f"the server answers {response.status_code}")
        if response.status_code not in (200, 206):
            problem = f"the server answers {response.status_code} {response.reason}"
            raise InputError(f"{without_queries(url)}: {problem}; give a mirror by --url")
        if response.headers.get("Content-Type", "").startswith("text/html"):
            problem = "is an HTML page, not the archive; the address has moved"
            raise InputError(f"{without_queries(url)}: {problem}; give the new one by --url")
        is_rest = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        with (
            part.open("ab" if is_rest else "wb") as file,
            tqdm(total=size_bytes, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
        ):
            bar.update(have if is_rest else 0)
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
    if part.stat().st_size < size_bytes:
        raise _PassingFaultError(f"the connection ended after {part.stat().st_size:,} of {size_bytes:,} bytes")
