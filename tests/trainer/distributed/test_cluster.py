"""The workers in `TF_CONFIG`: parsed, waited for, and given up on."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from common.errors import InputError, PeerLostError
from tests.support import ROOT
from tests.support.workers import free_port, tf_config
from trainer.distributed import cluster
from trainer.distributed.cluster import ALONE, Cluster


def vertex_tf_config(kind: str, **groups: list[str]) -> str:
    """As Vertex AI writes it for worker pools 0 and 1."""
    task = {"type": kind, "index": 0, "trial": ""}
    return json.dumps({"cluster": groups, "environment": "cloud", "task": task, "job": '{"worker_pool_specs": []}'})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ALONE),
        ("{}", ALONE),
        (tf_config("chief", 0, chief=["a:1"]), ALONE),
        (tf_config("worker", 0, worker=["a:1"]), ALONE),
        (tf_config("chief", 0, chief=["a:1"], worker=["b:2", "c:3"]), Cluster(("a:1", "b:2", "c:3"), 0)),
        (tf_config("worker", 1, chief=["a:1"], worker=["b:2", "c:3"]), Cluster(("a:1", "b:2", "c:3"), 2)),
        (tf_config("worker", 0, worker=["a:1", "b:2"]), Cluster(("a:1", "b:2"), 0)),
        (tf_config("worker", "1", worker=["a:1", "b:2"]), Cluster(("a:1", "b:2"), 1)),
        (vertex_tf_config("chief", chief=["c-chief-0:2222"]), ALONE),
        (vertex_tf_config("chief", chief=["c-0:2222"], worker=["w-0:2222"]), Cluster(("c-0:2222", "w-0:2222"), 0)),
        (vertex_tf_config("worker", chief=["c-0:2222"], worker=["w-0:2222"]), Cluster(("c-0:2222", "w-0:2222"), 1)),
    ],
)
def test_who_the_workers_are(monkeypatch, text, expected):
    monkeypatch.setenv("TF_CONFIG", text)
    assert cluster.from_environment() == expected
    assert cluster.from_environment().is_chief == (expected.index == 0)


def test_who_the_pods_of_an_indexed_job_are(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setenv("JOB_WORKERS", "letters-0.letters:2222,letters-1.letters:2222")
    with pytest.raises(InputError, match="JOB_COMPLETION_INDEX: is missing beside JOB_WORKERS"):
        cluster.from_environment()
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    assert cluster.from_environment() == Cluster(("letters-0.letters:2222", "letters-1.letters:2222"), 1)
    monkeypatch.setenv("TF_CONFIG", tf_config("worker", 0, worker=["a:1", "b:2"]))
    assert cluster.from_environment() == Cluster(("a:1", "b:2"), 0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "TF_CONFIG: cannot be understood"),
        ("[]", "cannot be understood"),
        (tf_config("worker", 2, worker=["a:1", "b:2"]), "task worker 2 is not one of the 2"),
        (tf_config("boss", 0, worker=["a:1", "b:2"]), "cannot be understood"),
        (tf_config("worker", 0, worker=["a:1"], ps=["b:2"]), "parameter servers and evaluators are not used"),
        (tf_config("worker", 0, worker=["a:1", "b"]), "each worker must be host:port; found a:1, b"),
    ],
)
def test_what_cannot_be_understood_is_refused(monkeypatch, text, complaint):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=complaint):
        cluster.from_environment()


@pytest.mark.xdist_group("alone")
def test_a_peer_that_comes_late_is_waited_for():
    own, other = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    late = threading.Timer(1, cluster.wait_for_peers, (Cluster((own, other), 1), 10))
    late.start()
    start = time.monotonic()
    cluster.wait_for_peers(Cluster((own, other), 0), 10)
    late.join()
    assert 0.5 < time.monotonic() - start < 9, "as long as it has to, and no longer"
    with socket.socket() as listener:  # the port is TensorFlow's now
        listener.bind(("127.0.0.1", int(own.rpartition(":")[2])))


def test_a_peer_that_never_comes_is_named_after_the_timeout():
    own, other = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    with pytest.raises(PeerLostError, match=rf"waited 1 s \(--cluster-timeout\) for workers {other}; start all"):
        cluster.wait_for_peers(Cluster((own, other), 0), 1)


def test_a_port_in_use_is_named_after_the_timeout():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        own = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(PeerLostError, match=f"for port {own} to become free"):
            cluster.wait_for_peers(Cluster((own, own), 0), 1)


def lonely_worker(synthetic_digits, tmp_path, timeout: int) -> subprocess.Popen:
    """A worker, as a user starts it, whose peer is not there."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    command = [sys.executable, "-m", "trainer", "train", "--data", str(synthetic_digits)]
    command += ["--run-dir", str(tmp_path / "run"), "--cluster-timeout", str(timeout)]
    environment = os.environ | {"TF_CONFIG": tf_config("worker", 0, worker=addresses)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.xdist_group("alone")
def test_a_lonely_worker_ends_with_75_and_a_clear_line(synthetic_digits, tmp_path):
    with lonely_worker(synthetic_digits, tmp_path, 2) as worker:
        assert worker.wait(timeout=60) == 75
        waiting, error = worker.stderr.read().splitlines()
    assert waiting.startswith("waiting for workers 127.0.0.1:")
    assert error.startswith("error: waited 2 s (--cluster-timeout) for workers 127.0.0.1:")
    assert not (tmp_path / "run").exists()


@pytest.mark.xdist_group("alone")
def test_a_lonely_worker_obeys_sigterm(synthetic_digits, tmp_path):
    with lonely_worker(synthetic_digits, tmp_path, 600) as worker:
        assert worker.stderr.readline().startswith("waiting for workers")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 143
        assert worker.stderr.read() == "error: stopped by SIGTERM\n"
