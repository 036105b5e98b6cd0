"""Clients of Google Cloud's APIs, and one-line messages for their errors."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import google.auth
import requests
from google.api_core import exceptions, retry
from google.api_core.client_options import ClientOptions
from google.auth import exceptions as auth_exceptions
from google.auth.credentials import Credentials
from google.auth.transport.requests import AuthorizedSession

from common import credentials
from common.cli import show
from common.credentials import LOGIN
from common.errors import CommandError, FailedError, InputError, TemporaryError, without_queries

T = TypeVar("T")

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LINES_AT_ONCE = 1000
_SECONDS_BETWEEN_LOOKS = 5
_TIMEOUT_SECONDS = 60

RETRY = retry.Retry(
    retry.if_exception_type(exceptions.TooManyRequests, exceptions.ServerError, requests.ConnectionError),
    timeout=_TIMEOUT_SECONDS,
)
"""Retries transient errors: too many requests, a server or connection that is down."""


@dataclass(frozen=True)
class Api:
    """One of Google Cloud's services."""

    service: str
    """The service's name in addresses."""
    name: str
    """The service's name in messages."""
    role: str
    """The IAM role that permits everything that this package does with the service."""

    def address(self, region: str | None = None) -> str:
        """The service's host. gcloud's variable for another endpoint (in a private network, say) applies here, too."""
        host = f"{region + '-' if region else ''}{self.service}.googleapis.com"
        return os.environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{self.service.upper()}", host).rstrip("/")

    def client(self, kind: Callable[..., T], region: str | None = None) -> T:
        """A client of class `kind` for the service, over HTTP."""
        options = ClientOptions(api_endpoint=self.address(region))
        return kind(credentials=_credentials(), transport="rest", client_options=options)


VERTEX = Api("aiplatform", "Vertex AI", "roles/aiplatform.user")
SCHEDULER = Api("cloudscheduler", "Cloud Scheduler", "roles/cloudscheduler.admin")
DATAFLOW = Api("dataflow", "Dataflow", "roles/dataflow.developer")
LOGGING = Api("logging", "Cloud Logging", "roles/logging.viewer")


def _credentials() -> Credentials:
    try:
        account, _ = google.auth.default(scopes=[SCOPE])
    except auth_exceptions.DefaultCredentialsError:  # its text may contain the credentials
        raise InputError(f"Google Cloud: no credentials found; {LOGIN}") from None
    return account


@contextmanager
def translate_refusals(api: Api, project: str) -> Iterator[None]:
    """Turns errors of requests to `api` into one-line errors.

    `InputError` names the missing role or wrong value, `FailedError` an exhausted quota, `TemporaryError` a service
    that cannot be reached.
    """
    try:
        yield
    except auth_exceptions.GoogleAuthError as error:
        raise credentials.to_user_error(error, api.name) from None
    except exceptions.RetryError as error:
        raise _to_user_error(api, project, error.cause) from None
    except (exceptions.GoogleAPICallError, requests.RequestException) as error:
        raise _to_user_error(api, project, error) from None


def _to_user_error(api: Api, project: str, error: Exception) -> CommandError:
    reason = _reason(error)
    match error:
        case exceptions.Unauthorized():
            return InputError(f"{api.name}: the credentials are rejected ({reason}); {LOGIN}")
        case exceptions.Forbidden() if "actAs" in reason:
            lacking = "grant the role roles/iam.serviceAccountUser on that account"
            return InputError(f"{api.name}: refused ({reason}); {lacking}")
        case exceptions.Forbidden() if "has not been used" in reason or "is disabled" in reason:
            enable = f"gcloud services enable {api.service}.googleapis.com --project {project}"
            return InputError(f"{api.name}: is not enabled ({reason}); {enable}")
        case exceptions.Forbidden():
            lacking = f"grant the role {api.role} on the project {project}"
            return InputError(f"{api.name}: refused ({reason}); {lacking}")
        case exceptions.TooManyRequests():
            where = f"https://console.cloud.google.com/iam-admin/quotas?project={project}"
            return FailedError(f"{api.name}: a quota of the project {project} is used up ({reason}); see {where}")
        case exceptions.Conflict():
            return InputError(f"{api.name}: already exists ({reason})")
        case exceptions.ClientError():
            return InputError(f"{api.name}: refused ({reason})")
    return TemporaryError(f"{api.name}: cannot be reached ({reason})")


def _reason(error: Exception) -> str:
    """The API's own message; it names the account and the permission, or the quota."""
    try:
        return " ".join(error.response.json()["error"]["message"].split())
    except (ValueError, KeyError, TypeError, AttributeError):
        return without_queries(" ".join(str(error).split()))


def print_logs(project: str, log_filter: str, is_over: Callable[[], bool] | None) -> None:
    """Prints the Cloud Logging entries that match `log_filter`, oldest first; continues until `is_over()`, if given."""
    seen: set[str] = set()
    newest = ""
    while True:
        was_over = is_over is None or is_over()  # checked before reading, so that no last line is missed
        since = f' timestamp>="{newest}"' if newest else ""
        for entry in _log_entries(project, log_filter + since):
            if entry.get("insertId") not in seen:
                seen.add(entry.get("insertId"))
                newest = entry.get("timestamp", newest)
                show(f"{newest} {_message(entry)}")
        if was_over:
            return
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _log_entries(project: str, log_filter: str) -> Iterator[dict[str, Any]]:
    # A plain request: Cloud Logging's client would be another dependency, for this call alone.
    address = LOGGING.address()
    url = f"{'' if '://' in address else 'https://'}{address}/v2/entries:list"
    request = {"resourceNames": [f"projects/{project}"], "filter": log_filter, "orderBy": "timestamp asc"}
    with translate_refusals(LOGGING, project), AuthorizedSession(_credentials()) as session:
        while True:
            page = RETRY(_post)(session, url, request | {"pageSize": _LINES_AT_ONCE})
            yield from page.get("entries", [])
            if not page.get("nextPageToken"):
                return
            request["pageToken"] = page["nextPageToken"]


def _post(session: AuthorizedSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    response = session.post(url, json=body, timeout=_TIMEOUT_SECONDS)
    if not response.ok:
        raise exceptions.from_http_response(response)
    return response.json()


def _message(entry: dict[str, Any]) -> str:
    payload = entry.get("jsonPayload", {})
    return entry.get("textPayload") or payload.get("message") or json.dumps(payload)
