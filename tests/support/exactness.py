"""Trainings that are interrupted, or shared among devices and workers, and the comparison of what they leave."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import StoppedError
from tests.support import ROOT
from tests.support.commands import run_command
from tests.support.workers import free_port, tf_config
from trainer import train
from trainer.config.settings import TrainConfig
from trainer.data.feeds import StepBlock
from trainer.training import training_step
from trainer.training.training_step import Outcome, TrainSteps


def train_here(config: TrainConfig, folder: Path) -> Path:
    return Path(train.run(replace(config, run_dir=str(folder))))


class Killed(BaseException):
    """Stands for kill -9: after it, nothing is saved."""


def kill() -> None:
    raise Killed


def stop() -> None:
    signal.raise_signal(signal.SIGTERM)


def interrupt(config: TrainConfig, folder: Path, step: int, how: Callable[[], None]) -> int:
    """Trains until `how` ends it, which is called as soon as `step` is taken; returns the last checkpoint's step, or 0.

    Upon `stop`, one more block is made, as the training looks at signals before each.
    """
    make_train_steps = training_step.make_train_steps

    def make(*arguments) -> TrainSteps:
        train_steps = make_train_steps(*arguments)

        def take(block: StepBlock, *others) -> Outcome:
            outcome = train_steps(block, *others)
            if block.first_step < step <= block.first_step + block.count:
                how()
            return outcome

        return take

    with pytest.MonkeyPatch.context() as patch, pytest.raises((Killed, StoppedError)):
        patch.setattr(training_step, "make_train_steps", make)
        train_here(config, folder)
    return last_step(folder)


def last_step(folder: Path) -> int:
    """That of the last checkpoint, or 0."""
    return max((int(path.stem.removeprefix("step-")) for path in folder.glob("checkpoints/step-*.npz")), default=0)


def assert_same_results(first: Path, second: Path) -> None:
    for name in ("metrics.jsonl", "metrics.json"):
        assert (first / name).read_text() == (second / name).read_text(), name
    assert last_step(first) == last_step(second)
    # The one before may be where it was interrupted.
    in_both = set.intersection(*({path.name for path in (run / "checkpoints").iterdir()} for run in (first, second)))
    for name in ("predictions.npz", *(f"checkpoints/{name}" for name in in_both)):
        with np.load(first / name) as left, np.load(second / name) as right:
            assert left.files == right.files
            for part in left.files:
                if part == "state":
                    assert read_state(left) == read_state(right)
                else:
                    np.testing.assert_array_equal(left[part], right[part], err_msg=f"{name} {part}")


def read_state(checkpoint: np.lib.npyio.NpzFile) -> dict:
    """Without what a clock has measured."""
    return json.loads(checkpoint["state"].tobytes()) | {"seconds": None}


def run_whole(command: list[str], folder: Path, *flags: str) -> Path:
    done = run_command(*command, "--run-dir", str(folder), *flags)
    assert done.returncode == 0, done.stderr
    return folder


def start(command: list[str], folder: Path, *flags: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", *command, "--run-dir", str(folder), *flags],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(folder: Path, step: int, training: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while last_step(folder) < step:
        assert training.poll() is None, training.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_nearly_same(first: Path, second: Path) -> None:
    for name in ("metrics.jsonl", "metrics.json"):
        assert (first / name).read_text().count("\n") == (second / name).read_text().count("\n")
    for line, other_line in zip(read_lines(first), read_lines(second), strict=True):
        assert other_line["train"]["num_examples"] == line["train"]["num_examples"]
        for split in line.keys() & {"train", "validation"}:
            assert other_line[split]["loss"] == pytest.approx(line[split]["loss"], rel=1e-5)
    last = sorted((first / "checkpoints").iterdir())[-1].name
    with np.load(first / "checkpoints" / last) as left, np.load(second / "checkpoints" / last) as right:
        for part in left.files:
            if part.startswith(("network", "average")):
                np.testing.assert_allclose(right[part], left[part], atol=2e-4, err_msg=part)


def read_lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def start_workers(command: list[str], folder: Path, *flags: str) -> list[subprocess.Popen]:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    tasks = (("chief", 0), ("worker", 0))
    groups = {"chief": addresses[:1], "worker": addresses[1:]}
    return [start(command, folder, *flags, TF_CONFIG=tf_config(*task, **groups)) for task in tasks]


def finish(workers: list[subprocess.Popen]) -> list[str]:
    errors = [worker.communicate(timeout=180)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    return errors
