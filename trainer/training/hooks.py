"""Hooks of the training loop, on the chief: epoch logs, checkpoints, and waiting for uploads."""

from pathlib import Path
from typing import Any

import numpy as np

from trainer.runs import run_folder
from trainer.runs.uploader import Uploader
from trainer.training import checkpoints
from trainer.training.checkpoints import Progress, Weights


class Hook:
    """The interface of a hook. By default, each method does nothing."""

    def on_steps(self, first_step: int, losses: np.ndarray, learning_rate: float) -> None:
        """After each block: the mean loss of each of its steps."""

    def on_epoch(self, line: dict[str, Any], timing: dict[str, Any]) -> None:
        """At the end of each epoch: its lines of `metrics.jsonl` and `timings.jsonl`."""

    def on_save(self, progress: Progress, weights: Weights) -> None:
        """When a checkpoint is due: the state from which a training can be resumed."""


class EpochLog(Hook):
    """Appends each epoch's lines to `metrics.jsonl` and `timings.jsonl` in the run folder."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir

    def on_epoch(self, line: dict[str, Any], timing: dict[str, Any]) -> None:
        run_folder.append_json_line(self._run_dir / run_folder.METRICS_BY_EPOCH, line)
        run_folder.append_json_line(self._run_dir / run_folder.TIMINGS_BY_EPOCH, timing)


class CheckpointSaver(Hook):
    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / run_folder.CHECKPOINTS

    def on_save(self, progress: Progress, weights: Weights) -> None:
        checkpoints.save(self._folder, progress, weights)


class Throttle(Hook):
    """Waits at a checkpoint if the upload to the bucket is far behind the run folder."""

    def __init__(self, uploader: Uploader) -> None:
        self._mirror = uploader

    def on_save(self, progress: Progress, weights: Weights) -> None:
        self._mirror.throttle()
