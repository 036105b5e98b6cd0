"""Monitors a training: a bar or log lines, the lines of `timings.jsonl`, a profile."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tqdm import tqdm

from trainer.config.settings import TrainConfig
from trainer.runs import run_folder
from trainer.training.checkpoints import Progress
from trainer.training.epochs import Plan

_SECONDS_BETWEEN_LINES = 60
_PROFILED_STEPS = 20

_log = logging.getLogger(__name__)


class Pace:
    """The speed of a training: a bar on a terminal, a line each minute in a log, and the lines of `timings.jsonl`."""

    def __init__(
        self, config: TrainConfig, plan: Plan, progress: Progress, accuracy_in_words: Callable[[float], str]
    ) -> None:
        self._plan, self._progress, self._accuracy_in_words = plan, progress, accuracy_in_words
        self._num_epochs = config.epochs
        self.start_of_epoch()

    def number_of(self, epoch: int) -> str:
        return f"{epoch}/{self._num_epochs}" if self._num_epochs else str(epoch)

    def start_of_epoch(self) -> None:
        self._began = self._told_at = time.monotonic()
        self._steps, self._waited, self._seconds = 0, 0.0, 0.0
        self._processor_began = time.process_time()
        progress, batch = self._progress, self._plan.global_batch_size
        self._epoch = len(progress.epochs) + 1
        start = progress.step - progress.num_examples // batch
        self._bar = tqdm(
            total=(self._plan.end_of_epoch(self._epoch) - start) * batch,
            initial=progress.num_examples,
            unit=" examples",
            unit_scale=True,
            leave=False,
            disable=progress.is_finished or None,  # None: disabled without a terminal
            desc=f"epoch {self.number_of(self._epoch)}",
            dynamic_ncols=True,
        )

    def waited(self, seconds: float) -> None:
        """Adds to the time spent waiting for data."""
        self._waited += seconds

    def took(self, steps: int) -> None:
        progress = self._progress
        self._steps += steps
        loss = progress.loss_sum / progress.num_examples
        accuracy = self._accuracy_in_words(progress.accuracy)
        self._bar.update(steps * self._plan.global_batch_size)
        self._bar.set_postfix_str(f"loss {loss:.3f} {accuracy}", refresh=False)
        if self._bar.disable and time.monotonic() - self._told_at > _SECONDS_BETWEEN_LINES:
            self._told_at = time.monotonic()
            where = f"{progress.num_examples / self._bar.total:.0%} of epoch {self.number_of(self._epoch)}"
            _log.info("%s  step %d  train loss %.4f %s", where, progress.step, loss, accuracy)

    def end_of_epoch(self) -> None:
        self._bar.close()
        self._seconds = time.monotonic() - self._began
        self._processor_seconds = time.process_time() - self._processor_began

    def of_epoch(self, epoch: int) -> dict[str, Any]:
        """The epoch's line of `timings.jsonl`; it covers only what this process has done of the epoch."""
        examples = self._steps * self._plan.global_batch_size
        return {
            "epoch": epoch,
            "num_examples": examples,
            "seconds": self._seconds,
            "processor_seconds": self._processor_seconds,
            "examples_per_second": examples / self._seconds if examples else 0.0,
            "waiting_for_data": self._waited / self._seconds if examples else 0.0,
        }


class Profile:
    """Writes a TensorFlow profile of some steps to `run_dir`, unless that is None."""

    def __init__(self, run_dir: Path | None) -> None:
        self._run_dir, self._steps, self._is_on = run_dir, 0, False

    def __enter__(self) -> "Profile":
        return self

    def took(self, steps: int) -> None:
        if self._run_dir and self._steps == 0:
            tf.profiler.experimental.start(str(self._run_dir / run_folder.LOGS))
            self._is_on = True
        self._steps += steps
        if self._steps > _PROFILED_STEPS:
            self._end()

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._is_on:
            tf.profiler.experimental.stop()
            self._is_on = False
            _log.info("profile       %s", self._run_dir / run_folder.LOGS)
