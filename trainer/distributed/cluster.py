"""Multi-worker membership: reads the cluster from the environment, and waits for all peers.

`TF_CONFIG` (https://www.tensorflow.org/guide/distributed_training#TF_CONFIG) names the workers; in an Indexed Job of
Kubernetes, `JOB_WORKERS` and `JOB_COMPLETION_INDEX` do. TensorFlow's call that joins the workers blocks until every
peer connects, ignores signals and timeouts, and does not say who is missing. So the peers' ports are probed first.
"""

import json
import logging
import os
import socket
import time
from dataclasses import dataclass

from common.errors import InputError, PeerLostError

_SECONDS_FOR_OTHERS = 1  # to probe this worker's port, which is closed until TensorFlow opens it again

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cluster:
    """All workers, and which of them this process is; the first is the chief, the one that writes the run folder."""

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
    """The cluster that the environment describes; `ALONE` if it names no other worker than this one.

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
    """The `TF_CONFIG` of a pod: its index comes from Kubernetes, the addresses from the manifest."""
    workers, index = os.environ.get("JOB_WORKERS"), os.environ.get("JOB_COMPLETION_INDEX")
    if not workers:
        return ""
    if index is None:
        raise InputError("JOB_COMPLETION_INDEX: is missing beside JOB_WORKERS; is the Job's completionMode Indexed?")
    return json.dumps({"cluster": {"worker": workers.split(",")}, "task": {"type": "worker", "index": index}})


def wait_for_peers(cluster: Cluster, timeout_seconds: float) -> None:
    """Returns when the port of every other worker has accepted a connection.

    Meanwhile this worker's own port accepts theirs; afterwards it is left to TensorFlow. Raises `PeerLostError` after
    the timeout.
    """
    deadline = time.monotonic() + timeout_seconds
    missing = [address for place, address in enumerate(cluster.addresses) if place != cluster.index]
    own = cluster.addresses[cluster.index]
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        is_listening, logged_at = False, -1e9
        while True:
            if not is_listening:
                is_listening = _listen(listener, int(own.rpartition(":")[2]))
            missing = [address for address in missing if not _answers(address)]
            if is_listening and not missing:
                time.sleep(_SECONDS_FOR_OTHERS)
                return
            lacking = f"workers {', '.join(missing)}" if missing else f"port {own} to become free"
            if time.monotonic() > deadline:
                raise PeerLostError(
                    f"waited {timeout_seconds:g} s (--cluster-timeout) for {lacking}; start all workers again"
                )
            if time.monotonic() - logged_at > 30:
                _log.info("waiting for %s", lacking)
                logged_at = time.monotonic()
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
