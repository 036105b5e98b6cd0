"""Training runs, from a dataset folder to a run folder."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from preprocess import manifest
from preprocess.errors import FailedError, InputError
from tests.conftest import ROOT, run_command
from tests.preprocess.test_pipeline import read_split
from trainer import train
from trainer.config import CnnConfig, TrainConfig


def config_for(data: Path, run_dir: Path, **settings) -> TrainConfig:
    return TrainConfig(str(data), str(run_dir), **({"epochs": 3, "global_batch_size": 128} | settings))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(synthetic_digits, tmp_path_factory) -> Path:
    """The run folder of a short training of `cnn` on drawn digits."""
    return Path(train.run(config_for(synthetic_digits, tmp_path_factory.mktemp("runs") / "cnn")))


def test_everything_is_left_under_its_name(finished):
    assert sorted(path.name for path in finished.iterdir()) == [
        "config.yaml",
        "curves.png",
        "metrics.json",
        "metrics.jsonl",
        "model",
        "model.keras",
        "predictions.npz",
        "run.json",
        "timings.jsonl",
    ]


def test_it_learns(finished):
    epochs = lines(finished / "metrics.jsonl")
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    assert epochs[-1]["train"]["loss"] < epochs[0]["train"]["loss"] / 2
    assert json.loads((finished / "metrics.json").read_text())["test"]["accuracy"] > 0.9


def test_the_final_figures_are_those_of_the_exported_models(finished, synthetic_digits):
    images, labels = read_split(synthetic_digits, "test")
    network = keras.models.load_model(finished / "model.keras")
    served = tf.saved_model.load(finished / "model")
    expected = json.loads((finished / "metrics.json").read_text())["test"]
    predictions = np.load(finished / "predictions.npz")
    np.testing.assert_array_equal(predictions["labels"], labels)
    for probabilities in (
        np.asarray(network(images[..., None].astype(np.float32))),
        served.signatures["image_tensor"](image=tf.constant(images[..., None]))["probabilities"].numpy(),
        predictions["probabilities"],
    ):
        assert (probabilities.argmax(axis=1) == labels).mean() == expected["accuracy"]
        assert -np.log(probabilities[np.arange(len(labels)), labels]).mean() == pytest.approx(
            expected["loss"], rel=1e-5
        )


def test_every_training_example_is_counted_once_an_epoch(finished, synthetic_digits):
    counted = sum(epoch["train"]["num_examples"] for epoch in lines(finished / "metrics.jsonl"))
    expected = 3 * manifest.read(synthetic_digits).splits["train"].num_examples
    assert 0 <= expected - counted < 128


def test_the_run_says_where_it_came_from(finished, synthetic_digits):
    run = json.loads((finished / "run.json").read_text())
    assert run["data_fingerprint"] == manifest.read(synthetic_digits).data_fingerprint
    assert run["exit_reason"] == "completed"
    assert "keras" in run["versions"]
    assert run["devices"]


def test_a_clock_is_only_in_the_timings(finished):
    assert all(timing["examples_per_second"] > 0 for timing in lines(finished / "timings.jsonl"))
    assert "second" not in (finished / "metrics.jsonl").read_text()


def test_a_second_run_does_nothing_and_says_so(finished, synthetic_digits, caplog):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    with caplog.at_level("INFO", "trainer"):
        assert train.run(config_for(synthetic_digits, finished)) == str(finished)
    assert "nothing to do" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_the_same_seed_gives_the_same_figures(finished, synthetic_digits, tmp_path):
    again = Path(train.run(config_for(synthetic_digits, tmp_path / "again")))
    assert (again / "metrics.jsonl").read_text() == (finished / "metrics.jsonl").read_text()


def test_an_interrupted_run_leaves_no_model_and_can_be_started_again(synthetic_digits, tmp_path, monkeypatch):
    config = config_for(synthetic_digits, tmp_path / "run", model="dense", epochs=1)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train.curves, "draw", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train.run(config)
    assert not (tmp_path / "run" / "model").exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["exit_reason"].startswith("KeyboardInterrupt")
    train.run(config)
    assert (tmp_path / "run" / "model" / "saved_model.pb").exists()
    assert len(lines(tmp_path / "run" / "metrics.jsonl")) == 1


def test_without_a_validation_split_the_rest_is_the_same(synthetic_digits, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(synthetic_digits, data)
    found = manifest.read(data)
    splits = {name: split for name, split in found.splits.items() if name != "validation"}
    (data / "manifest.json").write_bytes(manifest.to_json(replace(found, splits=splits)))
    run = Path(train.run(config_for(data, tmp_path / "run", model="dense", epochs=1)))
    assert set(json.loads((run / "metrics.json").read_text())) == {"test", "train"}
    assert (run / "curves.png").exists()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"global_batch_size": 10**6}, "--global-batch-size 1000000: is more than the"),
        ({"global_batch_size": 0}, "--global-batch-size 0: must be at least 1"),
        ({"epochs": 0}, "--epochs 0: must be at least 1"),
        ({"num_virtual_devices": 0}, "--num-virtual-devices 0"),
        ({"data": "nowhere"}, "nowhere: no manifest.json there"),
        ({"cnn": CnnConfig(first_kernel=40)}, "--model cnn: "),
        ({"data": "gs://bucket/data"}, "the trainer works on local folders"),
    ],
)
def test_bad_requests_are_refused_and_leave_no_run(synthetic_digits, tmp_path, settings, complaint):
    config = replace(config_for(synthetic_digits, tmp_path / "run"), **settings)
    with pytest.raises(InputError, match=complaint):
        train.run(config)
    assert not (tmp_path / "run").exists()


def test_a_missing_shard_is_named_and_leaves_no_run(synthetic_digits, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(synthetic_digits, data)
    lost = next(data.glob("*-test.tfrecord-*"))
    lost.unlink()
    with pytest.raises(InputError, match=f"{lost.name}: the shard is missing"):
        train.run(config_for(data, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_devices_train_like_one(synthetic_digits, tmp_path):
    """`dense` has no dropout, so only the division of each batch differs. Devices are made at a process' start."""
    for count in (1, 2):
        done = run_command(
            *("trainer", "train", "--data", str(synthetic_digits), "--run-dir", str(tmp_path / str(count))),
            *("--model", "dense", "--epochs", "2", "--global-batch-size", "128"),
            *("--num-virtual-devices", str(count)),
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("/device:CPU:") == count
    one, two = (lines(tmp_path / name / "metrics.jsonl") for name in ("1", "2"))
    for epoch, other in zip(one, two, strict=True):
        for split in ("train", "validation"):
            assert other[split]["num_examples"] == epoch[split]["num_examples"]
            assert other[split]["loss"] == pytest.approx(epoch[split]["loss"], rel=1e-4)


def test_a_loss_that_is_no_number_ends_the_run_without_a_model(synthetic_digits, tmp_path):
    config = config_for(synthetic_digits, tmp_path / "run", model="dense", learning_rate=1e30)
    with pytest.raises(
        FailedError, match=r"the loss became (nan|inf) in epoch 1, at step \d+ of 28; a learning rate below"
    ):
        train.run(config)
    assert not (tmp_path / "run" / "model").exists()
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_run_whose_model_was_deleted_is_not_done(synthetic_digits, tmp_path):
    config = config_for(synthetic_digits, tmp_path / "run", model="dense", epochs=1)
    train.run(config)
    (tmp_path / "run" / "model.keras").unlink()
    (tmp_path / "run" / "notes.txt").write_text("of the user's own")
    train.run(config)
    assert (tmp_path / "run" / "model.keras").exists()
    assert (tmp_path / "run" / "notes.txt").read_text() == "of the user's own"


@pytest.mark.slow
def test_sigterm_ends_the_run_with_143_and_it_can_be_started_again(synthetic_digits, tmp_path):
    arguments = ("--data", str(synthetic_digits), "--run-dir", str(tmp_path / "run"), "--model", "dense")
    command = [sys.executable, "-m", "trainer", "train", *arguments, "--epochs", "1000"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as training:
        for line in training.stderr:
            if line.startswith("epoch 2/"):
                break
        training.send_signal(signal.SIGTERM)
        rest = training.stderr.read()
        assert training.wait(timeout=10) == 143
    assert rest.splitlines()[-1] == "error: stopped by SIGTERM"
    assert "Traceback" not in rest
    assert run_command("trainer", "train", *arguments, "--epochs", "1").returncode == 2  # another run
    assert json.loads((tmp_path / "run" / "run.json").read_text())["exit_reason"].startswith("_Stopped")
