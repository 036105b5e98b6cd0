"""The run folder: what a run leaves behind, under fixed names, and whether it is done already."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from preprocess import dataclass_io
from preprocess.errors import InputError
from preprocess.storage import remove, write_atomically
from trainer import config as configs
from trainer.config import TrainConfig

CONFIG = "config.yaml"
RUN = "run.json"
METRICS_BY_EPOCH = "metrics.jsonl"
TIMINGS_BY_EPOCH = "timings.jsonl"
METRICS = "metrics.json"
CURVES = "curves.png"
PREDICTIONS = "predictions.npz"
SAVED_MODEL = "model"
KERAS_MODEL = "model.keras"

COMPLETED = "completed"

_RESULTS = (METRICS_BY_EPOCH, TIMINGS_BY_EPOCH, METRICS, CURVES, PREDICTIONS, SAVED_MODEL, KERAS_MODEL)


def start(folder: Path, config: TrainConfig, facts: dict[str, Any]) -> bool:
    """Makes the folder ready for a run and returns True, or returns False if this very run is complete there.

    `facts` go into `run.json`; the one named `data_fingerprint` tells runs on other data apart. What an interrupted
    run left is removed. Raises `InputError` if the folder holds another run, or files that are not a run's.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; --run-dir takes a folder")
    if (folder / CONFIG).exists():
        found = configs.read(folder / CONFIG)
        if not configs.same_run(found, config):
            asked, there = dataclass_io.to_plain(config), dataclass_io.to_plain(found)
            changed = [name for name in asked if asked[name] != there[name] and name not in ("data", "run_dir")]
            raise InputError(f"{folder}: holds another run (other {', '.join(changed)}); give another --run-dir")
        fingerprint, exit_reason = _state(folder)
        if fingerprint not in (None, facts["data_fingerprint"]):
            raise InputError(f"{folder}: holds a run on other data; give another --run-dir")
        if exit_reason == COMPLETED and all((folder / name).exists() for name in _RESULTS):
            return False
        # The configuration stays: with it, however early this is ended, the folder is known to be a run's.
        for name in (RUN, *_RESULTS):
            remove(folder / name)
            remove(folder / f"incomplete-{name}")
    elif folder.exists() and any(path for path in folder.iterdir() if not path.name.startswith(f".{CONFIG}")):
        raise InputError(f"{folder}: is not empty and holds no run; give another --run-dir")
    write_atomically(folder / CONFIG, configs.to_yaml(config))
    write_json(folder / RUN, facts | {"started": _now(), "ended": None, "exit_reason": None})
    return True


def _state(folder: Path) -> tuple[str | None, str | None]:
    """The data fingerprint and the exit reason of the run in `folder`, None where they are not known yet."""
    path = folder / RUN
    if not path.exists():
        return None, None
    try:
        run = json.loads(path.read_bytes())
        return run["data_fingerprint"], run["exit_reason"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: is damaged; give another --run-dir, or remove this folder") from None


def end(folder: Path, exit_reason: str) -> None:
    """Records how the run ended; only `COMPLETED` makes it done."""
    run = json.loads((folder / RUN).read_bytes())
    write_json(folder / RUN, run | {"ended": _now(), "exit_reason": exit_reason})


def write_json(path: Path, data: Any) -> None:
    write_atomically(path, (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())


def append_json_line(path: Path, data: Any) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(data) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
