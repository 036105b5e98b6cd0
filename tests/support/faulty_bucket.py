"""A bad network, and a stricter bucket: an HTTP proxy in front of the emulator.

The proxy spoils the requests that a test names, and a share of all at random. It also does what a real bucket does but
the emulator does not: it answers 412 to a failed `ifGenerationMatch`, 400 to the last part of an upload whose checksum
is wrong, and 401 to a wrong token (`/token` gives the right one). Addresses in the emulator's answers lead here, too.
"""

import base64
import http.client
import json
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

import google_crc32c

from tests.support.workers import free_port

REFUSALS = ("401", "403", "408", "429", "500", "503")
"""Answered instead of carrying out the request."""
LOSSES = ("reset", "lost", "cut", "stall")
"""The connection ends before the request is carried out, or after; the answer ends, or stalls, half-way."""
HOLD = "hold"
"""The request is not carried out, and no answer comes."""
FLIP = "flip"
"""A bit of an object's content is flipped, on its way there or back. (Nothing else has a checksum.)"""
PASSING = ("429", "500", "503", *LOSSES, FLIP)
"""Transient faults, which may happen at random."""

_MESSAGES = {
    "403": "the caller lacks a permission",
    "412": "At least one of the pre-conditions you specified did not hold.",
}
_POLL_SECONDS = 0.01
_TOKEN_PATH = "/token"
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass
class _Plan:
    fault: str
    method: str
    containing: str
    times: float
    after: int


@dataclass
class _Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@contextmanager
def running_emulator() -> Iterator[str]:
    """Runs an emulator with the bucket `test` in its own process during the block; gives its address."""
    port = free_port()
    program = (
        "from gcp_storage_emulator import server; "
        # It serves one connection at a time, so an idle one would hold up all others.
        "server.RequestHandler.timeout = 20; "
        f"server.create_server('127.0.0.1', {port}, in_memory=True, default_bucket='test').run()"
    )
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", program], **quiet) as process:
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


class FaultyBucket:
    """The proxy, running during a `with` block; set `STORAGE_EMULATOR_HOST` to its `address`."""

    def __init__(self, emulator: str, seed: int = 0, stall_seconds: float = 600) -> None:
        self._emulator = urlsplit(emulator).netloc
        self._stall_seconds = stall_seconds
        self._random = random.Random(seed)
        self._plans: list[_Plan] = []
        self._uploads: dict[str, str] = {}
        """Object names of uploads in parts, by upload id."""
        self._lock, self._write_lock = threading.Lock(), threading.Lock()
        self.rate = 0.0
        """The share of requests, except those for a token, that go wrong at random."""
        self.kinds = PASSING
        """The faults that happen at random."""
        self.token: str | None = None
        """If set, requests without this token are refused."""
        self.asked: list[str] = []
        """All requests: method and path."""
        self.happened: Counter[str] = Counter()
        """Faults, by kind."""

    def __enter__(self) -> "FaultyBucket":
        bucket = self

        class Handler(_Handler):
            faulty_bucket = bucket

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spoil(self, fault: str, method: str = "", containing: str = "", times: float = 1, after: int = 0) -> None:
        """Spoils `times` requests of `method` with `containing` in path or content, after skipping `after` of them."""
        with self._lock:
            self._plans.append(_Plan(fault, method, containing, times, after))

    def mend(self) -> None:
        """Ends all faults."""
        with self._lock:
            self._plans.clear()
        self.rate = 0.0

    def fault_for(self, request: _Request) -> str | None:
        with self._lock:
            self.asked.append(f"{request.method} {unquote(request.target)}")
            for plan in self._plans:
                text = unquote(request.target) + request.body[:2000].decode(errors="replace")
                is_meant = plan.times > 0 and request.method.startswith(plan.method) and plan.containing in text
                if not is_meant or (plan.fault == FLIP and not _has_content(request)):
                    continue
                if plan.after:
                    plan.after -= 1
                    continue
                plan.times -= 1
                return plan.fault
            if self._random.random() >= self.rate or request.target == _TOKEN_PATH:
                return None
            fault = self._random.choice(self.kinds)
            return "reset" if fault == FLIP and not _has_content(request) else fault

    def answer(self, request: _Request) -> _Answer:
        """The answer of a real bucket."""
        if request.target == _TOKEN_PATH:
            return _json(200, {"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"})
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return refusal("401")
        if request.method not in _WRITES:
            return self._forward(request)
        with self._write_lock:  # nothing changes between comparison and write
            wanted = request.query.get("ifGenerationMatch")
            bucket, name = self._object_of(request)
            if wanted is not None:
                generation = self._generation(bucket, name)
                if generation != int(wanted) and not (request.method == "DELETE" and not generation):
                    return refusal("412")
            if not _is_right(request):
                return refusal("400", "Provided CRC32C doesn't match calculated CRC32C.")
            answer = self._forward(request)
        for header, value in answer.headers:
            if header.lower() == "location":
                self._uploads[parse_qs(urlsplit(value).query)["upload_id"][0]] = name
        return answer

    def _object_of(self, request: _Request) -> tuple[str, str]:
        match = re.search(r"/b/([^/]+)/o(?:/(.+))?$", urlsplit(request.target).path)
        if not match:
            return "", ""
        bucket, name = match[1], unquote(match[2] or "")
        if "upload_id" in request.query:
            return bucket, self._uploads[request.query["upload_id"]]
        if request.query.get("uploadType") == "multipart":
            return bucket, json.loads(_parts(request)[0])["name"]
        if request.query.get("uploadType") == "resumable":
            return bucket, json.loads(request.body)["name"]
        return bucket, name

    def _generation(self, bucket: str, name: str) -> int:
        """The generation of an object; 0 if there is none."""
        there = _Request("GET", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}", {}, b"")
        answer = self._forward(there)
        return int(json.loads(answer.body)["generation"]) if answer.status == 200 else 0

    def _forward(self, request: _Request) -> _Answer:
        connection = http.client.HTTPConnection(self._emulator)
        try:
            connection.request(request.method, request.target, request.body, request.headers)
            answer = connection.getresponse()
            return _Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def stall(self) -> None:
        time.sleep(self._stall_seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    faulty_bucket: FaultyBucket

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client was killed, or gave up
            super().handle()

    def _handle(self) -> None:
        bucket = self.faulty_bucket
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = _Request(self.command, self.path, {key.lower(): value for key, value in self.headers.items()}, body)
        fault = bucket.fault_for(request)
        if fault:
            bucket.happened[fault] += 1
        if fault in REFUSALS:
            return self._send(refusal(fault))
        if fault == "reset":
            return self._reset()
        if fault == HOLD:
            bucket.stall()
            return self._reset()
        if fault == FLIP and request.method in _WRITES:
            request.body = _flip(request)
        answer = bucket.answer(request)
        if fault == "lost":
            return self._reset()
        if fault == FLIP and request.method == "GET" and answer.body:
            answer.body = _flipped(answer.body, len(answer.body) // 2)
        return self._send(answer, fault)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _handle  # noqa: N815

    def _send(self, answer: _Answer, fault: str | None = None) -> None:
        self.send_response_only(answer.status)
        for header, value in answer.headers:
            if header.lower() not in ("content-length", "connection", "date", "server"):
                self.send_header(header, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if fault not in ("cut", "stall"):
            self.wfile.write(answer.body)
            return
        self.wfile.write(answer.body[: len(answer.body) // 2])
        self.wfile.flush()
        if fault == "stall":
            self.faulty_bucket.stall()
        self.close_connection = True

    def _reset(self) -> None:
        """Ends the connection so that the other side sees it reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def log_message(self, *_: object) -> None:
        pass


def refusal(status: str, message: str = "") -> _Answer:
    message = message or _MESSAGES.get(status, "refused by the proxy")
    return _json(int(status), {"error": {"code": int(status), "message": message}})


def _json(status: int, content: dict) -> _Answer:
    return _Answer(status, [("Content-Type", "application/json")], json.dumps(content).encode())


def _has_content(request: _Request) -> bool:
    if request.method == "GET":
        return request.query.get("alt") == "media"
    is_whole = request.query.get("uploadType") == "multipart"
    return bool(request.body) and (is_whole or "upload_id" in request.query)


def _parts(request: _Request) -> list[bytes]:
    header = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(header + request.body)
    return [part.get_payload(decode=True) for part in message.get_payload()]


def _flip(request: _Request) -> bytes:
    start = 0
    if request.query.get("uploadType") == "multipart":  # description and content, each after an empty line
        start = request.body.index(b"\r\n\r\n", request.body.index(b"\r\n\r\n") + 4) + 4
    return _flipped(request.body, start)


def _flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def _is_right(request: _Request) -> bool:
    """Whether the checksum of an upload is right; checked only if this part is the whole object."""
    wanted = re.search(r"crc32c=([^,]+)", request.headers.get("x-goog-hash", ""))
    is_whole = request.headers.get("content-range", "").startswith("bytes 0-")
    calculated = base64.b64encode(google_crc32c.value(request.body).to_bytes(4, "big")).decode()
    return not (wanted and is_whole) or wanted[1] == calculated
