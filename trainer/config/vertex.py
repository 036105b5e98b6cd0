"""The output folders that Vertex AI sets as environment variables: parts of one run folder.

https://cloud.google.com/vertex-ai/docs/training/code-requirements#environment-variables
"""

import os

from common.errors import InputError

_MODEL, _EVENTS = "AIP_MODEL_DIR", "AIP_TENSORBOARD_LOG_DIR"
_PARTS = {_MODEL: "model", "AIP_CHECKPOINT_DIR": "checkpoints", _EVENTS: "logs"}


def run_dir() -> str | None:
    """The run folder that the job must write; None outside of Vertex AI.

    Raises `InputError` if the variables do not name the parts of one run folder.
    """
    wanted = {name: os.environ[name].rstrip("/") for name in _PARTS if os.environ.get(name)}
    if _MODEL not in wanted:
        return None
    run_dir = wanted[_MODEL].rpartition("/")[0]
    for name, folder in wanted.items():
        if folder != f"{run_dir}/{_PARTS[name]}":
            raise InputError(f"{name}={folder}: must be {_PARTS[name]} beside the model; or give --run-dir")
    return run_dir


def event_folder() -> str | None:
    """Where Vertex AI's TensorBoard looks for event files, if there is one."""
    return os.environ.get(_EVENTS, "").rstrip("/") or None
