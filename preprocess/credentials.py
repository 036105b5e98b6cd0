"""Google's credentials: how to get them, and what the user is told when they are refused or cannot be renewed."""

import json

from google.auth import exceptions

from preprocess.errors import CommandError, InputError, TemporaryError

FILE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
LOGIN = f"gcloud auth application-default login, or {FILE_VARIABLE}, gives credentials"


def may_pass(error: BaseException) -> bool:
    """Whether `error` only says that who gives out the credentials did not answer.

    On Google's machines that is the metadata server, which refuses connections in a pod's first seconds; its silence
    comes as a `RefreshError` with a `TransportError` as its cause.
    """
    if not isinstance(error, exceptions.GoogleAuthError):
        return False
    is_silence = any(isinstance(reason, exceptions.TransportError) for reason in (error, error.__cause__))
    return error.retryable or is_silence or (isinstance(error, exceptions.OAuthError) and _is_out_of_order(error))


def _is_out_of_order(error: exceptions.OAuthError) -> bool:
    """Whether the answer of a service for tokens is no refusal, for which OAuth has codes, but says it is disturbed.

    google-auth gives its text as the second argument, and not its status.
    """
    try:
        reason = json.loads(error.args[1])["error"]
    except (IndexError, TypeError, ValueError, KeyError):  # a page of something in between
        return True
    if isinstance(reason, dict):
        return int(reason.get("code", 0)) in (429, *range(500, 600))
    return reason in ("server_error", "temporarily_unavailable")


def to_user_error(error: exceptions.GoogleAuthError, service: str) -> CommandError:
    """What to tell the user, who wanted to reach `service`. The error's own text may hold what the credentials do."""
    if may_pass(error):
        return TemporaryError(f"{service}: the credentials cannot be renewed at present ({type(error).__name__})")
    return InputError(f"{service}: the credentials are not taken; {LOGIN}")
