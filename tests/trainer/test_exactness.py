"""The same training gives the same bits: started again, killed and gone on with, or shared among devices or workers."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support import ROOT
from tests.support.commands import run_command
from tests.support.workers import free_port, tf_config

# Every part of the training state is in use. A high learning rate would make a chaos of differences by rounding.
EVERYTHING = {
    "model": "strong",
    "strong": {"filters": [8, 16, 16]},
    "steps": 70,
    "global_batch_size": 96,
    "optimizer": "adamw",
    "learning_rate": 3e-4,
    "schedule": "one_cycle",
    "weight_decay": 0.05,
    "clip_norm": 1.0,
    "label_smoothing": 0.1,
    "class_weights": "balanced",
    "ema_decay": 0.99,
    "select": "best",
    "early_stopping_epochs": 9,
    "augmentation": ["random_patch", "rotate", "scale", "shear", "shift", "elastic", "erase"],
    "checkpoint_steps": 9,
    "steps_per_call": 2,
}


@pytest.fixture(scope="module")
def command(synthetic_digits, tmp_path_factory) -> list[str]:
    recipe = tmp_path_factory.mktemp("recipe") / "everything.yaml"
    recipe.write_text(yaml.safe_dump(EVERYTHING))
    return ["trainer", "train", "--data", str(synthetic_digits), "--config", str(recipe)]


@pytest.fixture(scope="module")
def uninterrupted(command, tmp_path_factory) -> Path:
    return run_whole(command, tmp_path_factory.mktemp("runs") / "uninterrupted")


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
    while not any(int(path.stem.removeprefix("step-")) >= step for path in folder.glob("checkpoints/step-*.npz")):
        assert training.poll() is None, training.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_same_results(one: Path, other: Path) -> None:
    for name in ("metrics.jsonl", "metrics.json"):
        assert (one / name).read_text() == (other / name).read_text(), name
    for name in ("predictions.npz", *sorted(path.name for path in (one / "checkpoints").iterdir())):
        path = name if name.startswith("predictions") else f"checkpoints/{name}"
        with np.load(one / path) as left, np.load(other / path) as right:
            assert left.files == right.files
            for part in left.files:
                if part != "state":  # it has the seconds spent
                    np.testing.assert_array_equal(left[part], right[part], err_msg=f"{name} {part}")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(command, uninterrupted, tmp_path):
    assert_same_results(uninterrupted, run_whole(command, tmp_path / "again"))


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_bits(command, uninterrupted, tmp_path):
    folder = tmp_path / "killed"
    for step in (9, 36, 63):
        with start(command, folder) as training:
            wait_for_step(folder, step, training)
            time.sleep(random.uniform(0, 0.4))
            training.kill()
    assert_same_results(uninterrupted, run_whole(command, folder))
    assert len(json.loads((folder / "run.json").read_text())["starts"]) >= 2


@pytest.mark.slow
def test_sigterm_saves_ends_with_143_and_it_goes_on_to_the_same_bits(command, uninterrupted, tmp_path):
    folder = tmp_path / "stopped"
    for step in (9, 45):
        with start(command, folder) as training:
            wait_for_step(folder, step, training)
            training.send_signal(signal.SIGTERM)
            asked_at = time.monotonic()
            rest = training.stderr.read()
            assert training.wait() == 143
        assert time.monotonic() - asked_at < 10
        assert rest.splitlines()[-1] == "error: stopped by SIGTERM"
        assert "Traceback" not in rest
        assert json.loads((folder / "run.json").read_text())["exit_reason"] == "StoppedError"
        assert not (folder / "model").exists()
    assert_same_results(uninterrupted, run_whole(command, folder))


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(command, uninterrupted, tmp_path):
    folder = tmp_path / "damaged"
    with start(command, folder) as training:
        wait_for_step(folder, 27, training)
        training.kill()
    last = sorted(folder.glob("checkpoints/*.npz"))[-1]
    last.write_bytes(last.read_bytes()[:-500])
    done = run_command(*command, "--run-dir", str(folder))
    assert done.returncode == 0, done.stderr
    assert f"{last}: is damaged" in done.stderr
    assert "going on from step" in done.stderr
    assert_same_results(uninterrupted, folder)


@pytest.mark.slow
def test_two_devices_train_like_one(command, tmp_path):
    one, two = (
        run_whole([*command, "--steps", "10"], tmp_path / str(count), "--num-virtual-devices", str(count))
        for count in (1, 2)
    )
    assert_nearly_same(one, two)


@pytest.mark.slow
def test_a_streamed_training_is_exact_too(command, tmp_path):
    flags = ("--in-memory-limit-mb", "0", "--shuffle-buffer-examples", "700", "--num-virtual-devices", "2")
    whole = run_whole(command, tmp_path / "whole", *flags)
    folder = tmp_path / "killed"
    with start(command, folder, *flags) as training:
        wait_for_step(folder, 27, training)
        training.kill()
    assert_same_results(whole, run_whole(command, folder, *flags))


def assert_nearly_same(one: Path, other: Path) -> None:
    for name in ("metrics.jsonl", "metrics.json"):
        assert (one / name).read_text().count("\n") == (other / name).read_text().count("\n")
    for line, other_line in zip(read_lines(one), read_lines(other), strict=True):
        assert other_line["train"]["num_examples"] == line["train"]["num_examples"]
        for split in ("train", "validation"):
            assert other_line[split]["loss"] == pytest.approx(line[split]["loss"], rel=1e-5)
    last = sorted((one / "checkpoints").iterdir())[-1].name
    with np.load(one / "checkpoints" / last) as left, np.load(other / "checkpoints" / last) as right:
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


@pytest.mark.slow
def test_two_workers_train_like_one_process_and_only_the_chief_writes(command, tmp_path):
    flags = ("--steps", "10")
    one = run_whole(command, tmp_path / "one", *flags)
    errors = finish(start_workers(command, tmp_path / "two", *flags))
    assert "MultiWorkerMirroredStrategy on 2 workers, of which this is number 0" in errors[0]
    assert "SavedModel" in errors[0]
    assert "SavedModel" not in errors[1]
    assert_nearly_same(one, tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".one.lock", ".two.lock", "one", "two"]


@pytest.mark.slow
def test_when_a_worker_is_killed_the_others_end_with_75_and_all_go_on_to_the_same_bits(command, tmp_path):
    whole = tmp_path / "whole"
    finish(start_workers(command, whole))
    for killed in (0, 1):
        folder = tmp_path / f"killed-{killed}"
        workers = start_workers(command, folder)
        wait_for_step(folder, 18, workers[killed])
        workers[killed].kill()
        killed_at = time.monotonic()
        _, error = workers[1 - killed].communicate(timeout=60)
        assert workers[1 - killed].returncode == 75, error
        assert time.monotonic() - killed_at < 30
        assert "start all workers again" in error.splitlines()[-1]
        workers[killed].communicate()
        errors = finish(start_workers(command, folder))
        assert "going on from step" in errors[0]
        assert_same_results(whole, folder)


@pytest.mark.slow
def test_sigterm_to_one_worker_stops_all_at_the_same_step(command, tmp_path):
    workers = start_workers(command, tmp_path / "run")
    wait_for_step(tmp_path / "run", 18, workers[1])
    workers[1].send_signal(signal.SIGTERM)
    errors = [worker.communicate(timeout=30)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [143, 143], errors
    finish(start_workers(command, tmp_path / "run"))
