"""What else happens as a training goes on, on the chief: each hook is called at the same places of the loop."""

from pathlib import Path
from typing import Any

import numpy as np

from trainer.runs import run_folder
from trainer.runs.uploader import Uploader
from trainer.training import checkpoints
from trainer.training.checkpoints import Progress, Weights


class Hook:
    """Does nothing anywhere; hooks do something somewhere."""

    def on_steps(self, first_step: int, losses: np.ndarray, learning_rate: float) -> None:
        """After each block: the mean loss of each of its steps."""

    def on_epoch(self, line: dict[str, Any], timing: dict[str, Any]) -> None:
        """At the end of each epoch: its lines of `metrics.jsonl` and `timings.jsonl`."""

    def on_save(self, progress: Progress, weights: Weights) -> None:
        """Where a training that goes on later would have to begin."""


class EpochLog(Hook):
    """Appends the lines to their files in the run folder."""

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
    """Waits at a checkpoint if the bucket is far behind the run folder."""

    def __init__(self, uploader: Uploader) -> None:
        self._mirror = uploader

    def on_save(self, progress: Progress, weights: Weights) -> None:
        self._mirror.throttle()
