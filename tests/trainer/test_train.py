"""Training runs, from a dataset folder to a run folder."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from common import storage
from common.dataset import manifest
from common.errors import FailedError, InputError
from tests.support.datasets import read_split, with_splits
from tests.support.settings import changed, train_config
from trainer import check, train
from trainer.config.commands import CheckConfig
from trainer.config.settings import TrainConfig
from trainer.models.settings import CnnConfig, ResnetSmallConfig


def config_for(data: Path, run_dir: Path, **settings) -> TrainConfig:
    defaults = {"epochs": 3, "global_batch_size": 128, "verify_export": False}
    return train_config(str(data), str(run_dir), **(defaults | settings))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(synthetic_digits, shared_folder) -> Path:
    """The run folder of a short training of `cnn` on drawn digits."""
    return shared_folder("cnn", lambda folder: train.run(config_for(synthetic_digits, folder / "run"))) / "run"


def test_everything_is_left_under_its_name(finished):
    assert sorted(path.name for path in finished.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "curves.png",
        "logs",
        "metrics.json",
        "metrics.jsonl",
        "model",
        "model.keras",
        "predictions.npz",
        "report",
        "run.json",
        "timings.jsonl",
        "trained_on.npy",
    ]


def test_it_learns(finished):
    epochs = lines(finished / "metrics.jsonl")
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    assert epochs[-1]["train"]["loss"] < epochs[0]["train"]["loss"] / 2
    assert json.loads((finished / "metrics.json").read_text())["test"]["accuracy"] > 0.9


def test_the_final_figures_are_those_of_the_exported_models(finished, synthetic_digits):
    images, labels = read_split(synthetic_digits, "test")
    network = keras.models.load_model(finished / "model.keras")
    model = tf.saved_model.load(finished / "model")
    served = model.signatures["image_tensor"]
    expected = json.loads((finished / "metrics.json").read_text())["test"]
    predictions = np.load(finished / "predictions.npz")
    np.testing.assert_array_equal(predictions["labels"], labels)
    for probabilities, loss in (
        (np.asarray(network(images[..., None].astype(np.float32))), "loss"),
        (served(image=tf.constant(images[..., None]))["probabilities"].numpy(), "loss_calibrated"),
        (predictions["probabilities"], "loss"),
    ):
        assert (probabilities.argmax(axis=1) == labels).mean() == expected["accuracy"]
        assert -np.log(probabilities[np.arange(len(labels)), labels]).mean() == pytest.approx(expected[loss], rel=1e-5)


def test_the_temperature_is_the_best_on_the_validation_split(finished):
    figures = json.loads((finished / "metrics.json").read_text())
    assert figures["temperature"] != 1
    assert figures["validation"]["loss_calibrated"] < figures["validation"]["loss"]


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
    assert (run["parameters"], run["num_replicas"], run["strategy"]) == (225_546, 1, "MirroredStrategy")


def test_a_clock_is_only_in_the_timings(finished):
    for timing in lines(finished / "timings.jsonl"):
        assert timing["examples_per_second"] > 0
        assert 0 <= timing["waiting_for_data"] < 1
    assert "second" not in (finished / "metrics.jsonl").read_text()


def test_a_second_run_does_nothing_and_says_so(finished, synthetic_digits, caplog):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    with caplog.at_level("INFO", "trainer"):
        assert train.run(config_for(synthetic_digits, finished)) == str(finished)
    assert "nothing to do" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_without_a_validation_split_the_rest_is_the_same(synthetic_digits, tmp_path):
    data = with_splits(synthetic_digits, tmp_path / "data", ("train", "test"))
    run = Path(train.run(config_for(data, tmp_path / "run", model="dense", epochs=1)))
    figures = json.loads((run / "metrics.json").read_text())
    assert set(figures) == {"test", "train", "selected_epoch", "temperature", "picture_temperature"}
    assert figures["temperature"] == figures["picture_temperature"] == 1
    assert [promise["threshold"] for promise in figures["test"]["selective_prediction"]] == [None] * 3
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
        ({"jit_compile": True}, "--jit-compile True: XLA cannot compile this"),
        ({"data": "s3://bucket/data"}, "s3://bucket/data: cannot read or write there"),
    ],
)
def test_bad_requests_are_refused_and_leave_no_run(synthetic_digits, tmp_path, settings, complaint):
    config = changed(config_for(synthetic_digits, tmp_path / "run"), **settings)
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


@pytest.mark.parametrize(("checkpoint_steps", "named"), [(None, "none"), (1, r"\S+/checkpoints/step-\d+.npz")])
def test_a_loss_that_is_no_number_ends_the_run_without_a_model(synthetic_digits, tmp_path, checkpoint_steps, named):
    settings = {"model": "dense", "learning_rate": 1e9, "optimizer": "sgd", "checkpoint_steps": checkpoint_steps}
    with pytest.raises(
        FailedError,
        match=r"(the loss|a weight) became (nan|inf|NaN or infinite) at step \d+ in epoch 1, "
        rf"with a learning rate of 1e\+09; last good checkpoint: {named}; a lower --learning-rate",
    ):
        train.run(config_for(synthetic_digits, tmp_path / "run", **settings))
    assert not (tmp_path / "run" / "model").exists()
    assert not (tmp_path / "run" / "metrics.json").exists()
    for path in (tmp_path / "run").glob("checkpoints/*.npz"):
        with np.load(path) as parts:
            assert all(np.isfinite(parts[name]).all() for name in parts.files if name.startswith("network/"))


def test_a_run_whose_model_was_deleted_is_not_done(synthetic_digits, tmp_path):
    config = config_for(synthetic_digits, tmp_path / "run", model="dense", epochs=1)
    train.run(config)
    figures = (tmp_path / "run" / "metrics.json").read_text()
    (tmp_path / "run" / "model.keras").unlink()
    (tmp_path / "run" / "notes.txt").write_text("of the user's own")
    train.run(config)
    assert (tmp_path / "run" / "model.keras").exists()
    assert (tmp_path / "run" / "metrics.json").read_text() == figures
    assert (tmp_path / "run" / "notes.txt").read_text() == "of the user's own"


def test_without_a_validation_split_there_is_nothing_to_select_by(synthetic_digits, tmp_path):
    data = with_splits(synthetic_digits, tmp_path / "data", ("train", "test"))
    for settings, flag in (({"select": "best"}, "--select best"), ({"early_stopping_epochs": 2}, "--early-stopping")):
        with pytest.raises(InputError, match=f"{flag}.*: needs a validation split"):
            train.run(config_for(data, tmp_path / "run", **settings))


def test_early_stopping_ends_the_run_and_the_best_epoch_is_exported(synthetic_digits, tmp_path, caplog):
    settings = {"epochs": 60, "model": "dense", "learning_rate": 0.03, "early_stopping_epochs": 2, "select": "best"}
    with caplog.at_level("INFO", "trainer"):
        run = Path(train.run(config_for(synthetic_digits, tmp_path / "run", **settings)))
    epochs = lines(run / "metrics.jsonl")
    accuracies = [epoch["validation"]["accuracy"] for epoch in epochs]
    best = int(np.argmax(accuracies)) + 1
    assert len(epochs) == best + 2 < 60
    assert f"stopped early: validation accuracy was highest in epoch {best}" in caplog.text
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["selected_epoch"] == best
    figures = {name: metrics["validation"][name] for name in ("num_examples", "accuracy", "loss")}
    assert figures == epochs[best - 1]["validation"]
    images, labels = read_split(synthetic_digits, "validation")
    network = keras.models.load_model(run / "model.keras")
    predicted = network.predict(images[..., None], verbose=0).argmax(axis=1)
    assert (predicted == labels).mean() == metrics["validation"]["accuracy"]


def test_a_length_in_minutes_ends_after_them(synthetic_digits, tmp_path):
    settings = {"epochs": None, "max_minutes": 0.05, "model": "dense", "schedule": "one_cycle"}
    run = Path(train.run(config_for(synthetic_digits, tmp_path / "run", **settings)))
    assert 1 <= sum(timing["seconds"] for timing in lines(run / "timings.jsonl")) < 15
    rates = [epoch["learning_rate"] for epoch in lines(run / "metrics.jsonl")]
    assert max(rates) > 20 * rates[-1], "the schedule should have come to its end"


def test_a_length_in_steps_is_kept(synthetic_digits, tmp_path):
    run = Path(train.run(config_for(synthetic_digits, tmp_path / "run", epochs=None, steps=40, model="dense")))
    assert [epoch["step"] for epoch in lines(run / "metrics.jsonl")] == [28, 40]


def test_a_smoke_test_does_two_steps_of_everything(synthetic_digits, tmp_path):
    settings = {"epochs": 500, "smoke": True, "augmentation": ("rotate",), "profile": True}
    run = Path(train.run(config_for(synthetic_digits, tmp_path / "run", **settings)))
    assert lines(run / "metrics.jsonl")[-1]["step"] == 2
    assert json.loads((run / "metrics.json").read_text())["test"]["num_examples"] == 256
    for name in ("model", "model.keras", "curves.png", "augmentation.png", "predictions.npz", "checkpoints"):
        assert (run / name).exists()
    check.run(CheckConfig(str(run)))


def test_a_profile_is_left(synthetic_digits, tmp_path):
    run = Path(train.run(config_for(synthetic_digits, tmp_path / "run", model="dense", epochs=1, profile=True)))
    assert list(run.glob("logs/plugins/profile/*/*.xplane.pb"))


def test_what_does_not_fit_into_memory_is_streamed_and_learned_as_well(synthetic_digits, tmp_path, caplog):
    settings = {"in_memory_limit_mb": 1, "shuffle_buffer_examples": 500, "steps_per_execution": 3}
    with caplog.at_level("INFO", "trainer"):
        run = Path(train.run(config_for(synthetic_digits, tmp_path / "run", **settings)))
    assert "training examples, 3 MB, are streamed" in caplog.text
    assert json.loads((run / "metrics.json").read_text())["test"]["accuracy"] > 0.9


@pytest.mark.parametrize("model", [pytest.param("cnn5", marks=pytest.mark.thorough), "resnet_small"])
def test_every_network_can_be_trained_and_exported(synthetic_digits, tmp_path, model):
    run = train.run(config_for(synthetic_digits, tmp_path / "run", model=model, epochs=1))
    assert lines(Path(run) / "metrics.jsonl")[0]["train"]["accuracy"] > 0.2
    check.run(CheckConfig(run))


def test_compiled_and_in_bfloat16_it_learns_too(synthetic_digits, tmp_path, caplog):
    """As on a GPU; the export is in float32 all the same."""
    settings = {"model": "resnet_small", "jit_compile": True, "precision": "bfloat16", "steps_per_execution": 4}
    settings |= {"resnet_small": ResnetSmallConfig((8, 16, 16)), "learning_rate": 0.01, "global_batch_size": 64}
    with caplog.at_level("INFO", "trainer"):
        run = Path(train.run(config_for(synthetic_digits, tmp_path / "run", **settings)))
    assert "bfloat16, with XLA, 4 steps per execution" in caplog.text
    assert json.loads((run / "metrics.json").read_text())["test"]["accuracy"] > 0.7
    network = keras.models.load_model(run / "model.keras")
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    check.run(CheckConfig(str(run)))


def test_a_second_run_in_the_same_folder_at_once_is_refused(synthetic_digits, tmp_path):
    with storage.lock(tmp_path / "run"), pytest.raises(InputError, match=f"{storage.this_process()} is writing it"):
        train.run(config_for(synthetic_digits, tmp_path / "run"))
