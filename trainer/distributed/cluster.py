"""The workers that train together: who they are, whether they are there, and what happens when one is not.

`TF_CONFIG` (https://www.tensorflow.org/guide/distributed_training#TF_CONFIG) names them; in an Indexed Job of
Kubernetes, `JOB_WORKERS` and `JOB_COMPLETION_INDEX` do. TensorFlow joins them in one call that, for as long as a peer
is missing, returns for no signal and no timeout. So peers are looked for beforehand, and each worker runs below a
supervisor that can end it then.
"""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from common.errors import InputError, PeerLostError, StoppedError
from common.signals import end_with

_READY_PIPE = "HANDWRITING_TRAINER_SUPERVISOR"
JOINING, JOINED = b"1", b"2"
"""What a worker tells its supervisor: that TensorFlow begins to join the workers, and that they are joined."""

_SECONDS_FOR_OTHERS = 1  # to see this worker's port, which is closed until TensorFlow opens it again

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cluster:
    """All workers and which of them this is; the first is the chief, the one that writes the run folder."""

    addresses: tuple[str, ...]
    """host:port of each."""
    index: int

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    @property
    def is_alone(self) -> bool:
        return len(self.addresses) < 2


ALONE = Cluster((), 0)


def from_environment() -> Cluster:
    """The workers that the environment names; `ALONE` if it names no other than this one.

    Raises `InputError` if it cannot be understood.
    """
    text = os.environ.get("TF_CONFIG") or _tf_config_of_indexed_job()
    if not text:
        return ALONE
    try:
        config = json.loads(text)
        groups = config.get("cluster", {})
        chiefs, workers = list(groups.get("chief", [])), list(groups.get("worker", []))
        if len(chiefs) + len(workers) < 2 and set(groups) <= {"chief", "worker"}:
            return ALONE
        kind, number = config["task"]["type"], int(config["task"]["index"])
        own_group = {"chief": chiefs, "worker": workers}[kind]
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(f"TF_CONFIG: cannot be understood ({type(error).__name__}: {error}): {text}") from None
    addresses = (*chiefs, *workers)
    if set(groups) - {"chief", "worker"} or len(chiefs) > 1:
        raise InputError("TF_CONFIG: may name one chief and workers; parameter servers and evaluators are not used")
    if not 0 <= number < len(own_group):
        raise InputError(f"TF_CONFIG: task {kind} {number} is not one of the {len(own_group)} in the cluster")
    if not all(isinstance(address, str) and address.rpartition(":")[2].isdigit() for address in addresses):
        raise InputError(f"TF_CONFIG: each worker must be host:port; found {', '.join(map(str, addresses))}")
    return Cluster(addresses, number + (len(chiefs) if kind == "worker" else 0))


def _tf_config_of_indexed_job() -> str:
    """`TF_CONFIG` as it would be in this pod, whose number comes from Kubernetes, the addresses from the manifest."""
    workers, index = os.environ.get("JOB_WORKERS"), os.environ.get("JOB_COMPLETION_INDEX")
    if not workers:
        return ""
    if index is None:
        raise InputError("JOB_COMPLETION_INDEX: is missing beside JOB_WORKERS; is the Job's completionMode Indexed?")
    return json.dumps({"cluster": {"worker": workers.split(",")}, "task": {"type": "worker", "index": index}})


def wait_for_peers(cluster: Cluster, timeout_seconds: float) -> None:
    """Returns when every other worker's port has taken a connection.

    Until then this worker's own port does, and afterwards TensorFlow's. Raises `PeerLostError` after the timeout.
    """
    deadline = time.monotonic() + timeout_seconds
    missing = [address for place, address in enumerate(cluster.addresses) if place != cluster.index]
    own = cluster.addresses[cluster.index]
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        is_listening, told_at = False, -1e9
        while True:
            if not is_listening:
                is_listening = _listen(listener, int(own.rpartition(":")[2]))
            missing = [address for address in missing if not _answers(address)]
            if is_listening and not missing:
                time.sleep(_SECONDS_FOR_OTHERS)
                return
            awaited = f"workers {', '.join(missing)}" if missing else f"port {own} to become free"
            if time.monotonic() > deadline:
                raise PeerLostError(
                    f"waited {timeout_seconds:g} s (--cluster-timeout) for {awaited}; start all workers again"
                )
            if time.monotonic() - told_at > 30:
                _log.info("waiting for %s", awaited)
                told_at = time.monotonic()
            time.sleep(0.2)


def _listen(listener: socket.socket, port: int) -> bool:
    try:
        listener.bind(("", port))
        listener.listen(128)
    except OSError:  # an earlier worker may still be ending
        return False
    return True


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def supervise(arguments: list[str], timeout_seconds: float) -> int:
    """Runs `python -m trainer` with `arguments` as a worker and returns its exit code.

    Ends the worker, and raises `PeerLostError`, if TensorFlow has not joined the workers after the timeout, or if it
    has aborted the process, as it does at times when a peer is lost. SIGTERM is passed on; `StoppedError` is raised if
    the worker cannot take it.
    """
    read_end, write_end = os.pipe()
    environment = os.environ | {_READY_PIPE: f"{os.getpid()}:{write_end}"}
    command = [sys.executable, "-m", "trainer", *arguments]
    is_stopping = threading.Event()
    with subprocess.Popen(command, env=environment, pass_fds=[write_end]) as worker:
        previous = signal.signal(signal.SIGTERM, lambda *_: is_stopping.set())
        try:
            os.close(write_end)
            _wait_until_joined(worker, read_end, timeout_seconds, is_stopping)
            is_told = False
            while worker.poll() is None:
                if is_stopping.is_set() and not is_told:
                    worker.terminate()
                    is_told = True
                time.sleep(0.1)
        except KeyboardInterrupt:  # a terminal sends it to both processes
            worker.wait()
        except BaseException:
            worker.kill()
            raise
        finally:
            signal.signal(signal.SIGTERM, previous)
            os.close(read_end)
    if worker.returncode in (-signal.SIGABRT, -signal.SIGSEGV):
        raise PeerLostError("TensorFlow ended this worker, as it does when a peer is lost; start all workers again")
    return worker.returncode if worker.returncode >= 0 else 128 - worker.returncode


def _wait_until_joined(
    worker: subprocess.Popen, read_end: int, timeout_seconds: float, is_stopping: threading.Event
) -> None:
    deadline, state = None, b""
    while state != JOINED and worker.poll() is None:
        ready, _, _ = select.select([read_end], [], [], 0.1)
        if ready:
            state = os.read(read_end, 1)
            if not state:  # the worker is ending
                return
            deadline = time.monotonic() + timeout_seconds
        if is_stopping.is_set() and state != JOINED:
            raise StoppedError
        if deadline and state == JOINING and time.monotonic() > deadline:
            raise PeerLostError(f"the workers did not join within {timeout_seconds:g} s; start all workers again")


def is_supervised() -> bool:
    return _READY_PIPE in os.environ


def tell_supervisor(state: bytes) -> None:
    """Tells the supervisor, if there is one, how far this worker is; from the first time on ends with it."""
    if not is_supervised():
        return
    parent, _, pipe = os.environ[_READY_PIPE].partition(":")
    if state == JOINING:
        end_with(int(parent))
    os.write(int(pipe), state)
