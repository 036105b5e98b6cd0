"""The run folder: the files of a run, under fixed names, and the run's state.

One rule: compare-and-swap on the state file; who loses stops. In a bucket, each job that starts first writes its turn
into `run.json`, and only the job whose turn stands there may write. On a disk, a lock lets only one job start.
"""

import io
import json
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from common import config_io, storage
from common.dataset.schema import Schema, characters
from common.errors import InputError
from common.storage import remove, write_atomically
from trainer.config import settings as configs
from trainer.config.settings import TrainConfig

if TYPE_CHECKING:
    from cloudpathlib import GSPath

    from common.storage.paths import AnyPath

CONFIG = "config.yaml"
RUN = "run.json"
METRICS_BY_EPOCH = "metrics.jsonl"
TIMINGS_BY_EPOCH = "timings.jsonl"
METRICS = "metrics.json"
CHECKPOINTS = "checkpoints"
LOGS = "logs"
CURVES = "curves.png"
REPORT = "report/index.html"
AUGMENTATION = "augmentation.png"
PREDICTIONS = "predictions.npz"
TRAINED_ON = "trained_on.npy"
ANCESTRY = "ancestry.npz"
SAVED_MODEL = "model"
KERAS_MODEL = "model.keras"
FORMATS = "formats"

COMPLETED = "completed"

_BEFORE_CONFIG = (RUN, f".{RUN}", f".{CONFIG}")
"""Beginnings of the names of files that a job may leave if it ends before it has written `config.yaml`."""
_BY_EPOCH = (METRICS_BY_EPOCH, TIMINGS_BY_EPOCH)
_FINAL = (METRICS, CURVES, REPORT, PREDICTIONS, SAVED_MODEL, KERAS_MODEL)


def is_complete(folder: Path, config: TrainConfig, data_fingerprint: str) -> bool:
    """Whether the folder holds this very run, complete. Changes nothing.

    Raises `InputError` if the folder holds another run, or files that are not a run's.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; --run-dir takes a folder")
    if (folder / CONFIG).exists():
        changed = configs.differences(configs.read(folder / CONFIG), config)
        if changed:
            raise InputError(f"{folder}: holds another run (other {', '.join(changed)}); give another --run-dir")
        run = _read_run(folder)
        if run.get("data_fingerprint", data_fingerprint) != data_fingerprint:
            raise InputError(f"{folder}: holds a run on other data; give another --run-dir")
        return run.get("exit_reason") == COMPLETED and all((folder / name).exists() for name in _BY_EPOCH + _FINAL)
    if folder.exists() and any(path for path in folder.iterdir() if not path.name.startswith(_BEFORE_CONFIG)):
        raise InputError(f"{folder}: is not empty and holds no run; give another --run-dir")
    return False


def is_completed(folder: "AnyPath") -> bool:
    """Whether the folder holds a completed run, whichever it is."""
    return _read_run(folder).get("exit_reason") == COMPLETED


def take_turn(folder: "GSPath") -> str:
    """Takes over the right to write a run folder in a bucket from any other job; returns the turn, a unique id."""
    turn = uuid4().hex
    while True:
        seen = storage.read_versioned(folder / RUN)
        run = _parse_run(folder, seen.content) | {"turn": turn, "ended": None, "exit_reason": None}
        if storage.compare_and_swap(folder / RUN, _to_json(run), seen):
            return turn


def whose_turn(folder: "GSPath") -> str | None:
    """The turn that was taken last; None if the folder has none."""
    return _read_run(folder).get("turn")


def begin(folder: Path, config: TrainConfig, run_info: dict[str, Any]) -> None:
    """Prepares the folder for a run, new or resumed: removes the final results, keeps checkpoints and history.

    `run_info` goes into `run.json`.
    """
    # Written first: with it, the folder counts as a run folder, however early the process ends.
    write_atomically(folder / CONFIG, configs.to_yaml(config))
    for name in _FINAL:
        remove(folder / name)
        remove(folder / f"incomplete-{name}")
    earlier = _read_run(folder)
    starts = [*earlier.get("starts", []), _now()]
    turn = {"turn": earlier["turn"]} if "turn" in earlier else {}
    write_json(folder / RUN, run_info | turn | {"starts": starts, "ended": None, "exit_reason": None})


def truncate_history(folder: Path, epochs: list[dict[str, Any]]) -> None:
    """Cuts the files of one line an epoch back to `epochs`, as a resumed training has them."""
    lines = (json.dumps(epoch) + "\n" for epoch in epochs)
    write_atomically(folder / METRICS_BY_EPOCH, "".join(lines).encode())
    timings = folder / TIMINGS_BY_EPOCH
    kept = timings.read_text().splitlines(keepends=True)[: len(epochs)] if timings.exists() else []
    write_atomically(timings, "".join(kept).encode())


def mark_finished(folder: Path, exit_reason: str) -> None:
    """Records how the run ended; only the reason `COMPLETED` makes it complete."""
    write_json(folder / RUN, _read_run(folder) | {"ended": _now(), "exit_reason": exit_reason})


def _read_run(folder: "AnyPath") -> dict[str, Any]:
    try:
        return _parse_run(folder, storage.read(folder / RUN))
    except FileNotFoundError:
        return {}


def _parse_run(folder: "AnyPath", content: bytes | None) -> dict[str, Any]:
    """The content of `run.json`; empty if there is none."""
    try:
        return dict(json.loads(b"{}" if content is None else content))
    except (ValueError, TypeError):
        raise InputError(f"{folder / RUN}: is damaged; give another --run-dir, or remove this folder") from None


@dataclass(frozen=True)
class Results:
    """The results of a finished run."""

    folder: "AnyPath"
    config: TrainConfig
    run_info: dict[str, Any]
    """`run.json`."""
    epochs: list[dict[str, Any]]
    """`metrics.jsonl`."""
    timings: list[dict[str, Any]]
    metrics: dict[str, Any]
    """`metrics.json`."""
    predictions: dict[str, np.ndarray]
    """The task's predictions of the test split, in the order of its shards, before calibration."""

    @property
    def schema(self) -> Schema:
        """The schema of the dataset. Runs of versions without schemas are of characters."""
        if "schema" in self.run_info:
            return config_io.from_plain(Schema, self.run_info["schema"], str(self.folder / RUN))
        return characters(tuple(self.run_info["class_names"]))

    def left_out(self, split: str) -> np.ndarray:
        """The numbers in a split, int64 [M], of the examples that its figures leave out."""
        return np.array(self.metrics.get("left_out", {}).get(split, {}).get("numbers", ()), np.int64)


def read_results(folder: "AnyPath") -> Results:
    """Reads the results of a run folder. Raises `InputError` if they are missing or damaged."""
    if not (folder / METRICS).is_file():
        raise InputError(f"{folder}: holds no finished run (there is no {METRICS})")
    path = folder
    try:
        path = folder / METRICS
        metrics = json.loads(path.read_bytes())
        by_epoch = []
        for name in _BY_EPOCH:
            path = folder / name
            by_epoch.append([json.loads(line) for line in path.read_text().splitlines()])
        path = folder / PREDICTIONS
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            predictions = dict(file)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read ({error}); train again") from None
    return Results(folder, configs.read(folder / CONFIG), _read_run(folder), *by_epoch, metrics, predictions)


def write_json(path: "AnyPath", data: Any) -> None:
    write_atomically(path, _to_json(data))


def _to_json(data: Any) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()


def write_predictions(path: "AnyPath", predictions: dict[str, np.ndarray]) -> None:
    """Predictions before calibration, as an archive that `np.load` reads; fractions as float32."""
    content = io.BytesIO()
    parts = {
        name: values.astype(np.float32) if values.dtype.kind == "f" else values for name, values in predictions.items()
    }
    np.savez_compressed(content, **parts)
    write_atomically(path, content.getvalue())


def write_hashes(path: "AnyPath", hashes: np.ndarray) -> None:
    """Writes pixel hashes, uint64 [N], as an .npy file."""
    content = io.BytesIO()
    np.save(content, hashes)
    write_atomically(path, content.getvalue())


def read_hashes(path: "AnyPath") -> np.ndarray | None:
    """What `write_hashes` wrote; None if there is no such file. Raises `InputError` if it is damaged."""
    content = storage.read_versioned(path).content
    try:
        return None if content is None else np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: is damaged ({error}); train again") from None


def append_json_line(path: Path, data: Any) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(data) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
