"""The client for all buckets: credentials, timeouts, retries, and errors for the user.

`cloudpathlib` gives bucket paths the interface of `pathlib.Path`; each of their operations calls a method of `Client`.
The module is imported only when a path is in a bucket, because the import takes a second.
"""

import mimetypes
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import google.auth
import requests
from cloudpathlib import GSClient, GSPath
from google.api_core import exceptions
from google.auth import exceptions as auth_exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage import Blob
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.adapters import HTTPAdapter

from common import credentials
from common.credentials import FILE_VARIABLE, LOGIN
from common.errors import CommandError, FailedError, InputError, TemporaryError, without_queries
from common.storage.checksums import crc32c

T = TypeVar("T")

_CONNECT_AND_READ_SECONDS = (10, 30)
_SECONDS_OF_RETRIES = 300
_TO_READ, _TO_WRITE = "roles/storage.objectViewer", "roles/storage.objectUser"

_TRANSIENT = (
    exceptions.TooManyRequests,
    exceptions.InternalServerError,
    exceptions.BadGateway,
    exceptions.ServiceUnavailable,
    exceptions.GatewayTimeout,
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    DataCorruption,
)


def path(location: str) -> GSPath:
    """The path object for `gs://bucket/prefix`. Raises `InputError` if the credentials file holds none."""
    return GSPath(location, client=_client(os.environ.get("STORAGE_EMULATOR_HOST")))


@cache
def _client(emulator: str | None) -> "Client":
    """The client, with the credentials that Google's tools find; with none for public buckets and the emulator."""
    account, project = _NoCredentials(), None
    if not emulator:
        try:
            account, project = google.auth.default()
        except auth_exceptions.DefaultCredentialsError:
            if file := os.environ.get(FILE_VARIABLE):  # Google's error may quote the file
                raise InputError(f"{FILE_VARIABLE}={file}: holds no Google credentials; name another file") from None
    # The client requires a project, although objects need none.
    return Client(storage.Client(project or "none", account))


class _NoCredentials(AnonymousCredentials):
    """Anonymous access, enough for public buckets. For other buckets, Google's own class raises a `ValueError`."""

    def refresh(self, request: Any) -> None:
        if credentials.is_on_managed_machine():
            raise TemporaryError("the bucket: this machine has no credentials yet")
        raise InputError(f"the bucket cannot be read or written without credentials; {LOGIN}")


class _TimeoutAdapter(HTTPAdapter):
    """Sets a timeout on every request, whichever library makes it."""

    def send(self, request: requests.PreparedRequest, *arguments: Any, **settings: Any) -> requests.Response:
        return super().send(request, *arguments, **settings | {"timeout": _CONNECT_AND_READ_SECONDS})


class Client(GSClient):
    """cloudpathlib's client with atomic, checksummed transfers and idempotent calls.

    google-cloud-storage retries requests by itself, but not if the bytes arrive damaged, and it does not check the
    bytes of a resumed transfer.
    """

    def __init__(self, storage_client: storage.Client) -> None:
        for scheme in ("http://", "https://"):
            storage_client._http.mount(scheme, _TimeoutAdapter())
        super().__init__(storage_client=storage_client)

    def _download_file(self, cloud_path: GSPath, local_path: str | os.PathLike[str]) -> Path:
        download(cloud_path, Path(local_path))
        return Path(local_path)

    def _upload_file(self, local_path: str | os.PathLike[str], cloud_path: GSPath) -> GSPath:
        upload(Path(local_path), cloud_path)
        return cloud_path

    def _move_file(self, src: GSPath, dst: GSPath, remove_src: bool = True) -> GSPath:
        source = blob(src)
        with _translate_missing(src):
            source.bucket.copy_blob(source, self.client.bucket(dst.bucket), dst.blob, retry=DEFAULT_RETRY)
        if remove_src:
            delete(source)
        return dst

    def _remove(self, cloud_path: GSPath, missing_ok: bool = True) -> None:
        if not missing_ok and not self._exists(cloud_path):
            raise FileNotFoundError(f"{cloud_path}: no such object")
        delete(blob(cloud_path))
        for child in self.client.list_blobs(cloud_path.bucket, prefix=f"{cloud_path.blob.rstrip('/')}/"):
            delete(child)


def blob(path: GSPath) -> Blob:
    """The google-cloud-storage object of `path`, without a request to the bucket."""
    return path.client.client.bucket(path.bucket).blob(path.blob)


def find(path: GSPath) -> Blob | None:
    """The object of `path` with its metadata, or None if it does not exist."""
    return path.client.client.bucket(path.bucket).get_blob(path.blob)


def read(path: GSPath) -> bytes:
    """The content of an object, checked by its CRC32C. Raises `FileNotFoundError`."""
    with _translate_missing(path):
        return with_retries(lambda: blob(path).download_as_bytes(checksum="crc32c", retry=None))


def download(path: GSPath, target: Path) -> None:
    """Copies an object atomically to a file, checked by its CRC32C. Raises `FileNotFoundError`."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        with _translate_missing(path):
            with_retries(lambda: blob(path).download_to_filename(partial, checksum="crc32c", retry=None))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _translate_missing(path: GSPath) -> Iterator[None]:
    try:
        yield
    except exceptions.NotFound:
        raise FileNotFoundError(f"{path}: no such object") from None


def write(path: GSPath, content: bytes, generation: int | None = None) -> Blob:
    """Writes an object, checked by its CRC32C, and returns it.

    With a `generation`, the object must have it (0: must not exist), or `PreconditionFailed` is raised. That error can
    also mean that the write succeeded, but its answer was lost.
    """
    written = blob(path)
    settings = {"if_generation_match": generation, "checksum": "crc32c", "retry": None}
    with_retries(lambda: written.upload_from_string(content, _content_type(path), **settings))
    return written


def compare_and_swap(path: GSPath, content: bytes, generation: int) -> Blob | None:
    """As `write`, but returns None if the object has another generation: another process wrote or removed it."""
    try:
        return write(path, content, generation)
    except exceptions.PreconditionFailed:
        # If the upload succeeded but its answer was lost, the retry is refused.
        current = find(path)
        return current if current is not None and current.crc32c == crc32c(content) else None


def read_versioned(path: GSPath) -> tuple[bytes | None, int]:
    """An object's content and its generation; None and 0 if the object does not exist."""
    while (current := find(path)) is not None:
        generation = int(current.generation)
        with suppress(exceptions.NotFound):  # another process has replaced this generation
            return with_retries(partial(current.download_as_bytes, checksum="crc32c", retry=None)), generation
    return None, 0


def upload(source: Path, path: GSPath) -> None:
    """Copies a file atomically to an object, checked by its CRC32C."""
    settings = {"checksum": "crc32c", "retry": None}
    with_retries(lambda: blob(path).upload_from_filename(source, _content_type(path), **settings))


def _content_type(path: GSPath) -> str:
    """The MIME type of an object, with which browsers display pages and pictures from the bucket."""
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def delete(target: Blob, generation: int | None = None) -> None:
    """Removes an object, or only that `generation` of it; a missing object is no error."""
    with suppress(exceptions.NotFound):  # also the retry of a request whose answer was lost
        target.delete(if_generation_match=generation, retry=DEFAULT_RETRY)


def with_retries(transfer: Callable[[], T]) -> T:
    """Calls `transfer` and returns its result; retries transient errors for up to five minutes.

    Transient errors are a lost connection, a response that stalls or breaks off, 408, 429, 5xx, a wrong checksum, and
    errors that google-auth calls retryable.
    """
    return DEFAULT_RETRY.with_predicate(_is_transient).with_timeout(_SECONDS_OF_RETRIES)(transfer)()


def _is_transient(error: Exception) -> bool:
    if isinstance(error, exceptions.BadRequest):  # a bucket's answer to damaged bytes
        return "doesn't match calculated" in str(error)
    if _is_untrusted(error):
        return False
    is_timeout = getattr(error, "code", None) == requests.codes.request_timeout
    return isinstance(error, _TRANSIENT) or is_timeout or credentials.is_transient(error)


def to_user_error(error: Exception) -> CommandError | None:
    """The error to show to the user if `error` came from a bucket; None if it did not.

    `InputError` if the bucket refused; `TemporaryError` if it could not be reached.
    """
    if isinstance(error, exceptions.RetryError) and error.cause:
        error = error.cause
    if isinstance(error, auth_exceptions.GoogleAuthError):
        return credentials.to_user_error(error, "the bucket")
    if _is_untrusted(error):
        return InputError(f"the bucket: its certificate is not trusted here ({_first_line(error)}); set SSL_CERT_FILE")
    if isinstance(error, exceptions.RetryError) or _is_transient(error):
        return TemporaryError(f"the bucket cannot be reached ({_first_line(error)})")
    if isinstance(error, exceptions.Unauthorized):
        return InputError(f"the bucket: the credentials are not accepted; {LOGIN}")
    if isinstance(error, exceptions.Forbidden):
        role = _TO_READ if error.response.request.method == "GET" else _TO_WRITE
        refusal = f"{_where(error)}: access refused ({_reason(error)})"
        return InputError(f"{refusal}; grant this account the role {role} on the bucket")
    if isinstance(error, exceptions.NotFound):
        return InputError(f"{_where(error)}: does not exist; check the name of the bucket")
    if isinstance(error, exceptions.ClientError):
        return InputError(f"{_where(error)}: refused ({_reason(error)})")
    if isinstance(error, exceptions.ServerError | requests.RequestException):
        return FailedError(f"the bucket cannot be reached ({_first_line(error)})")
    return None


def _is_untrusted(error: Exception) -> bool:
    return isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)


def _where(error: Exception) -> str:
    response = getattr(error, "response", None)
    name = response is not None and re.search(r"/b/([^/?]+)", response.request.url)
    return f"gs://{name[1]}" if name else "the bucket"


def _reason(error: exceptions.GoogleAPICallError) -> str:
    """The bucket's own message, which names the account and the permission."""
    try:
        return error.response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return _first_line(error)


def _first_line(error: Exception) -> str:
    return without_queries(next(iter(str(error).splitlines()), type(error).__name__))
