"""The run folder: what a run leaves behind, under fixed names, and whether it is done already."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from preprocess import dataclass_io
from preprocess.errors import InputError
from preprocess.storage import remove_folder, write_atomically
from trainer import config as configs
from trainer.config import TrainConfig

COMPLETED = "completed"


class RunFolder:
    """The paths in a run folder, and the small files that say how the run stands."""

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.yaml"
        self.run = path / "run.json"
        self.metrics_by_epoch = path / "metrics.jsonl"
        self.timings_by_epoch = path / "timings.jsonl"
        self.metrics = path / "metrics.json"
        self.curves = path / "curves.png"
        self.saved_model = path / "model"
        self.keras_model = path / "model.keras"
        self.predictions = path / "predictions.npz"

    def start(self, config: TrainConfig, facts: dict[str, Any]) -> bool:
        """Makes the folder ready for a run and returns True, or returns False if this very run is complete there.

        `facts` go into `run.json`; the one named `data_fingerprint` tells runs on other data apart. What an interrupted
        run left is removed. Raises `InputError` if the folder holds another run, or files that are not a run's.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: is a file; --run-dir takes a folder")
        if self.run.exists() and self.config.exists():
            found = configs.read(self.config)
            if not configs.same_run(found, config):
                asked, there = dataclass_io.to_plain(config), dataclass_io.to_plain(found)
                changed = [name for name in asked if asked[name] != there[name] and name not in ("data", "run_dir")]
                raise InputError(f"{self.path}: holds another run (other {', '.join(changed)}); give another --run-dir")
            run = json.loads(self.run.read_bytes())
            if run["data_fingerprint"] != facts["data_fingerprint"]:
                raise InputError(f"{self.path}: holds a run on other data; give another --run-dir")
            if run["exit_reason"] == COMPLETED:
                return False
            remove_folder(self.path)
        elif self.path.exists() and any(self.path.iterdir()):
            raise InputError(f"{self.path}: is not empty and holds no run; give another --run-dir")
        self.path.mkdir(parents=True, exist_ok=True)
        self._facts = facts | {"started": _now(), "ended": None, "exit_reason": None}
        # run.json first: a folder with it, however early the run was ended, is known to be ours.
        write_json(self.run, self._facts)
        write_atomically(self.config, configs.to_yaml(config))
        return True

    def end(self, exit_reason: str) -> None:
        """Records how the run ended; only `COMPLETED` makes it done."""
        write_json(self.run, self._facts | {"ended": _now(), "exit_reason": exit_reason})


def write_json(path: Path, data: Any) -> None:
    write_atomically(path, (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())


def append_json_line(path: Path, data: Any) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(data) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
