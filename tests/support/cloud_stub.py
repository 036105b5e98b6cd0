"""Stand-ins for Google Cloud's APIs and for a Kubernetes cluster, for real clients over HTTP.

They accept the requests that the real services accept, store the objects they are sent, and return them. Tests can make
them refuse requests. A request without the right credentials is answered with 401, an unknown one with 404.
"""

import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

Json = dict[str, Any]


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: Json


class RefusedError(Exception):
    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message


@dataclass
class _Refusal:
    status: int
    message: str
    containing: str
    times: float


class Stub(ABC):
    """A server on a port of this machine. `requests` are all requests with the right credentials."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._refusals: list[_Refusal] = []
        self._clock = datetime(2026, 1, 5, 3, tzinfo=UTC)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        # Beam uses plain HTTP only with localhost.
        self.address = f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> "Stub":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def refuse(self, status: int, message: str, containing: str = "", times: float = float("inf")) -> None:
        """Refuses the next `times` requests, or all, whose method and path contain `containing`."""
        self._refusals.append(_Refusal(status, message, containing, times))

    def now(self) -> str:
        """The time; each call returns a later one."""
        self._clock += timedelta(minutes=1)
        return self._clock.strftime("%Y-%m-%dT%H:%M:%SZ")

    @abstractmethod
    def answer(self, request: Request) -> Json | str: ...

    @abstractmethod
    def is_authorized(self, headers: Any) -> bool: ...

    @abstractmethod
    def error(self, status: int, message: str) -> Json: ...

    def _answer(self, request: Request) -> tuple[int, Json | str]:
        try:
            if not self.is_public(request):
                if not self.is_authorized(request.headers):
                    raise RefusedError(401, "the credentials are wrong")
                self.requests.append(request)
            for plan in self._refusals:
                if plan.times > 0 and plan.containing in f"{request.method} {request.path}":
                    plan.times -= 1
                    raise RefusedError(plan.status, plan.message)
            return 200, self.answer(request)
        except RefusedError as refused:
            return refused.status, self.error(refused.status, refused.message)

    def is_public(self, request: Request) -> bool:
        return False

    def _handler(stub) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                is_json = raw[:1] in (b"{", b"[")
                body = json.loads(raw) if is_json else {}
                request = Request(self.command, unquote(parts.path), query, self.headers, body)
                status, answer = stub._answer(request)
                content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        return Handler


class GoogleCloud(Stub):
    """Vertex AI, Cloud Scheduler, Dataflow, Cloud Logging, and their token server.

    Clients need the key from the file that `write_credentials` writes.
    """

    ACCOUNT = "tester@my-project.iam.gserviceaccount.com"
    TOKEN = "token-of-the-stub"

    def __init__(self) -> None:
        super().__init__()
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._private_key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        self._public_key = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.custom_jobs: dict[str, Json] = {}
        self.schedules: dict[str, Json] = {}
        self.dataflow_jobs: dict[str, Json] = {}
        self.log_entries: list[Json] = []

    def write_credentials(self, path: Path) -> Path:
        key = {
            "type": "service_account",
            "project_id": "my-project",
            "private_key_id": "1",
            "private_key": self._private_key,
            "client_email": self.ACCOUNT,
            "token_uri": f"{self.address}/token",
        }
        path.write_text(json.dumps(key))
        return path

    def environment(self, credentials: Path) -> dict[str, str]:
        """The environment variables that direct clients to this stub."""
        services = ("AIPLATFORM", "CLOUDSCHEDULER", "DATAFLOW", "LOGGING")
        overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}": self.address for service in services}
        key = {"GOOGLE_APPLICATION_CREDENTIALS": str(self.write_credentials(credentials))}
        # A thread of Google's library asks Google itself for the account's regions; this proxy does not exist.
        return overrides | key | {"HTTPS_PROXY": "http://127.0.0.1:9"}

    def is_public(self, request: Request) -> bool:
        return request.path == "/token"

    def is_authorized(self, headers: Any) -> bool:
        kind, _, token = headers.get("Authorization", "").partition(" ")
        if kind != "Bearer":
            return False
        if token == self.TOKEN:
            return True
        try:
            return jwt.decode(token, certs=self._public_key)["iss"] == self.ACCOUNT
        except ValueError:
            return False

    def error(self, status: int, message: str) -> Json:
        return {"error": {"code": status, "message": message}}

    def answer(self, request: Request) -> Json:
        place = r"projects/my-project/locations/[a-z0-9-]+"
        routes: list[tuple[str, Callable[..., Json]]] = [
            (r"POST /token", lambda _: {"access_token": self.TOKEN, "expires_in": 3600, "token_type": "Bearer"}),
            (rf"POST /v1/({place})/customJobs", self._create_custom_job),
            (rf"GET /v1/{place}/customJobs", self._list_custom_jobs),
            (rf"POST /v1/({place}/customJobs/\d+):cancel", self._cancel_custom_job),
            (rf"GET /v1/{place}/jobs", lambda _: {"jobs": list(self.schedules.values())}),
            (rf"POST /v1/{place}/jobs", self._create_schedule),
            (rf"PATCH /v1/({place}/jobs/[a-z0-9-]+)", self._update_schedule),
            (rf"DELETE /v1/({place}/jobs/[a-z0-9-]+)", self._delete_schedule),
            (rf"POST /v1b3/{place}/jobs", self._create_dataflow_job),
            (rf"GET /v1b3/{place}/jobs", self._list_dataflow_jobs),
            (rf"GET /v1b3/{place}/jobs/([a-z0-9-]+)", self._get_dataflow_job),
            (rf"PUT /v1b3/{place}/jobs/([a-z0-9-]+)", self._update_dataflow_job),
            (r"POST /v2/entries:list", self._list_log_entries),
        ]
        for pattern, handle in routes:
            if matched := re.fullmatch(pattern, f"{request.method} {request.path}"):
                return handle(request, *matched.groups())
        raise RefusedError(404, f"{request.method} {request.path}: there is no such method")

    def _create_custom_job(self, request: Request, parent: str) -> Json:
        name = f"{parent}/customJobs/{len(self.custom_jobs) + 1}"
        run = {**request.body, "name": name, "state": "JOB_STATE_PENDING", "createTime": self.now()}
        self.custom_jobs[name] = run
        return run

    def _list_custom_jobs(self, request: Request) -> Json:
        ((label, value),) = re.findall(r'^labels\.(\w+)="([a-z0-9-]+)"$', request.query["filter"])
        return {"customJobs": [run for run in self.custom_jobs.values() if run["labels"].get(label) == value]}

    def _cancel_custom_job(self, request: Request, name: str) -> Json:
        self.custom_jobs[name]["state"] = "JOB_STATE_CANCELLED"
        return {}

    def _create_schedule(self, request: Request) -> Json:
        if request.body["name"] in self.schedules:
            raise RefusedError(409, f"Job {request.body['name']} already exists.")
        return self.schedules.setdefault(request.body["name"], request.body | {"state": "ENABLED"})

    def _update_schedule(self, request: Request, name: str) -> Json:
        changed = request.query["updateMask"].split(",")
        self.schedules[name] |= {field: request.body[field] for field in changed}
        return self.schedules[name]

    def _delete_schedule(self, request: Request, name: str) -> Json:
        self.schedules.pop(name)
        return {}

    def _create_dataflow_job(self, request: Request) -> Json:
        number = f"2026-{len(self.dataflow_jobs) + 1}"
        run = {**request.body, "id": number, "currentState": "JOB_STATE_PENDING", "createTime": self.now()}
        self.dataflow_jobs[number] = run
        return {name: run[name] for name in ("id", "name", "currentState", "createTime")}

    def _list_dataflow_jobs(self, request: Request) -> Json:
        kept = ("id", "name", "currentState", "createTime")
        runs = [run for run in self.dataflow_jobs.values() if run["name"] == request.query["name"]]
        return {"jobs": [{name: run[name] for name in kept} for run in runs]}

    def _get_dataflow_job(self, request: Request, number: str) -> Json:
        """Includes labels only if the view does (https://cloud.google.com/dataflow/docs/reference/rest)."""
        run = self.dataflow_jobs[number]
        kept = ["id", "name", "currentState", "createTime"]
        if request.query.get("view") in ("3", "JOB_VIEW_DESCRIPTION"):
            kept.append("labels")
        return {name: run[name] for name in kept if name in run}

    def _update_dataflow_job(self, request: Request, number: str) -> Json:
        state = request.body["requestedState"]
        # JSON may have the state as a number or as a name.
        is_cancelled = state in (5, "JOB_STATE_CANCELLED")
        self.dataflow_jobs[number]["currentState"] = "JOB_STATE_CANCELLED" if is_cancelled else state
        return {"id": number}

    def _list_log_entries(self, request: Request) -> Json:
        """Returns pages of two entries. The filter may have `resource.labels.job_id` and `timestamp>=`."""
        (number,) = re.findall(r'resource\.labels\.job_id="([^"]+)"', request.body["filter"])
        since = re.findall(r'timestamp>="([^"]+)"', request.body["filter"])
        entries = [entry for entry in self.log_entries if entry["resource"]["labels"]["job_id"] == number]
        entries = [entry for entry in entries if not since or entry["timestamp"] >= since[0]]
        start = int(request.body.get("pageToken", 0))
        more = {"nextPageToken": str(start + 2)} if len(entries) > start + 2 else {}
        return {"entries": entries[start : start + 2], **more}

    def log(self, number: str, text: str) -> None:
        labels = {"type": "ml_job", "labels": {"job_id": number}}
        entry = {"timestamp": self.now(), "insertId": str(len(self.log_entries)), "textPayload": text}
        self.log_entries.append(entry | {"resource": labels})


class Kubernetes(Stub):
    """The part of a cluster's API for services, Jobs, CronJobs and pods, in any namespace."""

    TOKEN = "token-of-the-cluster"

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[tuple[str, str], Json] = {}
        """The objects by resource and name."""
        self.pod_logs: dict[str, str] = {}

    def write_kubeconfig(self, path: Path) -> Path:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "stub", "user": "tester"}}],
            "clusters": [{"name": "stub", "cluster": {"server": self.address}}],
            "users": [{"name": "tester", "user": {"token": self.TOKEN}}],
        }
        path.write_text(json.dumps(config))
        return path

    def is_authorized(self, headers: Any) -> bool:
        return headers.get("Authorization") == f"Bearer {self.TOKEN}"

    def error(self, status: int, message: str) -> Json:
        return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status}

    def answer(self, request: Request) -> Json | str:
        pattern = (
            r"/(?:api/v1|apis/batch/v1)/namespaces/([a-z0-9-]+)/(services|jobs|cronjobs|pods)(?:/([a-z0-9-]+))?(/log)?"
        )
        matched = re.fullmatch(pattern, request.path)
        if not matched:
            raise RefusedError(404, "the server could not find the requested resource")
        _namespace, kind, name, is_log = matched.groups()
        if is_log:
            return self.pod_logs[name]
        match request.method:
            case "GET":
                items = [item for (its_kind, _), item in self.objects.items() if its_kind == kind]
                if selector := request.query.get("labelSelector"):
                    wanted = dict(label.split("=") for label in selector.split(","))
                    items = [item for item in items if wanted.items() <= item["metadata"].get("labels", {}).items()]
                if selector := request.query.get("fieldSelector"):
                    wanted_name = selector.removeprefix("metadata.name=")
                    items = [item for item in items if item["metadata"]["name"] == wanted_name]
                return {"items": items, "metadata": {}}
            case "POST":
                name = request.body["metadata"]["name"]
                if (kind, name) in self.objects:
                    raise RefusedError(409, f'{kind} "{name}" already exists')
                return self._keep(kind, name, request.body)
            case "PATCH":
                kind_of_patch = request.headers["Content-Type"]
                if kind_of_patch != "application/apply-patch+yaml" or "fieldManager" not in request.query:
                    raise RefusedError(415, "only server-side apply is known here")
                if (kind, name) in self.objects and request.query.get("force") != "true":
                    raise RefusedError(409, "Apply failed with 1 conflict: .spec is managed by another")
                return self._keep(kind, name, request.body)
            case "DELETE":
                if (kind, name) not in self.objects:
                    raise RefusedError(404, f'{kind} "{name}" not found')
                del self.objects[kind, name]
                return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        raise RefusedError(405, "the server does not allow this method on the requested resource")

    def _keep(self, kind: str, name: str, body: Json) -> Json:
        body["metadata"]["creationTimestamp"] = self.now()
        body["status"] = {"active": 1} if kind == "jobs" else {}
        self.objects[kind, name] = body
        return body

    def add_pod(self, name: str, job: str, index: int, log: str, phase: str = "Running") -> None:
        prefix = "batch.kubernetes.io"
        labels = {f"{prefix}/job-name": job, f"{prefix}/job-completion-index": str(index)}
        metadata = {"name": name, "labels": labels, "creationTimestamp": self.now()}
        self.objects["pods", name] = {"metadata": metadata, "status": {"phase": phase}}
        self.pod_logs[name] = log

    def end(self, name: str, how: str, message: str = "") -> None:
        """Ends a Job: `Complete` or `Failed`."""
        condition = {"type": how, "status": "True", "message": message}
        self.objects["jobs", name]["status"] = {"conditions": [condition]}
