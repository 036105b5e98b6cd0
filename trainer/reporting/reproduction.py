"""The command that makes a finished run again."""

import dataclasses
import shlex
from typing import Any

from common import cli
from common.dataset import manifest as manifests
from trainer.runs.run_folder import Results

_SYNTHETIC = "synthetic"
_NO_FLAGS = ("dataset", "files", "excluded_hashes")


def command(results: Results) -> str:
    """What does all of it again, for a shell; where source files lie, only their owner knows."""
    request = results.run_info["dataset"]
    data = str(manifests.dataset_folder("data", request["dataset"]))
    train = dataclasses.replace(results.config, data=data, run_dir="runs/again")
    steps = [
        ["git", "checkout", results.run_info["commit"]],
        ["python", "-m", "preprocess", *_preprocess_flags(request)],
        ["python", "-m", "trainer", "train", *cli.to_flags(train)],
    ]
    return " && \\\n".join(map(shlex.join, steps))


def _preprocess_flags(request: dict[str, Any]) -> list[str]:
    """The flags of `python -m preprocess` that make a dataset's `Request`, whatever their defaults may become."""
    dataset = request["dataset"]
    source = _SYNTHETIC if dataset.startswith(f"{_SYNTHETIC}/") else "SOURCE"
    flags = ["--dataset", dataset, "--source", source, "--data-dir", "data"]
    for name, value in request.items():
        if name in _NO_FLAGS or value is None or value is False:
            continue
        values = () if value is True else value if isinstance(value, (list, tuple)) else (value,)
        flags += [f"--{name.replace('_', '-')}", *map(str, values)]
    return flags
