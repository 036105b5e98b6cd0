"""Google's credentials: how to get them, and what the user is told when they are refused or cannot be renewed."""

import json
import os

from google.auth import exceptions

from common.errors import CommandError, FailedError, InputError, TemporaryError

FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
LOGIN = f"gcloud auth application-default login, or {FILE_VARIABLE}, gives credentials"

_MANAGED = {"KUBERNETES_SERVICE_HOST", "CLOUD_ML_JOB_ID"}


def is_on_managed_machine() -> bool:
    """Whether this is a pod of Kubernetes or a machine of Vertex AI, by the variables that these set.

    Nobody logs in there, or waits at a terminal. Their credentials may not be there yet in the first seconds.
    """
    return bool(os.environ.keys() & _MANAGED)


def is_transient(error: BaseException) -> bool:
    """Whether `error` only says that the service which gives out the credentials is disturbed, or did not answer."""
    if not isinstance(error, exceptions.GoogleAuthError):
        return False
    if isinstance(error, exceptions.OAuthError):
        return _is_disturbed(error)
    return error.retryable or (_transport_error(error) is not None and not _is_refused(error))


def to_user_error(error: exceptions.GoogleAuthError, service: str) -> CommandError:
    """What to tell the user, who wanted to reach `service`. The error's own text may hold what the credentials do."""
    if is_transient(error):
        return TemporaryError(f"{service}: the credentials cannot be renewed at present ({type(error).__name__})")
    if _is_refused(error):  # not 2: a machine that has just started may answer 404, too
        status = _transport_error(error).args[1].status
        return FailedError(f"{service}: this machine's account gives no credentials (its server answers {status})")
    return InputError(f"{service}: the credentials are not taken; {LOGIN}")


def _transport_error(error: BaseException) -> exceptions.TransportError | None:
    """`error` or its cause: silence of the metadata server comes as a `RefreshError` that a `TransportError` caused."""
    return next((part for part in (error, error.__cause__) if isinstance(part, exceptions.TransportError)), None)


def _is_refused(error: BaseException) -> bool:
    """Whether there was an answer, and it was no; google-auth gives the answer as the second argument."""
    cause = _transport_error(error)
    status = getattr(cause.args[1], "status", 0) if cause and len(cause.args) > 1 else 0
    return 400 <= status < 500 and status != 429


def _is_disturbed(error: exceptions.OAuthError) -> bool:
    """Whether a service for tokens answered that it is disturbed; google-auth gives the text, but not the status."""
    try:
        reason = json.loads(error.args[1])["error"]
    except (IndexError, TypeError, ValueError, KeyError):
        return False
    if isinstance(reason, dict):
        return reason.get("code") in (429, *range(500, 600))
    return reason in ("server_error", "temporarily_unavailable")
