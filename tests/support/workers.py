"""Several workers of a training on this machine."""

import json
import secrets
import socket


def free_port() -> int:
    """Below the ports that the system gives to connections: none of these takes it before its server does."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def tf_config(kind: str, index: int, **groups: list[str]) -> str:
    return json.dumps({"cluster": groups, "task": {"type": kind, "index": index}})
