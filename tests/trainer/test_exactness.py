"""The same training gives the same bits, even if interrupted and resumed, or shared among devices or workers.

That a checkpoint holds the whole state is tested in this process, at many steps: every start builds everything anew
from the configuration and the run folder, and no module of the trainer keeps state from one training to the next. That
processes save, end and resume correctly is tested with a few processes that are killed.
"""

import json
import random
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from common import config_io
from tests.support.datasets import with_splits
from tests.support.exactness import (
    assert_nearly_same,
    assert_same_results,
    finish,
    interrupt,
    kill,
    run_whole,
    start,
    start_workers,
    stop,
    train_here,
    wait_for_step,
)
from tests.support.settings import changed
from trainer import check
from trainer.config import settings as configs
from trainer.config.commands import CheckConfig
from trainer.config.settings import TrainConfig

pytestmark = pytest.mark.xdist_group("alone")

# Every part of the training state is in use. A high learning rate would make a chaos of differences by rounding.
EVERYTHING = {
    "model": "resnet_small",
    "resnet_small": {"filters": [8, 16, 16]},
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
    "checkpoint_minutes": 60.0,  # never: only steps decide
    "checkpoint_steps": 9,
    "steps_per_execution": 2,
    "calibration_pictures": 17,
    "verify_export": False,
}
STREAMED = {"in_memory_limit_mb": 0, "shuffle_buffer_examples": 700, "augmentation": ("rotate",)}
# Other optimizers, whose variables are others, and the last weights in the place of the best.
PLAIN = {"select": "last", "early_stopping_epochs": None, "ema_decay": 0.0, "clip_norm": None, "augmentation": ()}
MOMENTUM = PLAIN | {"model": "dense", "optimizer": "sgd", "schedule": "cosine"}
ADAM = PLAIN | {"model": "cnn", "optimizer": "adam", "schedule": "constant", "steps": 45}


@pytest.fixture(scope="module")
def command(synthetic_digits, tmp_path_factory) -> list[str]:
    recipe = tmp_path_factory.mktemp("recipe") / "everything.yaml"
    recipe.write_text(yaml.safe_dump(EVERYTHING))
    return ["trainer", "train", "--data", str(synthetic_digits), "--config", str(recipe)]


@pytest.fixture(scope="module")
def config(synthetic_digits) -> TrainConfig:
    plain = EVERYTHING | {"data": str(synthetic_digits), "run_dir": ""}
    return config_io.from_plain(TrainConfig, plain, "EVERYTHING")


@pytest.fixture(scope="module")
def uninterrupted(config, tmp_path_factory) -> Path:
    return train_here(config, tmp_path_factory.mktemp("runs") / "uninterrupted")


@pytest.mark.parametrize(
    ("settings", "interruptions"),
    [
        pytest.param(
            {},
            [
                (kill, 5, 0),
                (stop, 37, 37),  # at the end of an epoch, before its validation
                (kill, 56, 54),
                (stop, 70, 70),
            ],
            id="held in memory",
        ),
        pytest.param(STREAMED, [(kill, 20, 18), (stop, 50, 53)], id="streamed"),
        pytest.param({}, [(stop, 1, 4), (stop, 38, 41)], id="at other steps", marks=pytest.mark.thorough),
        pytest.param(
            MOMENTUM, [(stop, 20, 22), (kill, 38, 36), (stop, 69, 70)], id="momentum", marks=pytest.mark.thorough
        ),
        pytest.param(ADAM, [(stop, 10, 13), (stop, 30, 33)], id="adam", marks=pytest.mark.thorough),
    ],
)
def test_interrupted_at_any_step_it_goes_on_to_the_same_bits(config, settings, interruptions, tmp_path, request):
    """Each interruption is how, at which step, and from which checkpoint it goes on."""
    config = changed(config, **settings)
    whole = train_here(config, tmp_path / "whole") if settings else request.getfixturevalue("uninterrupted")
    folder = tmp_path / "interrupted"
    for how, step, goes_on_from in interruptions:
        assert interrupt(config, folder, step, how) == goes_on_from
    assert_same_results(whole, train_here(config, folder))


def test_patience_outlasts_an_interruption(config, tmp_path):
    """In the last epoch, after which it is at an end: accuracy was highest before it."""
    settings = {"steps": None, "epochs": 60, "select": "best", "early_stopping_epochs": 1}
    config = changed(config, **(MOMENTUM | settings | {"schedule": "constant", "learning_rate": 0.02}))
    whole = train_here(config, tmp_path / "whole")
    epochs = (whole / "metrics.jsonl").read_text().splitlines()
    assert 1 < len(epochs) < 60
    folder = tmp_path / "interrupted"
    interrupt(config, folder, json.loads(epochs[-1])["step"] - 9, stop)
    assert_same_results(whole, train_here(config, folder))


@pytest.fixture(scope="module")
def begun(synthetic_digits, tmp_path_factory) -> tuple[TrainConfig, Path]:
    """A training that begins with the weights of another run, and that run's folder; on data without validation."""
    folder = tmp_path_factory.mktemp("begun")
    data = with_splits(synthetic_digits, folder / "data", ("train", "test"))
    settings = MOMENTUM | {"steps": 30, "weight_decay": 0.0, "schedule": "constant", "label_smoothing": 0.0}
    plain = EVERYTHING | settings | {"data": str(data), "run_dir": ""}
    config = config_io.from_plain(TrainConfig, plain, "begun")
    first = train_here(replace(config, steps=10), folder / "first")
    return replace(config, initialize_from=str(first)), first


def test_begun_with_the_weights_of_another_run_it_goes_on_without_that_run(begun, tmp_path):
    config, first = begun
    whole, folder = train_here(config, tmp_path / "whole"), tmp_path / "interrupted"
    assert interrupt(config, folder, 20, stop) == 22
    gone = first.rename(tmp_path / "gone")
    try:
        assert_same_results(whole, train_here(config, folder))
    finally:
        gone.rename(first)
    for name in ("trained_on.npy", "ancestry.npz"):
        assert (whole / name).read_bytes() == (folder / name).read_bytes()


def test_begun_with_the_weights_of_another_run_two_devices_train_like_one(begun, tmp_path):
    config, _ = begun
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(configs.to_yaml(config))
    command = ["trainer", "train", "--config", str(recipe), "--num-virtual-devices", "2"]
    assert_nearly_same(train_here(config, tmp_path / "one"), run_whole(command, tmp_path / "two"))


def test_a_damaged_checkpoint_is_passed_over(config, tmp_path, caplog):
    config = changed(config, **MOMENTUM)
    whole = train_here(config, tmp_path / "whole")
    folder = tmp_path / "damaged"
    assert interrupt(config, folder, 30, kill) == 27
    last = folder / "checkpoints" / "step-000000027.npz"
    last.write_bytes(last.read_bytes()[:-500])
    with caplog.at_level("INFO", "trainer"):
        train_here(config, folder)
    assert f"{last}: is damaged" in caplog.text
    assert "resuming from step 18" in caplog.text
    assert_same_results(whole, folder)


def test_averaged_and_best_weights_are_those_that_are_exported(uninterrupted):
    assert check.run(CheckConfig(str(uninterrupted))) == str(uninterrupted), "or it raises what differs"


def assert_stopped(training: subprocess.Popen, folder: Path) -> None:
    """Sends SIGTERM, upon which it saves, and leaves no model."""
    training.send_signal(signal.SIGTERM)
    asked_at = time.monotonic()
    rest = training.stderr.read()
    assert training.wait() == 143
    assert time.monotonic() - asked_at < 10
    assert rest.splitlines()[-1] == "error: stopped by SIGTERM"
    assert "Traceback" not in rest
    assert json.loads((folder / "run.json").read_text())["exit_reason"] == "StoppedError"
    assert not (folder / "model").exists()


def test_processes_that_are_stopped_and_killed_come_to_the_same_bits(command, uninterrupted, tmp_path):
    """They are also those of a training in another process than these, which nothing has interrupted."""
    folder = tmp_path / "run"
    with start(command, folder) as training:
        wait_for_step(folder, 9, training)
        assert_stopped(training, folder)
    with start(command, folder) as training:
        wait_for_step(folder, 45, training)
        training.kill()
    assert_same_results(uninterrupted, run_whole(command, folder))
    assert len(json.loads((folder / "run.json").read_text())["starts"]) == 3


@pytest.mark.thorough
def test_killed_at_random_moments_it_goes_on_to_the_same_bits(command, uninterrupted, tmp_path):
    folder = tmp_path / "killed"
    for step in (9, 36, 63):
        with start(command, folder) as training:
            wait_for_step(folder, step, training)
            time.sleep(random.uniform(0, 0.4))
            training.kill()
    assert_same_results(uninterrupted, run_whole(command, folder))
    assert len(json.loads((folder / "run.json").read_text())["starts"]) >= 2


@pytest.mark.thorough
def test_sigterm_again_and_again_changes_no_bit(command, uninterrupted, tmp_path):
    folder = tmp_path / "stopped"
    for step in (9, 45):
        with start(command, folder) as training:
            wait_for_step(folder, step, training)
            assert_stopped(training, folder)
    assert_same_results(uninterrupted, run_whole(command, folder))


@pytest.mark.parametrize(
    "flags",
    [pytest.param([], marks=pytest.mark.thorough), ["--in-memory-limit-mb", "0"]],
    ids=["in memory", "streamed"],
)
def test_two_devices_train_like_one(config, command, tmp_path, flags):
    single = train_here(replace(config, steps=10), tmp_path / "one")
    flags = [*flags, "--steps", "10", "--num-virtual-devices", "2"]
    assert_nearly_same(single, run_whole(command, tmp_path / "two", *flags))


@pytest.mark.thorough
def test_a_streamed_training_of_two_devices_is_exact_too(command, tmp_path):
    flags = ("--in-memory-limit-mb", "0", "--shuffle-buffer-examples", "700", "--num-virtual-devices", "2")
    whole = run_whole(command, tmp_path / "whole", *flags)
    folder = tmp_path / "killed"
    with start(command, folder, *flags) as training:
        wait_for_step(folder, 27, training)
        training.kill()
    assert_same_results(whole, run_whole(command, folder, *flags))


# So few and short steps that rounding does not grow to what a mistake would make, but enough to be killed within.
WORKERS = {"steps": 30, "learning_rate": 1e-4, "augmentation": ("rotate", "erase"), "checkpoint_steps": 3}


@pytest.fixture(scope="module")
def workers_command(command) -> list[str]:
    flags = ("--steps", "30", "--learning-rate", "1e-4", "--augmentation", "rotate", "erase", "--checkpoint-steps", "3")
    return [*command, *flags]


@pytest.fixture(scope="module")
def by_two_workers(workers_command, tmp_path_factory) -> tuple[Path, list[str]]:
    """The run folder, and what the workers have said."""
    folder = tmp_path_factory.mktemp("runs") / "two"
    return folder, finish(start_workers(workers_command, folder))


def test_two_workers_train_like_one_process_and_only_the_chief_writes(config, by_two_workers, tmp_path):
    folder, said = by_two_workers
    assert "MultiWorkerMirroredStrategy on 2 workers; this is worker 0" in said[0]
    assert "SavedModel" in said[0]
    assert "SavedModel" not in said[1]
    assert_nearly_same(train_here(changed(config, **WORKERS), tmp_path / "one"), folder)
    assert sorted(path.name for path in folder.parent.iterdir()) == [".two.lock", "two"]


@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=pytest.mark.thorough)], ids=["chief", "worker"])
def test_when_a_worker_is_killed_the_other_ends_with_75_and_both_go_on_to_the_same_bits(
    workers_command, by_two_workers, killed, tmp_path
):
    folder = tmp_path / "killed"
    workers = start_workers(workers_command, folder)
    wait_for_step(folder, 6, workers[killed])
    workers[killed].kill()
    killed_at = time.monotonic()
    _, error = workers[1 - killed].communicate(timeout=60)
    assert workers[1 - killed].returncode == 75, error
    assert time.monotonic() - killed_at < 30
    assert "start all workers again" in error.splitlines()[-1]
    workers[killed].communicate()
    said = finish(start_workers(workers_command, folder))
    assert "resuming from step" in said[0]
    assert_same_results(by_two_workers[0], folder)


@pytest.mark.thorough
def test_sigterm_to_one_worker_stops_all_at_the_same_step_and_they_go_on_to_the_same_bits(
    workers_command, by_two_workers, tmp_path
):
    folder = tmp_path / "stopped"
    workers = start_workers(workers_command, folder)
    wait_for_step(folder, 6, workers[1])
    workers[1].send_signal(signal.SIGTERM)
    said = [worker.communicate(timeout=30)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [143, 143], said
    finish(start_workers(workers_command, folder))
    assert_same_results(by_two_workers[0], folder)
