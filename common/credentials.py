"""Google credentials: how to get them, and the error to show when they are refused or cannot be renewed."""

import json
import os

from google.auth import exceptions

from common.errors import CommandError, FailedError, InputError, TemporaryError

FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
LOGIN = f"run gcloud auth application-default login, or set {FILE_VARIABLE}"

_MANAGED = {"KUBERNETES_SERVICE_HOST", "CLOUD_ML_JOB_ID"}


def is_on_managed_machine() -> bool:
    """Whether this is a Kubernetes pod or a Vertex AI machine, according to environment variables.

    Nobody logs in or waits at a terminal on these machines, and they may lack credentials in their first seconds.
    """
    return bool(os.environ.keys() & _MANAGED)


def is_transient(error: BaseException) -> bool:
    """Whether `error` is transient: the service that issues credentials failed or did not answer."""
    if not isinstance(error, exceptions.GoogleAuthError):
        return False
    if isinstance(error, exceptions.OAuthError):
        return _is_disturbed(error)
    return error.retryable or (_transport_error(error) is not None and not _is_refused(error))


def to_user_error(error: exceptions.GoogleAuthError, service: str) -> CommandError:
    """The error to show to a user of `service`. Leaves out Google's own text, which may quote the credentials."""
    if is_transient(error):
        return TemporaryError(f"{service}: the credentials cannot be renewed at present ({type(error).__name__})")
    if _is_refused(error):  # not exit code 2: a machine that has just started may answer 404 too
        status = _transport_error(error).args[1].status
        return FailedError(f"{service}: this machine's account has no credentials (metadata server: {status})")
    return InputError(f"{service}: the credentials are not accepted; {LOGIN}")


def _transport_error(error: BaseException) -> exceptions.TransportError | None:
    """`error` or its cause: a silent metadata server is reported as a `RefreshError` caused by a `TransportError`."""
    return next((part for part in (error, error.__cause__) if isinstance(part, exceptions.TransportError)), None)


def _is_refused(error: BaseException) -> bool:
    """Whether the server answered and refused; google-auth passes the response as the second argument."""
    cause = _transport_error(error)
    status = getattr(cause.args[1], "status", 0) if cause and len(cause.args) > 1 else 0
    return 400 <= status < 500 and status != 429


def _is_disturbed(error: exceptions.OAuthError) -> bool:
    """Whether the token service reported a fault of its own; google-auth passes the text, but not the status."""
    try:
        reason = json.loads(error.args[1])["error"]
    except (IndexError, TypeError, ValueError, KeyError):
        return False
    if isinstance(reason, dict):
        return reason.get("code") in (429, *range(500, 600))
    return reason in ("server_error", "temporarily_unavailable")
