"""Helpers for several training workers on this machine."""

import json
import secrets
import socket


def free_port() -> int:
    """A free port below the ephemeral range, so that no connection takes it before the server does."""
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
