"""Several workers of a training on this machine."""

import json
import socket


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tf_config(kind: str, index: int, **groups: list[str]) -> str:
    return json.dumps({"cluster": groups, "task": {"type": kind, "index": index}})
