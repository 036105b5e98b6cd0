"""The download of NIST's archive, from a local server that misbehaves."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from common.errors import FailedError, InputError
from preprocess.sources import nist

CONTENT = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    """A server of CONTENT, with ranges. Each request takes a fault: a status, "html", or bytes after which to stop."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.headers.get("Range"))
            fault = faults.pop(0) if faults else None
            if fault == "html":
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(b"<html>moved</html>")
                return
            if isinstance(fault, int) and fault < 1000:
                self.send_error(fault)
                return
            start = (
                int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")) if "Range" in self.headers else 0
            )
            if fault == "no ranges":
                start = 0
            body = CONTENT[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.end_headers()
            self.wfile.write(body[:fault] if isinstance(fault, int) else body)

        def log_message(self, *_):
            pass

    requests, faults = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        running.requests, running.faults = requests, faults
        running.url = f"http://127.0.0.1:{running.server_port}/gzip.zip"
        yield running
        running.shutdown()


def fetch(server, folder, sha256=SHA256):
    return nist.fetch(folder, server.url, len(CONTENT), sha256, backoff_seconds=0.01)


def test_it_is_downloaded_once(server, tmp_path):
    path = fetch(server, tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    assert fetch(server, tmp_path / "cache") == path
    assert server.requests == [None]
    assert list(path.parent.iterdir()) == [path]


def test_a_cached_archive_that_was_damaged_is_fetched_again(server, tmp_path):
    path = fetch(server, tmp_path)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_broken_connection_is_continued_where_it_broke(server, tmp_path):
    server.faults += [2_000_000, 1_500_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[0] is None
    starts = [int(value.removeprefix("bytes=").removesuffix("-")) for value in server.requests[1:]]
    assert len(starts) == 2
    assert 0 < starts[0] < starts[1]


def test_what_a_killed_download_left_is_continued(server, tmp_path):
    (tmp_path / "gzip.zip.part").write_bytes(CONTENT[:3_000_000])
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == ["bytes=3000000-"]


def test_a_server_without_ranges_is_read_from_the_beginning(server, tmp_path):
    (tmp_path / "gzip.zip.part").write_bytes(CONTENT[:3_000_000])
    server.faults.append("no ranges")
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.faults += [503, 429, 500]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 4


def test_a_server_that_stays_busy_is_given_up(server, tmp_path):
    server.faults += [503] * 20
    with pytest.raises(
        FailedError, match=r"cannot be downloaded \(the server answers 503\); try later, give a mirror by --url"
    ):
        fetch(server, tmp_path)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("fault", "complaint"), [(404, "the server answers 404"), ("html", "is an HTML page.*the address has moved")]
)
def test_an_address_that_moved_is_not_asked_again(server, tmp_path, fault, complaint):
    server.faults += [fault] * 5
    with pytest.raises(InputError, match=complaint):
        fetch(server, tmp_path)
    assert len(server.requests) == 1
    assert not (tmp_path / "gzip.zip").exists()


def test_another_file_is_refused_and_not_kept(server, tmp_path):
    with pytest.raises(InputError, match="sent another file"):
        fetch(server, tmp_path, sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_host_is_named(tmp_path):
    with pytest.raises(FailedError, match=r"http://127.0.0.1:9/gzip.zip: cannot be downloaded"):
        nist.fetch(tmp_path, "http://127.0.0.1:9/gzip.zip", 1, SHA256, backoff_seconds=0.01)


@pytest.mark.parametrize("fault", [404, "html", 503, "another file", None])
def test_a_signature_in_the_address_is_told_to_nobody(server, tmp_path, caplog, fault):
    server.faults += [fault] * 20 if fault in (404, "html", 503) else []
    address = server.url if fault else "http://127.0.0.1:9/gzip.zip"
    with caplog.at_level("INFO", "preprocess"), pytest.raises((InputError, FailedError)) as refused:
        nist.fetch(tmp_path, f"{address}?X-Goog-Signature=abc123", len(CONTENT), "0" * 64, backoff_seconds=0.01)
    assert address in str(refused.value)
    assert "abc123" not in str(refused.value) + caplog.text


def test_nists_own_address_and_checksum_are_the_defaults():
    assert nist.URL.startswith("https://biometrics.nist.gov/")
    assert nist.SIZE_BYTES == 561_753_746
    assert nist.SHA256 == "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e"
