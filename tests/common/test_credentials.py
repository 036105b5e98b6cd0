"""Errors of google-auth as user errors: refused for good, refused for now, or without an answer."""

import json
from types import SimpleNamespace

import pytest
from google.auth import exceptions

from common import credentials
from common.errors import FailedError, InputError, TemporaryError


def of_metadata_server(status: int | None) -> exceptions.RefreshError:
    """As google.auth.compute_engine raises it: for an answer of that status, or, for None, without an answer."""
    answer = () if status is None else (SimpleNamespace(status=status, data=b"secret"),)
    error = exceptions.RefreshError("secret")
    error.__cause__ = exceptions.TransportError("secret", *answer)
    return error


def of_token_service(text: str) -> exceptions.OAuthError:
    """As google.oauth2.utils raises it, whatever the status was."""
    return exceptions.OAuthError("secret", text)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (exceptions.RefreshError("secret", retryable=True), TemporaryError, "cannot be renewed at present"),
        (exceptions.TransportError(ConnectionError("secret")), TemporaryError, "cannot be renewed at present"),
        (of_metadata_server(None), TemporaryError, "cannot be renewed at present (RefreshError)"),
        (of_metadata_server(503), TemporaryError, "cannot be renewed at present"),
        (of_metadata_server(429), TemporaryError, "cannot be renewed at present"),
        (of_metadata_server(403), FailedError, "has no credentials (metadata server: 403)"),
        (of_metadata_server(404), FailedError, "has no credentials (metadata server: 404)"),
        (exceptions.RefreshError("secret"), InputError, "the credentials are not accepted; run gcloud auth"),
        (of_token_service(json.dumps({"error": "temporarily_unavailable"})), TemporaryError, "cannot be renewed"),
        (of_token_service(json.dumps({"error": {"code": 503}})), TemporaryError, "cannot be renewed"),
        (of_token_service(json.dumps({"error": {"code": "invalid"}})), InputError, "are not accepted"),
        (of_token_service(json.dumps({"error": {"code": None}})), InputError, "are not accepted"),
        (of_token_service(json.dumps({"error": "invalid_grant"})), InputError, "are not accepted"),
        (of_token_service("<html>Forbidden"), InputError, "are not accepted"),
        (exceptions.OAuthError("secret"), InputError, "are not accepted"),
    ],
)
def test_each_error_has_the_exit_code_that_fits_and_tells_no_secret(error, kind, message):
    user_error = credentials.to_user_error(error, "the bucket")
    assert type(user_error) is kind
    assert str(user_error).startswith("the bucket: ")
    assert message in str(user_error)
    assert "secret" not in str(user_error)
    assert credentials.is_transient(error) == (kind is TemporaryError)


def test_what_is_no_error_of_credentials_is_not_judged():
    assert not credentials.is_transient(ConnectionError())
